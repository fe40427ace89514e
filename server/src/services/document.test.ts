import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { rootDirectory } from '../lib/config/config.ts';
import { lint } from '../lib/openapi/lint.testing.ts';
import { documentFile, makeDocument, publishedDocument } from './document.ts';

const { version } = JSON.parse(readFileSync(join(rootDirectory, 'package.json'), 'utf8')) as {
  version: string;
};

describe('the OpenAPI document', () => {
  test('is the kept contract; after a change: npm run api-document', async () => {
    expect(JSON.parse(JSON.stringify(await makeDocument(version)))).toEqual(
      JSON.parse(readFileSync(documentFile, 'utf8')),
    );
  });

  test('passes Spectral with its OWASP rules', async () => {
    expect(await lint(await makeDocument(version))).toBe('');
  }, 60_000);

  test('is published with the address of this installation', () => {
    expect(publishedDocument({ publicUrl: 'https://api.example.com', env: 'staging' })).toMatchObject({
      openapi: '3.1.0',
      servers: [{ url: 'https://api.example.com', description: 'This Florin (staging)' }],
    });
  });
});
