import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { errorKinds } from '../lib/errors.ts';
import { testServer } from '../lib/http/testing.ts';
import { plain } from '../lib/openapi/example.ts';
import { lint } from '../lib/openapi/lint.testing.ts';
import { sampleApi } from '../lib/openapi/sample.testing.ts';
import { documentationRoutes } from './documentation.ts';
import { apiHealthRoutes, healthRoutes } from './health.ts';

const chromium = '/usr/bin/chromium';
const withoutBrowser = !existsSync(chromium);
if (withoutBrowser) process.stderr.write('Tests with a browser are skipped: chromium is not installed.\n');

let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  server = await testServer(async (app) => {
    await sampleApi(app);
    const probes = {
      database: async () => 1,
      cache: async () => 'connected' as const,
      internal: async () => 1,
    };
    await app.register(healthRoutes({ probes, clock: systemClock }));
    await app.register(apiHealthRoutes({ probes, clock: systemClock }));
    await app.register(documentationRoutes({ document: () => app.swagger() }));
  });
});
afterAll(() => server.app.close());

test('/openapi.json is the document, compressed when asked, and unchanged when known', async () => {
  const first = await fetch(`${server.url}/openapi.json`);
  expect(first.status).toBe(200);
  expect(first.headers.get('content-type')).toContain('application/json');
  expect(first.headers.get('content-encoding')).toBe('gzip');
  expect(await first.json()).toMatchObject({ openapi: '3.1.0', info: { title: 'Florin' } });
  const etag = first.headers.get('etag') ?? '';
  expect((await fetch(`${server.url}/openapi.json`, { headers: { 'if-none-match': etag } })).status).toBe(
    304,
  );
  const plain = await fetch(`${server.url}/openapi.json`, { headers: { 'accept-encoding': 'identity' } });
  expect(plain.headers.has('content-encoding')).toBe(false);
});

test(
  'probes are described as open to anyone, and the whole passes Spectral',
  { timeout: 30_000 },
  async () => {
    const document = server.app.swagger();
    expect(plain(plain(plain(document.paths)['/health'])['get'])['security']).toEqual([]);
    expect(await lint(document)).toBe('');
  },
);

test('/docs loads from nowhere but this server, and runs no inline script', async () => {
  const response = await fetch(`${server.url}/docs`);
  const page = await response.text();
  const policy = response.headers.get('content-security-policy') ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self';");
  expect(policy).toContain("connect-src 'self'");
  expect(policy).not.toContain('http');
  expect(page.match(/(?:src|href)="([^"]*)"/g)?.every((link) => /="(\/|data:,)/.test(link))).toBe(true);
  expect(page).not.toMatch(/<script(?![^>]*src=)/);
  const [, nonce] = /nonce-([^']+)'/.exec(policy) ?? [];
  expect(page).toContain(`content="${nonce}"`);
  expect((await fetch(`${server.url}/docs`)).headers.get('content-security-policy')).not.toBe(policy);
});

test('/docs/errors explains every code', async () => {
  const page = await (await fetch(`${server.url}/docs/errors`)).text();
  for (const [code, { status, title }] of Object.entries(errorKinds)) {
    expect(page).toContain(`<article id="${code}">`);
    expect(page).toContain(`<span class="status">${status}</span>`);
    expect(page).toContain(title.replaceAll('"', '&quot;'));
  }
  expect(page).toContain('prefers-color-scheme: dark');
});

/** The page as a browser shows it that reaches this server and no other, and what its console says. */
const render = async (path: string): Promise<{ html: string; console: string }> => {
  const { stdout, stderr } = await promisify(execFile)(
    chromium,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--enable-logging=stderr',
      '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
      '--virtual-time-budget=15000',
      '--dump-dom',
      server.url + path,
    ],
    { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 },
  );
  const lines = stderr.split('\n').filter((line) => line.includes('CONSOLE'));
  return { html: stdout, console: lines.join('\n') };
};

describe.skipIf(withoutBrowser)('in a browser without a network', () => {
  test('/docs shows the operations and asks no other server', { timeout: 60_000 }, async () => {
    const { html, console } = await render('/docs');
    for (const text of ['Take a payment', 'List payments', '/api/v1/payments/{id}'])
      expect(html).toContain(text);
    expect(console).not.toMatch(
      /Failed to load|ERR_NAME_NOT_RESOLVED|script-src|connect-src|font-src|img-src|Uncaught/,
    );
  });

  test('/docs/errors shows without a word on the console', { timeout: 60_000 }, async () => {
    const { html, console } = await render('/docs/errors');
    expect(html).toContain('idempotency_key_reused');
    expect(console).toBe('');
  });
});
