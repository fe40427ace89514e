import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { rootDirectory } from '../server/src/lib/config/config.ts';
import { documentFile, makeDocument } from '../server/src/services/document.ts';

/** `npm run api-document`: writes the contract of the API from its routes. Review the difference like code. */
const manifest = JSON.parse(readFileSync(join(rootDirectory, 'package.json'), 'utf8')) as { version: string };
mkdirSync(dirname(documentFile), { recursive: true });
writeFileSync(documentFile, `${JSON.stringify(await makeDocument(manifest.version), undefined, 2)}\n`);
console.log(`Wrote ${documentFile}`);
