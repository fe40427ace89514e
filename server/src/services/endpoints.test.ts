import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { sealAll } from '../journal/testing.ts';
import { inTransaction } from '../lib/database.ts';
import { toUuid } from '../lib/ids.ts';
import { disableEndpoint } from '../webhooks/endpoints.ts';
import { tablesOf } from '../../test/setup/requests.ts';
import { endpointsForTests } from './endpoints.testing.ts';
import { oneProcess, send, testKey } from './testing.ts';

const { api, url, ask, create, at, eventsOf, typesOf } = endpointsForTests();

const vendorTenant = async (): Promise<number> => {
  const { rows } = await sql<{ id: number }>`
    select tenant_id as id from webhooks.endpoints order by created_at desc limit 1
  `.execute(api.parts.db);
  return rows[0]?.id ?? 0;
};

describe('POST /webhook-endpoints', () => {
  test('makes an enabled endpoint with a secret of its own', async () => {
    const first = await create();
    expect(first).toMatchObject({
      id: expect.stringMatching(/^we_/),
      object: 'webhook_endpoint',
      mode: 'test',
      url,
      events: ['payment.*'],
      description: null,
      metadata: {},
      ordered: false,
      payload: 'full',
      status: 'enabled',
      disabled_reason: null,
      version: 1,
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
    });
    const second = await create({
      events: ['*'],
      ordered: true,
      payload: 'thin',
      metadata: { a: 'b' },
      description: 'D',
    });
    expect(second).toMatchObject({ ordered: true, payload: 'thin', metadata: { a: 'b' }, description: 'D' });
    expect(second.secret).not.toBe(first.secret);
    const { secret: _, ...shown } = second;
    expect((await ask('GET', at(second))).body).toEqual(shown);
    expect(await typesOf(second)).toEqual([['webhook_endpoint.created', 1]]);
  });

  test('the secret is in this answer alone: in no other, in no event, in no table, nor in the log', async () => {
    const { secret, ...endpoint } = await create();
    await ask('PATCH', `/webhook-endpoints/${endpoint.id}`, { description: 'changed' });
    const others = await Promise.all([
      ask('GET', '/webhook-endpoints?limit=100'),
      ask('GET', `/webhook-endpoints/${endpoint.id}`),
      ask('GET', `/events?object=${endpoint.id}`),
      ask('GET', '/audit?limit=100'),
    ]);
    const tables = await tablesOf(api.database.superuser);
    const everything = JSON.stringify([
      others.map(({ body }) => body),
      await tables.contents(),
      api.parts.lines,
    ]);
    expect(everything).toContain(endpoint.id);
    for (const part of [secret, secret.slice(6), Buffer.from(secret).toString('hex')])
      expect(everything).not.toContain(part);
  });

  test('a repeated Idempotency-Key makes one endpoint and shows the same secret', async () => {
    const key = { 'idempotency-key': 'endpoint-1' };
    const body = { url, events: ['refund.*'] };
    const answers = await Promise.all([1, 2, 3].map(() => ask('POST', '/webhook-endpoints', body, key)));
    const last = await ask('POST', '/webhook-endpoints', body, key);
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    for (const answer of answers) expect(answer.body).toEqual(last.body);
    expect(last.headers.get('idempotent-replayed')).toBe('true');
    const other = await ask('POST', '/webhook-endpoints', { ...body, events: ['*'] }, key);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    await ask('POST', `/webhook-endpoints/${String(last.body['id'])}/rotate-secret`, { overlap_hours: 0 });
    expect((await ask('POST', '/webhook-endpoints', body, key)).body).toEqual(last.body);
  });

  test('names the field of what it refuses', async () => {
    const wrong: [field: string, body: object][] = [
      ['url', {}],
      ['url', { url: 'shop.example' }],
      ['url', { url: 'ftp://shop.example/' }],
      ['url', { url: 'https://user:password@shop.example/' }],
      ['url', { url: 'https://10.0.0.1/' }],
      ['url', { url: 'https://169.254.169.254/latest/meta-data' }],
      ['url', { url: `https://shop.example/${'a'.repeat(2048)}` }],
      ['url', { url: 7 }],
      ['events', { url, events: [] }],
      ['events', { url, events: ['payment.*', 'payment.*'] }],
      ['events', { url, events: 'payment.*' }],
      ['events.0', { url, events: ['payment.exploded'] }],
      ['events.1', { url, events: ['*', 'pay*'] }],
      ['payload', { url, payload: 'fat' }],
      ['ordered', { url, ordered: 'yes' }],
      ['description', { url, description: 'x'.repeat(501) }],
      ['secret', { url, secret: 'whsec_mine' }],
    ];
    for (const [field, body] of wrong) {
      const answer = await ask('POST', '/webhook-endpoints', { events: ['*'], ...body });
      expect(answer).toMatchObject({ body: { code: 'invalid_request' }, status: 400 });
      expect([field, answer.body['errors']]).toMatchObject([field, [{ field }]]);
    }
  });

  test('no more than the limit, also not by many requests at once; a deleted one makes room', async () => {
    await using strict = await oneProcess({ ...api.parts, webhooks: { endpointsMax: 3 } });
    const headers = { ...testKey, 'florin-vendor': await vendor('limited') };
    const post = (path = '', method = 'POST') =>
      send(`${strict.url}/api/v1/webhook-endpoints${path}`, {
        method,
        headers,
        ...(path === '' && { json: { url, events: ['*'] } }),
      });
    const answers = await Promise.all(Array.from({ length: 8 }, () => post()));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(5);
    expect(await post()).toMatchObject({ status: 409, body: { code: 'limit_reached' } });
    const made = answers.find(({ status }) => status === 201);
    expect((await post(`/${String(made?.body['id'])}`, 'DELETE')).status).toBe(200);
    expect((await post()).status).toBe(201);
  });
});

