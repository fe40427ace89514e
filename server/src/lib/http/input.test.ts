import { Type } from 'typebox';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { idempotencyKeyOf } from './route.ts';
import { listQuery } from './page.ts';
import { amountInput, currencyCode, freeText, metadata, writeHeaders } from './schemas.ts';
import { bodyOf, exchange, testServer } from './testing.ts';
import type { App } from './server.ts';

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

const noteBody = Type.Object(
  { note: Type.Union([freeText(10), Type.Null()]), about: Type.Union([Type.String(), Type.Integer()]) },
  { additionalProperties: false },
);

const mount = (app: App): void => {
  app.post(
    '/orders',
    { config: open, schema: { body: orderBody, headers: writeHeaders } },
    (request, reply) => reply.code(201).send({ key: idempotencyKeyOf(request) ?? null }),
  );
  app.post('/notes', { config: open, schema: { body: Type.Union([noteBody, Type.Null()]) } }, () => ({}));
  app.get(
    '/orders',
    { config: open, schema: { querystring: listQuery({ live: Type.Optional(Type.Boolean()) }) } },
    (request) => request.query,
  );
};

let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  server = await testServer(mount);
});
afterAll(() => server.app.close());

const post = (
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
  path = '/orders',
) =>
  fetch(server.url + path, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });

const json = async (response: Response): Promise<Record<string, unknown>> => {
  const body: unknown = await response.json();
  return body as Record<string, unknown>;
};

const faultsOf = async (body: unknown, path?: string): Promise<unknown> => {
  const response = await post(JSON.stringify(body), {}, path);
  expect(response.status).toBe(400);
  return (await json(response))['errors'];
};

describe('requests that a schema refuses', () => {
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

  test('of a union, what is wrong is told by the branch that was meant, else by all', async () => {
    const of = (body: unknown) => faultsOf(body, '/notes');
    expect(await of({ note: 'x'.repeat(11), about: true, more: 1 })).toEqual([
      { field: 'more', message: 'is not a known field' },
      { field: 'note', message: 'must be at most 10 characters long' },
      { field: 'about', message: 'must be a string or a whole number' },
    ]);
    expect(await of({})).toEqual([
      { field: 'note', message: 'is required' },
      { field: 'about', message: 'is required' },
    ]);
    expect(await of('text')).toEqual([{ field: 'body', message: 'must be an object or null' }]);
  });

  test('of four thousand unknown members a hundred are named', async () => {
    const many = Object.fromEntries(Array.from({ length: 4_000 }, (_, index) => [`unknown_${index}`, 1]));
    for (const path of ['/orders', '/notes']) {
      const faults = await faultsOf({ amount: 1, currency: 'EUR', note: 'x', about: 1, ...many }, path);
      expect(faults).toHaveLength(100);
      expect(faults).toContainEqual({ field: 'unknown_0', message: 'is not a known field' });
    }
  });

  test('a long name is shortened where it is named, and no character of it is cut in half', async () => {
    const order = { amount: 1, currency: 'EUR' };
    expect(await faultsOf({ ...order, [`${'n'.repeat(59)}😀${'n'.repeat(9)}`]: 1 })).toEqual([
      { field: `${'n'.repeat(59)}…`, message: 'is not a known field' },
    ]);
    const nested = Array.from({ length: 60 }).reduce<unknown>(
      (inner) => ({ ['n'.repeat(60)]: inner }),
      '\u0000',
    );
    expect(await faultsOf({ ...order, metadata: nested })).toEqual([
      {
        field: expect.stringMatching(/^metadata(\.n{60})+\.n+…$/),
        message: 'must not contain control characters',
      },
    ]);
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
      ['limit%00=1', 'query'],
      ['%07=1', 'query'],
    ]) {
      const refusal = await json(await get(`?${query}`));
      expect(refusal).toMatchObject({ status: 400, errors: [{ field }] });
      expect(JSON.stringify(refusal)).not.toContain('\\u00');
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
