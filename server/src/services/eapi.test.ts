import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type RequestListener,
} from 'node:http';
import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { exchange } from '../lib/http/testing.ts';
import { serviceTokenHeader, serviceTokens } from '../access/service-token.ts';
import { buildEapi } from './eapi.ts';
import { buildSapi } from './sapi.ts';
import { listen, partsForTests, send, testClient, testConfig, testKey, twoProcesses } from './testing.ts';

const parts = partsForTests();

/** An eapi whose sapi answers `/internal` genuinely and everything else as the test says. */
const eapiBefore = async (answer: RequestListener, timeoutMs = 5_000) => {
  const sapi = buildSapi({ ...parts, config: testConfig() });
  const genuine = await listen(sapi);
  const backend = createServer((request, response) => {
    if (!request.url?.startsWith('/internal/')) return answer(request, response);
    const passed = httpRequest(new URL(request.url, genuine), {
      method: request.method,
      headers: request.headers,
    });
    passed.on('response', (given) => given.pipe(response.writeHead(given.statusCode ?? 500, given.headers)));
    request.pipe(passed);
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const address = backend.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { app } = buildEapi({ ...parts, config: testConfig(`http://127.0.0.1:${address.port}`), timeoutMs });
  const url = await listen(app);
  const dispose = async (): Promise<void> => {
    await app.close();
    backend.closeAllConnections();
    backend.close();
    await sapi.close();
  };
  return { url, [Symbol.asyncDispose]: dispose };
};

describe('the forwarder', () => {
  test('passes on who is calling and nothing by which somebody could claim to be another', async () => {
    let seen: IncomingHttpHeaders = {};
    await using eapi = await eapiBefore((request, response) => {
      seen = request.headers;
      response.setHeader('content-type', 'application/json').end('{"ok":true}');
    });
    const headers = {
      ...testClient,
      [serviceTokenHeader]: 'forged',
      'x-forwarded-for': '203.0.113.9',
      forwarded: 'for=203.0.113.9',
      cookie: 'a=b',
      'x-request-id': 'req_given_by_caller',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'idempotency-key': 'k',
    };
    const answer = await send(`${eapi.url}/api/v1/payments?limit=1`, {
      method: 'POST',
      headers,
      json: { amount: '1' },
    });
    expect(answer).toMatchObject({ status: 200, body: { ok: true } });
    for (const name of ['x-client-id', 'x-client-secret', 'authorization', 'cookie', 'forwarded'])
      expect(seen[name]).toBeUndefined();
    expect(seen['x-forwarded-for']).toBe('127.0.0.1');
    expect(seen['idempotency-key']).toBe('k');
    expect(seen['x-request-id']).toBe(answer.headers.get('x-request-id'));
    expect(seen['traceparent']).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
    expect(answer.headers.get('ratelimit')).toMatch(/r=\d+/);
    const tokens = serviceTokens(testConfig().auth.serviceSecret, parts.clock);
    const call = tokens.check(String(seen[serviceTokenHeader]));
    expect(call?.caller).toMatchObject({
      actor: 'client:test_client_id',
      kind: 'vendor',
      role: 'finance',
      mode: 'test',
    });
  });

  test('a caller is not told that sapi does not trust this edge, but to come again', async () => {
    await using eapi = await eapiBefore((_, response) => {
      response.writeHead(401, {
        'content-type': 'application/problem+json',
        'content-length': '2',
        'www-authenticate': 'Bearer',
      });
      response.end('{}');
    });
    const { status, headers, body } = await send(`${eapi.url}/api/v1/payments`, { headers: testKey });
    expect([status, body['code'], headers.get('retry-after')]).toEqual([503, 'unavailable', '1']);
    expect(headers.get('www-authenticate')).toBeNull();
  });

  test('streams an answer while it is still being made', async () => {
    const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
    await using eapi = await eapiBefore((_, response) => {
      response.write('first ');
      void mayEnd.then(() => response.end('last'));
    });
    const response = await fetch(`${eapi.url}/api/v1/payments`, { headers: testKey });
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('first ');
    end();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('last');
  });

  test('RFC 9110, 7.6.1: what sapi says about its own connection stays between the two', async () => {
    await using eapi = await eapiBefore((_, response) => {
      const own = {
        'keep-alive': 'timeout=72',
        'proxy-connection': 'keep-alive',
        upgrade: 'h2c',
        via: '1.1 x',
      };
      response.writeHead(200, { ...own, connection: 'keep-alive', 'content-type': 'application/json' });
      response.end('{}');
    });
    const lines = [
      `GET /api/v1/customers HTTP/1.1`,
      'host: x',
      'x-api-key: test-key',
      'connection: close',
      '',
      '',
    ];
    const answer = await exchange(Number(new URL(eapi.url).port), lines.join('\r\n'));
    expect(answer).toMatch(/^connection: close\r$/im);
    expect(answer).toMatch(/^via: 1.1 x\r$/im);
    expect(answer).not.toMatch(/^(keep-alive|proxy-connection|upgrade):/im);
  });

  test('a sapi that does not answer is 504, and one that hangs up 503, as problems', async () => {
    await using silent = await eapiBefore(() => undefined, 200);
    const late = await send(`${silent.url}/api/v1/payments`, { headers: testKey });
    expect(late).toMatchObject({ status: 504, body: { code: 'upstream_timeout', status: 504 } });
    expect(late.headers.get('retry-after')).toBe('1');
    await using rude = await eapiBefore((request) => request.socket.destroy());
    const gone = await send(`${rude.url}/api/v1/payments`, { method: 'POST', headers: testKey, json: {} });
    expect(gone).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(gone.headers.get('retry-after')).toBe('1');
  });

  test('a sapi that is away is 503 for every credential, and the edge itself still answers', async () => {
    const { app } = buildEapi({ ...parts, config: testConfig() });
    const url = await listen(app);
    for (const headers of [testKey, testClient]) {
      expect(await send(`${url}/api/v1/payments`, { headers })).toMatchObject({
        status: 503,
        body: { code: 'unavailable' },
      });
    }
    expect((await send(`${url}/api/v1/payments`)).status).toBe(401);
    await app.close();
  });

  test('an oversized body is 413 with a length and in chunks', async () => {
    await using api = await twoProcesses(parts);
    const url = `${api.url}/api/v1/customers`;
    const big = JSON.stringify({ name: 'x'.repeat(2 * 1024 * 1024) });
    const headers = { ...testKey, 'content-type': 'application/json' };
    expect((await fetch(url, { method: 'POST', headers, body: big })).status).toBe(413);
    const chunked = new ReadableStream({
      start: (controller) => {
        for (let at = 0; at < big.length; at += 65_536)
          controller.enqueue(Buffer.from(big.slice(at, at + 65_536)));
        controller.close();
      },
    });
    const streamed: RequestInit & { duplex: 'half' } = {
      method: 'POST',
      headers,
      body: chunked,
      duplex: 'half',
    };
    expect((await fetch(url, streamed)).status).toBe(413);
    expect((await send(url, { headers: testKey })).status).toBe(200);
  });

  test('no path leads to the internal routes', async () => {
    await using api = await twoProcesses(parts);
    for (const path of [
      '/internal/v1/health',
      '/api/v1/../../internal/v1/health',
      '/api/v1/%2e%2e/%2e%2e/internal/v1/health',
    ]) {
      expect(await statusOfRawPath(api.url, path)).toBeGreaterThanOrEqual(400);
    }
  });
});

describe('sapi', () => {
  test('opens the API for a token with a caller, /internal for one without, and neither for the other', async () => {
    const sapi = buildSapi({ ...parts, config: testConfig() });
    const url = await listen(sapi);
    const tokens = serviceTokens(testConfig().auth.serviceSecret, parts.clock);
    const caller = {
      kind: 'vendor',
      actor: 'client:x',
      role: 'admin',
      tenantId: 1,
      vendorId: undefined,
      mode: 'test',
    } as const;
    const asCaller = { [serviceTokenHeader]: tokens.issue({ service: 'eapi', caller }) };
    const asService = { [serviceTokenHeader]: tokens.issue({ service: 'eapi', caller: undefined }) };
    const status = async (path: string, headers: Record<string, string>) =>
      (await send(`${url}${path}`, { headers })).status;
    expect(await status('/api/v1/customers', asCaller)).toBe(200);
    expect(await status('/internal/v1/health', asService)).toBe(200);
    expect(await status('/internal/v1/health', asCaller)).toBe(401);
    expect(await status('/api/v1/customers', asService)).toBe(401);
    for (const headers of [{}, testKey, testClient])
      expect(await status('/api/v1/customers', headers)).toBe(401);
    await sapi.close();
  });

  test('the journal names the address of the caller, not that of the edge', async () => {
    await using api = await twoProcesses(parts);
    const headers = { ...testClient, 'x-forwarded-for': '203.0.113.9' };
    const { body } = await send(`${api.url}/api/v1/customers`, {
      headers,
      method: 'POST',
      json: { email: 'a@example.com', name: 'A' },
    });
    const { rows } = await sql<{ origin: string; actor: string }>`
      select origin, actor from journal.entries where kind = 'customer.created'
    `.execute(parts.db);
    expect(body['id']).toBeDefined();
    expect(rows).toEqual([{ origin: '127.0.0.1', actor: 'client:test_client_id' }]);
  });
});

/** Sends a path as it is: `fetch` would tidy it up first. */
const statusOfRawPath = (url: string, path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    httpRequest({ hostname, port, path, headers: testKey }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
