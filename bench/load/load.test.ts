import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findGenerator, sendPayments } from './load.ts';

type Received = { headers: IncomingHttpHeaders; body: string };

/** A server that notes what it got and answers the status that `statusOf` says. */
const startServer = async (statusOf: (count: number) => number) => {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.once('end', () => {
      received.push({ headers: request.headers, body });
      response.writeHead(statusOf(received.length), { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    received,
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

const generators = (['wrk', 'autocannon'] as const).filter(
  (generator) => generator === 'autocannon' || findGenerator() === 'wrk',
);

describe.each(generators)('load by %s', (generator) => {
  let folder: string;
  const load = (url: string) =>
    sendPayments({ generator, url, tokensFile: join(folder, 'tokens'), clients: 4, seconds: 1 });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'florin-load-'));
    await writeFile(join(folder, 'tokens'), 'token-a\ntoken-b\ntoken-c\n');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('every payment is whole, has a key of its own, and is of a random vendor', async () => {
    await using server = await startServer(() => 201);
    const report = await load(server.url);
    const { received } = server;
    expect(report.requests).toBeGreaterThan(0);
    expect(report.requests).toBeLessThanOrEqual(received.length);
    expect(new Set(received.map(({ headers }) => headers['idempotency-key'])).size).toBe(received.length);
    expect(new Set(received.map(({ headers }) => headers.authorization))).toEqual(
      new Set(['Bearer token-a', 'Bearer token-b', 'Bearer token-c']),
    );
    expect(JSON.parse(received[0]?.body ?? '')).toMatchObject({ amount: '10.00', currency: 'USD' });
  });

  test('an answer that is not 2xx fails the run', async () => {
    await using server = await startServer((count) => (count % 3 === 0 ? 503 : 201));
    await expect(load(server.url)).rejects.toThrow(/payments were not answered 2xx/);
  });

  test('a service that is not there fails the run', async () => {
    await expect(load('http://127.0.0.1:1')).rejects.toThrow(/failed|not answered|no payment/);
  });
});
