import { Type } from 'typebox';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { platformTenantId, type Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import { contextOf, idempotencyKeyOf } from './route.ts';
import { sendAnswer } from './answer.ts';
import { listQuery } from './page.ts';
import { amountInput, currencyCode, freeText, idParams, metadata, writeHeaders } from './schemas.ts';
import { bodyOf, exchange, testServer } from './testing.ts';
import type { App } from './server.ts';

const caller: Caller = {
  kind: 'platform',
  actor: 'api_key:key_1',
  role: 'admin',
  tenantId: platformTenantId,
  vendorId: undefined,
  mode: 'test',
};

const open = { requires: 'public' } as const;

const orderBody = Type.Object(
  {
    amount: amountInput(),
    currency: currencyCode(),
    note: Type.Optional(freeText(10)),
    metadata: Type.Optional(metadata()),
    kind: Type.Optional(Type.Union([Type.Literal('card'), Type.Literal('bank')])),
    items: Type.Optional(Type.Array(Type.Object({ count: Type.Integer({ minimum: 1 }) }), { maxItems: 2 })),
  },
  { additionalProperties: false },
);

const mount = (app: App): void => {
  app.post(
    '/orders',
    { config: open, schema: { body: orderBody, headers: writeHeaders } },
    (request, reply) =>
      sendAnswer(
        reply,
        { status: 201, replayed: request.body.note === 'again' },
        {
          amount: request.body.amount,
          key: idempotencyKeyOf(request) ?? null,
        },
      ),
  );
  app.get(
    '/orders',
    { config: open, schema: { querystring: listQuery({ live: Type.Optional(Type.Boolean()) }) } },
    (request) => request.query,
  );
  app.get(
    '/orders/:id',
    { config: open, schema: { params: idParams('payment') } },
    (request) => request.params,
  );
  app.get('/caller', { config: open }, (request) => {
    request.caller = caller;
    return contextOf(request, { now: () => new Date(0) });
  });
  app.get('/stranger', { config: open }, (request) => request.caller.actor);
  app.get('/refused', { config: open }, () => {
    throw new AppError('overloaded', 'Try again.', {
      retryAfterS: 3,
      cause: new Error('queue full of secret-42'),
    });
  });
  app.get('/broken', { config: open }, () => {
    throw new Error('password secret-42 in table payments');
  });
};

let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  server = await testServer(mount);
});
afterAll(() => server.app.close());

const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(`${server.url}/orders`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });

const json = async (response: Response): Promise<Record<string, unknown>> => {
  const body: unknown = await response.json();
  return body as Record<string, unknown>;
};

const faultsOf = async (body: unknown): Promise<unknown> => {
  const response = await post(JSON.stringify(body));
  expect(response.status).toBe(400);
  return (await json(response))['errors'];
};

