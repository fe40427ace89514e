import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { newId } from '../lib/ids.ts';
import { testServer } from '../lib/http/testing.ts';
import { customerRoutes } from './routes.ts';
import { everythingStored, testKeys } from './testing.ts';

const { keys, clock } = testKeys();
const required: Record<string, string> = {};

let database: TestDatabase;
let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  database = await testDatabase();
  server = await testServer(async (app) => {
    app.addHook('onRoute', ({ method, url, config }) => {
      required[`${String(method)} ${url}`] = config?.requires ?? '';
    });
    // Stands in for the authentication: the tenant that a request says it is.
    app.addHook('onRequest', async (request) => {
      const tenantId = Number(request.headers['x-tenant'] ?? 1);
      request.caller = {
        kind: 'vendor',
        actor: 'client:test',
        role: 'admin',
        tenantId,
        vendorId: undefined,
        mode: 'test',
      };
    });
    await app.register(customerRoutes({ db: database.db, keys, clock }), { prefix: '/api/v1' });
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

type Sent = { body?: unknown; key?: string; tenant?: number };
// The members that these tests read; a missing one fails its assertion.
type Body = Record<string, any>; // oxlint-disable-line typescript/no-explicit-any

const send = async (method: string, path: string, { body, key, tenant = 1 }: Sent = {}) => {
  const response = await fetch(`${server.url}/api/v1/customers${path}`, {
    method,
    headers: {
      'x-tenant': String(tenant),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Body };
};

let addresses = 0;
const person = (changes: object = {}): object => ({
  email: `route.${++addresses}@example.com`,
  name: 'Katherine Johnson',
  ...changes,
});
const create = async (changes: object = {}): Promise<Body> =>
  (await send('POST', '', { body: person(changes) })).body;

/** What is wrong with each field, sent alone in an otherwise right body. */
const badFields: [field: string, value: unknown][] = [
  ...[
    null,
    7,
    true,
    [],
    {},
    '',
    'ada',
    'ada@',
    '@example.com',
    'a b@example.com',
    'a@b@c.example',
    `${'a'.repeat(250)}@example.com`,
    'ada@example.com\u0000',
    'ada\n@example.com',
  ].map((value): [string, unknown] => ['email', value]),
  ...[
    null,
    7,
    {},
    '',
    '   ',
    'x'.repeat(201),
    'Ada\u0000',
    'Ada\u001b[31m',
    '\ud800',
    '4111 1111 1111 1111',
  ].map((value): [string, unknown] => ['name', value]),
  ...[7, {}, '', 'call me', '12', '1'.repeat(33), '+49\u000030', '++49 30 901820'].map(
    (value): [string, unknown] => ['phone', value],
  ),
  ...[
    null,
    'x',
    [],
    { a: 1 },
    { a: null },
    { a: { b: 'c' } },
    { a: 'x'.repeat(501) },
    { ['k'.repeat(41)]: 'x' },
    { '': 'x' },
    { a: '\u0000' },
    { 'k\u0007': 'x' },
    { a: '4111111111111111' },
    { '4111111111111111': 'x' },
    Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 'x'])),
  ].map((value): [string, unknown] => ['metadata', value]),
  ['colour', 'red'],
  ['id', newId('customer')],
  ['version', 3],
];

describe('POST /customers', () => {
  test('201 with the customer; a retry with the same key is the same answer and says so', async () => {
    const body = person({ phone: '+49 30 901820', metadata: { order: '1042' } });
    const first = await send('POST', '', { body, key: 'post-1' });
    expect(first.status).toBe(201);
    expect(first.body).toEqual({
      ...body,
      id: expect.stringMatching(/^cus_/),
      object: 'customer',
      version: 1,
      created_at: clock.now().toISOString(),
      updated_at: clock.now().toISOString(),
      erased_at: null,
    });
    const again = await send('POST', '', { body, key: 'post-1' });
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect((await send('POST', '', { body: person(), key: 'post-1' })).body['code']).toBe(
      'idempotency_key_reused',
    );
  });

  test('409 for a known email names the customer and no person; so does its retry', async () => {
    const body = person();
    const { id } = (await send('POST', '', { body })).body;
    for (const key of [undefined, 'taken-1', 'taken-1']) {
      const refused = await send('POST', '', { body, ...(key ? { key } : {}) });
      expect(refused).toMatchObject({ status: 409, body: { code: 'already_exists' } });
      expect(refused.body['detail']).toContain(id);
      expect(JSON.stringify(refused.body)).not.toContain('@');
    }
  });

  test.each(badFields)('400 names the field: %s = %j', async (field, value) => {
    const before = await everythingStored(database.superuser);
    const refused = await send('POST', '', { body: person({ [field]: value }) });
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const fields: string[] = refused.body['errors'].map((fault: { field: string }) => fault.field);
    expect(fields.every((named) => named === field || named.startsWith(`${field}.`))).toBe(true);
    expect((await everythingStored(database.superuser)) === before).toBe(true);
  });

  test.each([[{}], [{ email: 'x@example.com' }], [{ name: 'x' }], [null], [[]], ['text']])(
    '400 for the body %j',
    async (body) => {
      expect(await send('POST', '', { body })).toMatchObject({
        status: 400,
        body: { errors: expect.any(Array) },
      });
    },
  );
});

describe('GET /customers/:id', () => {
  test('200 with the customer; 404 for another tenant, an unknown id, another kind of id and noise alike', async () => {
    const customer = await create();
    expect(await send('GET', `/${customer['id']}`)).toMatchObject({ status: 200, body: customer });
    const answers = await Promise.all([
      send('GET', `/${customer['id']}`, { tenant: 2 }),
      send('GET', `/${newId('customer')}`),
      send('GET', `/${newId('payment')}`),
      send('GET', '/%00'),
      send('GET', `/${'x'.repeat(150)}`),
      send('GET', '/cus_zzzzzzzzzzzzzzzzzzzzzzzzzz'),
    ]);
    for (const { status, body } of answers) {
      expect({ status, detail: body['detail'] }).toEqual({ status: 404, detail: 'No such customer.' });
    }
  });
});

describe('GET /customers', () => {
  test('pages follow each other by cursor and hold every customer once', async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) made.push((await send('POST', '', { body: person(), tenant: 5 })).body['id']);
    const seen: string[] = [];
    let path = '?limit=2';
    for (;;) {
      const { body } = await send('GET', path, { tenant: 5 });
      seen.push(...body['data'].map(({ id }: { id: string }) => id));
      if (!body['has_more']) break;
      path = `?limit=2&cursor=${body['next_cursor']}`;
    }
    expect(seen).toEqual(made.toSorted().toReversed());
  });

  test('email finds the one customer, whatever its case, in this tenant only', async () => {
    const customer = await create();
    const query = `?email=${encodeURIComponent(String(customer['email']).toUpperCase())}`;
    expect((await send('GET', query)).body).toEqual({ data: [customer], has_more: false, next_cursor: null });
    expect((await send('GET', query, { tenant: 2 })).body['data']).toEqual([]);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=x', 'limit'],
    ['limit=1.5', 'limit'],
    ['cursor=!', 'cursor'],
    ['cursor=abc', 'cursor'],
    [`cursor=${Buffer.from('["pay_01h455vb4pex5vsknk084sn02q"]').toString('base64url')}`, 'cursor'],
    ['email=ada', 'email'],
    ['email=', 'email'],
    ['email=a%00@example.com', 'email'],
    ['name=Ada', 'name'],
  ])('400 for ?%s names %s', async (query, field) => {
    const refused = await send('GET', `?${query}`);
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect(refused.body['errors'].map((fault: { field: string }) => fault.field)).toContain(field);
  });
});

