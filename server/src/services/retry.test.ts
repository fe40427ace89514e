import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { buildEapi } from './eapi.ts';
import { isBroken, retryDelayMs } from './retry.ts';
import { listen, partsForTests, send, testConfig, testKey } from './testing.ts';

const failure = (code: string) => Object.assign(new Error(code), { code });
const payment = { method: 'POST', idempotencyKey: undefined };
const keyed = { method: 'POST', idempotencyKey: 'k' };

describe('a request to sapi is sent again', () => {
  test('whatever it is, while nobody listens, for about a second and a half', () => {
    const delays = Array.from({ length: 6 }, (_, attempt) =>
      retryDelayMs({ request: payment, error: failure('ECONNREFUSED'), attempt }),
    );
    expect(delays).toEqual([50, 100, 200, 400, 800, null]);
    const both = new AggregateError([failure('ECONNREFUSED'), failure('ECONNREFUSED')]);
    expect(retryDelayMs({ request: payment, error: both, attempt: 0 })).toBe(50);
  });

  test.each(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])(
    'once after %s, where twice is like once: reads, and writes with a key',
    (code) => {
      const error = failure(code);
      expect(isBroken(error)).toBe(true);
      for (const request of [keyed, { ...payment, method: 'GET' }, { ...payment, method: 'HEAD' }]) {
        expect(retryDelayMs({ request, error, attempt: 0 })).toBeGreaterThan(0);
        expect(retryDelayMs({ request, error, attempt: 1 })).toBeNull();
      }
      for (const method of ['POST', 'PATCH', 'PUT', 'DELETE'])
        expect(retryDelayMs({ request: { ...payment, method }, error, attempt: 0 })).toBeNull();
    },
  );

  test('not when the answer took too long, nor when there was no error', () => {
    for (const error of [failure('UND_ERR_HEADERS_TIMEOUT'), new Error('x'), null, undefined]) {
      expect(retryDelayMs({ request: keyed, error, attempt: 0 })).toBeNull();
      expect(isBroken(error)).toBe(false);
    }
  });
});

describe('the edge before a sapi that stops', () => {
  const parts = partsForTests();

  /** A sapi that knows the key of the tests, and hangs up on the first so many other requests. */
  const hangingUp = async (times: number, seen: { method: string; url: string; body: string }[]) => {
    const found = { found: { id: 'key_x', tenantId: 1, role: 'admin', mode: 'test' } };
    let left = times;
    const server = createServer(async (request, response) => {
      const body = await text(request);
      if (request.url?.startsWith('/internal/')) {
        response.end(JSON.stringify(found));
        return;
      }
      seen.push({ method: request.method ?? '', url: request.url ?? '', body });
      left -= 1;
      if (left >= 0) request.socket.destroy();
      else response.end('{"ok":true}');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  const edgeBefore = async (port: number) => {
    const directory = { ...testConfig(`http://127.0.0.1:${port}`) };
    const { app } = buildEapi({ ...parts, config: directory });
    return { app, url: await listen(app) };
  };
  const portOf = (server: { address(): unknown }): number =>
    // Both listen on TCP.
    (server.address() as AddressInfo).port;

  test('a write with a key is sent again, whole, and answered; one without is not, and says what may have happened', async () => {
    const seen: { method: string; url: string; body: string }[] = [];
    const sapi = await hangingUp(1, seen);
    const { app, url } = await edgeBefore(portOf(sapi));
    const pay = (headers: Record<string, string>) =>
      send(`${url}/api/v1/customers`, {
        method: 'POST',
        headers: { ...testKey, ...headers },
        json: { name: 'Zoë' },
      });
    const answer = await pay({ 'idempotency-key': 'k-1' });
    expect(answer.status).toBe(200);
    expect(seen).toHaveLength(2);
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[0]?.body).toBe('{"name":"Zoë"}');
    await app.close();
    sapi.close();

    const again: typeof seen = [];
    const rude = await hangingUp(1, again);
    const edge = await edgeBefore(portOf(rude));
    const refused = await send(`${edge.url}/api/v1/customers`, {
      method: 'POST',
      headers: testKey,
      json: { name: 'A' },
    });
    expect(refused).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(refused.body['detail']).toContain('may have happened');
    expect(again).toHaveLength(1);
    await edge.app.close();
    rude.close();
  });

  test('a write waits for the next process to listen, when nobody does', async () => {
    const seen: { method: string; url: string; body: string }[] = [];
    const first = await hangingUp(0, seen);
    const port = portOf(first);
    const { app, url } = await edgeBefore(port);
    // Known from now on, so that the edge has nothing to ask.
    expect((await send(`${url}/api/v1/customers`, { headers: testKey })).status).toBe(200);
    first.closeAllConnections();
    first.close();
    await once(first, 'close');
    const answer = send(`${url}/api/v1/customers`, { method: 'POST', headers: testKey, json: { name: 'B' } });
    const next = await hangingUp(0, seen);
    next.close();
    await once(next, 'close');
    next.listen(port, '127.0.0.1');
    expect((await answer).status).toBe(200);
    expect(seen.at(-1)).toMatchObject({ method: 'POST', body: '{"name":"B"}' });
    await app.close();
    next.closeAllConnections();
    next.close();
  });
});