describe('answers', () => {
  test('every answer names its request, its trace and the security header fields', async () => {
    for (const path of [
      '/orders',
      '/nothing',
      '/broken',
      '/refused',
      '/orders/%ff',
      `/orders/${'x'.repeat(300)}`,
    ]) {
      const { headers } = await fetch(server.url + path);
      expect(headers.get('strict-transport-security')).toBe('max-age=31536000; includeSubDomains');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('SAMEORIGIN');
      expect(headers.get('x-xss-protection')).toBe('1; mode=block');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-z]{26}$/);
    }
  });

  test('a well-formed request id is kept, a malformed one is replaced', async () => {
    const kept = await fetch(`${server.url}/orders`, { headers: { 'x-request-id': 'abc-1.2_3' } });
    expect(kept.headers.get('x-request-id')).toBe('abc-1.2_3');
    const replaced = await fetch(`${server.url}/orders`, { headers: { 'x-request-id': 'a b' } });
    expect(replaced.headers.get('x-request-id')).toMatch(/^req_/);
  });

  test('the trace of the caller is kept and answered, a malformed one is replaced', async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const kept = await fetch(`${server.url}/orders`, {
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    });
    expect(kept.headers.get('traceparent')).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    expect(kept.headers.get('traceparent')).not.toContain('00f067aa0ba902b7');
    for (const malformed of [
      `ff-${traceId}-00f067aa0ba902b7-01`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      'x',
    ]) {
      const { headers } = await fetch(`${server.url}/orders`, { headers: { traceparent: malformed } });
      expect(headers.get('traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      expect(headers.get('traceparent')).not.toContain(traceId);
    }
  });

  test('a replay says so', async () => {
    const body = { amount: 1, currency: 'EUR', note: 'again' };
    const response = await post(JSON.stringify(body));
    expect(response.status).toBe(201);
    expect(response.headers.get('idempotent-replayed')).toBe('true');
    expect((await post(JSON.stringify({ ...body, note: 'new' }))).headers.has('idempotent-replayed')).toBe(
      false,
    );
  });

  test('a proven caller becomes the context of a change', async () => {
    expect(await json(await fetch(`${server.url}/caller`, { headers: { 'x-request-id': 'r1' } }))).toEqual({
      tenantId: 0,
      actor: 'api_key:key_1',
      origin: '127.0.0.1',
      requestId: 'r1',
      now: '1970-01-01T00:00:00.000Z',
    });
  });

  test('reading the caller of an unproven request is a bug, answered 500', async () => {
    expect((await fetch(`${server.url}/stranger`)).status).toBe(500);
  });

  test('a route that does not say who may call it does not register', async () => {
    // The types demand `requires`, so only a route without any config gets this far.
    await expect(testServer((app) => void app.get('/open', () => 'x'))).rejects.toThrow(
      'requires is missing',
    );
  });
});