describe('PATCH /customers/:id', () => {
  test('200 with the changed customer; a retry with the same key changes nothing more', async () => {
    const customer = await create({ phone: '+1 202 555 0100', metadata: { a: '1' } });
    const change = { body: { name: 'Mary Jackson', phone: null, metadata: {} }, key: 'patch-1' };
    const changed = await send('PATCH', `/${customer['id']}`, change);
    expect(changed).toMatchObject({
      status: 200,
      body: { ...customer, name: 'Mary Jackson', phone: null, metadata: {}, version: 2 },
    });
    const again = await send('PATCH', `/${customer['id']}`, change);
    expect(again.body).toEqual(changed.body);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    // One key names one request: the same change of another customer is another request.
    const other = await create();
    expect((await send('PATCH', `/${other['id']}`, change)).status).toBe(422);
  });

  test('404 for another tenant and for an unknown id', async () => {
    const customer = await create();
    const body = { name: 'x' };
    expect((await send('PATCH', `/${customer['id']}`, { body, tenant: 2 })).status).toBe(404);
    expect((await send('PATCH', `/${newId('customer')}`, { body })).status).toBe(404);
  });

  test("409 for another customer's email", async () => {
    const [first, second] = [await create(), await create()];
    const refused = await send('PATCH', `/${second['id']}`, { body: { email: first['email'] } });
    expect(refused).toMatchObject({ status: 409, body: { code: 'already_exists' } });
  });

  test.each(badFields)('400 names the field: %s = %j', async (field, value) => {
    const customer = await create();
    const refused = await send('PATCH', `/${customer['id']}`, { body: { [field]: value } });
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect((await send('GET', `/${customer['id']}`)).body).toEqual(customer);
  });

  test('400 for a body that changes nothing', async () => {
    const customer = await create();
    expect((await send('PATCH', `/${customer['id']}`, { body: {} })).status).toBe(400);
  });
});

test('reading needs a viewer, writing a developer', () => {
  expect(required).toMatchObject({
    'POST /api/v1/customers': 'developer',
    'GET /api/v1/customers': 'viewer',
    'GET /api/v1/customers/:id': 'viewer',
    'PATCH /api/v1/customers/:id': 'developer',
  });
});

test('no log line holds an email or a name, not even of a refused request or a search', async () => {
  await send('GET', `?email=${encodeURIComponent('planted.log@example.com')}`);
  await send('POST', '', { body: person({ email: 'planted.log', name: 'Planted Logname' }) });
  await send('POST', '', { body: person({ email: 'planted.log@example.com', name: 'Planted Logname' }) });
  const logged = JSON.stringify(server.lines);
  expect(server.lines.length).toBeGreaterThan(10);
  expect(
    ['planted.log', 'Planted Logname', '@example.com', '%40example.com'].filter((text) =>
      logged.includes(text),
    ),
  ).toEqual([]);
});