const vendor = async (slug: string): Promise<string> => {
  await ask('POST', '/vendors', { slug, name: slug });
  return slug;
};

describe('changing an endpoint', () => {
  test('PATCH changes what is sent and leaves the rest', async () => {
    const endpoint = await create({ description: 'before', metadata: { a: '1' } });
    const { status, body } = await ask('PATCH', at(endpoint), {
      description: null,
      events: ['refund.*', 'customer.created'],
    });
    expect([status, body]).toMatchObject([
      200,
      { description: null, events: ['refund.*', 'customer.created'], metadata: { a: '1' }, url, version: 2 },
    ]);
    expect((await ask('PATCH', at(endpoint), {})).status).toBe(400);
    expect((await ask('PATCH', at(endpoint), { url: 'https://127.0.0.2:22/' })).status).toBe(400);
    expect((await ask('PATCH', at(endpoint), { status: 'disabled' })).status).toBe(400);
    expect(await typesOf(endpoint)).toEqual([
      ['webhook_endpoint.created', 1],
      ['webhook_endpoint.updated', 2],
    ]);
  });

  test('a new address starts without the failures of the old one', async () => {
    const endpoint = await create();
    const fail = () =>
      sql`update webhooks.endpoints set failures = 9, failing_since = now(), paused_until = now()
          where id = ${toUuid(endpoint.id)}`.execute(api.parts.db);
    const failures = async () => {
      const { rows } = await sql`
        select failures, failing_since, paused_until from webhooks.endpoints where id = ${toUuid(endpoint.id)}
      `.execute(api.parts.db);
      return rows[0];
    };
    await fail();
    await ask('PATCH', at(endpoint), { url, description: 'the same address' });
    expect(await failures()).toMatchObject({ failures: 9 });
    await ask('PATCH', at(endpoint), { url: 'https://other.example/' });
    expect(await failures()).toEqual({ failures: 0, failing_since: null, paused_until: null });
    await fail();
    await ask('POST', at(endpoint, '/disable'));
    await ask('POST', at(endpoint, '/enable'));
    expect(await failures()).toMatchObject({ failures: 0 });
  });

  test('is disabled and enabled; twice is once, and it goes on with what happens from then on', async () => {
    const endpoint = await create();
    const from = async () =>
      (
        await sql<{ place: bigint }>`
          select from_position as place from webhooks.endpoints where id = ${toUuid(endpoint.id)}
        `.execute(api.parts.db)
      ).rows[0]?.place ?? -1n;
    const before = await from();
    const disabled = await ask('POST', at(endpoint, '/disable'));
    expect(disabled.body).toMatchObject({ status: 'disabled', disabled_reason: 'requested', version: 2 });
    expect((await ask('POST', at(endpoint, '/disable'))).body).toEqual(disabled.body);
    await ask('POST', '/payments', { amount: '1.00', currency: 'USD' });
    await sealAll(api.database);
    const enabled = await ask('POST', at(endpoint, '/enable'));
    expect(enabled.body).toMatchObject({ status: 'enabled', disabled_reason: null, version: 3 });
    expect((await ask('POST', at(endpoint, '/enable'))).body).toEqual(enabled.body);
    expect(await from()).toBeGreaterThan(before);
    expect(await typesOf(endpoint)).toEqual([
      ['webhook_endpoint.created', 1],
      ['webhook_endpoint.disabled', 2],
      ['webhook_endpoint.enabled', 3],
    ]);
  });

  test('a deleted endpoint is gone for everybody, but for its last event', async () => {
    const endpoint = await create();
    expect((await ask('DELETE', at(endpoint))).body).toMatchObject({ status: 'deleted', version: 2 });
    for (const [method, verb] of [
      ['GET', ''],
      ['GET', '/secret'],
      ['PATCH', ''],
      ['DELETE', ''],
      ['POST', '/enable'],
      ['POST', '/test'],
      ['POST', '/rotate-secret'],
    ] as const) {
      const answer = await ask(
        method,
        at(endpoint, verb),
        method === 'PATCH' ? { ordered: true } : undefined,
      );
      expect([verb, answer.status, answer.body['detail']]).toEqual([verb, 404, 'No such webhook endpoint.']);
    }
    const { body } = await ask('GET', '/webhook-endpoints?limit=100');
    expect(JSON.stringify(body)).not.toContain(endpoint.id);
    expect((await eventsOf(endpoint)).at(-1)).toMatchObject({
      type: 'webhook_endpoint.deleted',
      data: { status: 'deleted' },
    });
  });

  test('a test is an event about the endpoint; a disabled one is not tested', async () => {
    const endpoint = await create({ events: ['refund.failed'] });
    const { status, body } = await ask('POST', at(endpoint, '/test'));
    expect([status, body]).toMatchObject([
      202,
      { id: endpoint.id, version: 2, event_id: expect.stringMatching(/^evt_/) },
    ]);
    expect(await typesOf(endpoint)).toEqual([
      ['webhook_endpoint.created', 1],
      ['webhook_endpoint.tested', 2],
    ]);
    expect((await ask('GET', `/events/${String(body['event_id'])}`)).status).toBe(200);
    await ask('POST', at(endpoint, '/disable'));
    expect(await ask('POST', at(endpoint, '/test'))).toMatchObject({
      status: 409,
      body: { code: 'invalid_state' },
    });
  });

  test('one that is gone is disabled once, by the worker, with an event', async () => {
    const endpoint = await create();
    const tenantId = await vendorTenant();
    const context = {
      tenantId,
      actor: 'system:worker',
      origin: undefined,
      requestId: undefined,
      now: api.parts.clock.now(),
    };
    const disable = (reason: 'gone' | 'failing') =>
      inTransaction(api.parts.db, (tx) =>
        disableEndpoint(tx, context, { tenantId, id: endpoint.id }, reason),
      );
    expect(await disable('gone')).toMatchObject({ kind: 'webhook_endpoint.disabled' });
    expect(await disable('failing')).toBeUndefined();
    expect((await ask('GET', at(endpoint))).body).toMatchObject({
      status: 'disabled',
      disabled_reason: 'gone',
    });
    await ask('DELETE', at(endpoint));
    expect(await disable('failing')).toBeUndefined();
  });
});