describe('refusals', () => {
  test('an error is problem+json with a stable type and no internals', async () => {
    const response = await fetch(`${server.url}/refused`, { headers: { 'x-request-id': 'r2' } });
    expect(response.status).toBe(503);
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(response.headers.get('retry-after')).toBe('3');
    expect(await json(response)).toEqual({
      type: '/docs/errors#overloaded',
      title: 'The service is busy',
      status: 503,
      detail: 'Try again.',
      code: 'overloaded',
      request_id: 'r2',
      error: 'Try again.',
    });
  });

  test('a bug is 500 without internals, and logged with its cause', async () => {
    const response = await fetch(`${server.url}/broken`, { headers: { 'x-request-id': 'r3' } });
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(text).not.toContain('secret-42');
    expect(JSON.parse(text)).toMatchObject({ code: 'internal_error', request_id: 'r3' });
    expect(server.lines.find((line) => line['request_id'] === 'r3' && 'err' in line)).toMatchObject({
      route: '/broken',
      err: { message: 'password secret-42 in table payments' },
    });
  });

  test('an unknown path is 404', async () => {
    const response = await fetch(`${server.url}/nothing`);
    expect(response.status).toBe(404);
    expect(await json(response)).toMatchObject({ code: 'not_found', status: 404 });
  });

  test('a wrong method is 405 with Allow, OPTIONS answers the same list', async () => {
    const response = await fetch(`${server.url}/orders?x=1`, { method: 'DELETE' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD, POST, OPTIONS');
    expect(await json(response)).toMatchObject({ code: 'method_not_allowed' });
    const options = await fetch(`${server.url}/orders`, { method: 'OPTIONS' });
    expect(options.status).toBe(204);
    expect(options.headers.get('allow')).toBe('GET, HEAD, POST, OPTIONS');
  });

  test('what cannot be an id answers 404 like what does not exist', async () => {
    for (const id of [
      'x',
      'cus_01h455vb4pex5vsknk084sn02q',
      '%00',
      'pay_01h455vb4pex5vsknk084sn02q0',
      'x'.repeat(300),
    ]) {
      const response = await fetch(`${server.url}/orders/${id}`);
      expect(response.status).toBe(404);
    }
    expect(await json(await fetch(`${server.url}/orders/x`))).toMatchObject({ detail: 'No such payment.' });
    expect((await fetch(`${server.url}/orders/pay_01h455vb4pex5vsknk084sn02q`)).status).toBe(200);
  });

  test('every fault of a body is named', async () => {
    const faults = await faultsOf({
      amount: true,
      currency: 'eur',
      note: 'x'.repeat(11),
      kind: 'cash',
      metadata: { colour: 1, ['k'.repeat(41)]: 'x' },
      items: [{ count: 0 }, { count: 1.5 }, {}],
      colour: 'red',
    });
    expect(faults).toEqual([
      { field: 'colour', message: 'is not a known field' },
      { field: 'amount', message: 'must be a number or a decimal string, such as "10.50"' },
      { field: 'currency', message: 'must be an ISO 4217 code of three capital letters, such as EUR' },
      { field: 'note', message: 'must be at most 10 characters long' },
      { field: 'metadata.colour', message: 'must be a string' },
      { field: `metadata.${'k'.repeat(41)}`, message: 'its name must be at most 40 characters long' },
      { field: 'kind', message: 'must be one of "card", "bank"' },
      { field: 'items.0.count', message: 'must be at least 1' },
      { field: 'items.1.count', message: 'must be a whole number' },
      { field: 'items.2.count', message: 'is required' },
      { field: 'items', message: 'must have at most 2 items' },
    ]);
  });

  test('a body that is missing, no object or of another type is named', async () => {
    expect(await faultsOf({})).toEqual([
      { field: 'amount', message: 'is required' },
      { field: 'currency', message: 'is required' },
    ]);
    expect(await faultsOf([])).toEqual([{ field: 'body', message: 'must be an object' }]);
    expect(await faultsOf(null)).toEqual([{ field: 'body', message: 'must be an object' }]);
    const none = await fetch(`${server.url}/orders`, { method: 'POST' });
    expect(none.status).toBe(400);
  });

  test('a body is not coerced', async () => {
    expect(await faultsOf({ amount: 1, currency: 'EUR', note: 5 })).toEqual([
      { field: 'note', message: 'must be a string' },
    ]);
    expect(await faultsOf({ amount: 1, currency: 'EUR', metadata: { a: 1 } })).toHaveLength(1);
    expect(await faultsOf({ amount: 1, currency: 'EUR', items: [{ count: '1' }] })).toHaveLength(1);
  });

  test('metadata has at most 50 keys', async () => {
    const keys = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'v']));
    expect((await post(JSON.stringify({ amount: 1, currency: 'EUR', metadata: keys(50) }))).status).toBe(201);
    expect(await faultsOf({ amount: 1, currency: 'EUR', metadata: keys(51) })).toEqual([
      { field: 'metadata', message: 'must have at most 50 members' },
    ]);
  });

  test('a query is read strictly, with defaults', async () => {
    const get = (query: string) => fetch(`${server.url}/orders${query}`);
    expect(await json(await get(''))).toEqual({ limit: 20 });
    expect(await json(await get('?limit=5&live=true'))).toEqual({ limit: 5, live: true });
    for (const query of [
      'limit=0',
      'limit=101',
      'limit=5.7',
      'limit=',
      'limit=0x10',
      'limit=1&limit=2',
      'limit=ten',
    ]) {
      const response = await get(`?${query}`);
      expect(response.status).toBe(400);
      expect(await json(response)).toMatchObject({ errors: [{ field: 'limit' }] });
    }
    for (const [query, field] of [
      ['live=1', 'live'],
      ['x=1', 'x'],
      ['cursor=%00', 'cursor'],
      ['cursor=', 'cursor'],
      ['live=%ff', 'query'],
    ]) {
      expect(await json(await get(`?${query}`))).toMatchObject({ status: 400, errors: [{ field }] });
    }
  });

  test('an Idempotency-Key is 1 to 255 visible ASCII characters', async () => {
    const body = '{"amount":1,"currency":"EUR"}';
    expect(await json(await post(body, { 'idempotency-key': 'k'.repeat(255) }))).toMatchObject({
      key: 'k'.repeat(255),
    });
    for (const key of ['k'.repeat(256), 'a b', '', 'é']) {
      const response = await post(body, { 'idempotency-key': key });
      expect(response.status).toBe(400);
      expect(await json(response)).toMatchObject({ errors: [{ field: 'Idempotency-Key' }] });
    }
  });
});

describe('bodies that are not what they should be', () => {
  const order = '{"amount":1,"currency":"EUR","note":"%"}';

  test('broken JSON, an empty body and broken UTF-8 are 400', async () => {
    for (const body of ['{', '', '{"amount":1,}', "{'a':1}", 'undefined', '[1', '{"a":01}']) {
      expect(await json(await post(body))).toMatchObject({
        status: 400,
        code: 'invalid_request',
        errors: [{ field: 'body' }],
      });
    }
    const broken = Buffer.concat([Buffer.from('{"note":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]);
    expect(await json(await post(new Uint8Array(broken)))).toMatchObject({
      errors: [{ field: 'body', message: 'must be valid UTF-8' }],
    });
    const overlong = Buffer.concat([Buffer.from('{"note":"'), Buffer.from([0xc0, 0x80]), Buffer.from('"}')]);
    expect((await post(new Uint8Array(overlong))).status).toBe(400);
  });

  test('prototype poisoning is 400', async () => {
    for (const body of [
      '{"__proto__":{"a":1}}',
      '{"constructor":{"prototype":{"a":1}}}',
      '{"metadata":{"__proto__":{}}}',
    ]) {
      expect((await post(body)).status).toBe(400);
    }
  });

  test('control characters and lone surrogates are 400 with the field named, line feed and tab are fine', async () => {
    for (const escape of ['\\u0000', '\\u0007', '\\r', '\\u007f', '\\u0085', '\\ud800', '\\udc00x']) {
      expect(await json(await post(order.replace('%', escape)))).toMatchObject({
        status: 400,
        errors: [{ field: 'note' }],
      });
      const inName = `{"metadata":{"a${escape}":"x"}}`;
      expect(await json(await post(inName))).toMatchObject({ status: 400, errors: [{ field: 'metadata' }] });
    }
    for (const escape of ['\\n', '\\t', 'é', '\\ud83d\\ude00', '日本']) {
      expect((await post(order.replace('%', escape))).status).toBe(201);
    }
  });

  test('JSON that nests deeper than 64 levels is 400', async () => {
    const nested = (levels: number) => `{"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`;
    expect(await json(await post(nested(64)))).toMatchObject({
      errors: [{ field: 'metadata', message: 'must not nest deeper than 64 levels' }],
    });
    expect(JSON.stringify(await json(await post(nested(63))))).not.toContain('nest');
    expect((await post(nested(200_000))).status).toBe(400);
  });

  test('another content type or a content encoding is 415', async () => {
    for (const headers of [
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'nonsense' },
      { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    ]) {
      const response = await post(order, headers);
      expect(response.status).toBe(415);
      expect(await json(response)).toMatchObject({ code: 'unsupported_media_type' });
    }
    expect((await post(order, { 'content-type': 'application/json; charset=utf-8' })).status).toBe(201);
  });

  test('a body over the limit is 413, announced or not', async () => {
    const head = 'POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n';
    const announced = await exchange(server.port, `${head}content-length: 1048577\r\n\r\n`);
    expect(announced).toMatch(/^HTTP\/1\.1 413 /);
    expect(bodyOf(announced)).toMatchObject({ code: 'body_too_large' });
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const chunked = await exchange(
      server.port,
      `${head}transfer-encoding: chunked\r\n\r\n${chunk.repeat(17)}`,
    );
    expect(chunked).toMatch(/^HTTP\/1\.1 413 /);
  });
});
