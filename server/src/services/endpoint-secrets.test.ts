import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { newId, toUuid } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { listEndpointsForSending, openEndpointKeys } from '../webhooks/secrets.ts';
import { endpointsForTests, type Endpoint } from './endpoints.testing.ts';

const hourMs = 3_600_000;

const { api, ask, create, at, typesOf } = endpointsForTests();

const signing = async ({ id }: Endpoint): Promise<string[]> => {
  const found = await listEndpointsForSending(api.parts.db, api.parts.endpointKeys, {
    ids: [id],
    now: api.parts.clock.now(),
  });
  return (found.get(id)?.secrets ?? []).map((secret) => secret.reveal());
};

describe('secrets', () => {
  test('both sign during an overlap of 24 hours, the newest first; then the new one alone', async () => {
    const endpoint = await create();
    const { status, body } = await ask('POST', at(endpoint, '/rotate-secret'));
    const until = new Date(api.parts.clock.now().getTime() + 24 * hourMs).toISOString();
    expect([status, body]).toMatchObject([200, { version: 2, earlier_secrets_until: until }]);
    const second = String(body['secret']);
    expect(second).not.toBe(endpoint.secret);
    expect(await signing(endpoint)).toEqual([second, endpoint.secret]);
    api.parts.clock.advance(24 * hourMs - 1);
    expect(await signing(endpoint)).toEqual([second, endpoint.secret]);
    api.parts.clock.advance(1);
    expect(await signing(endpoint)).toEqual([second]);
    expect(await typesOf(endpoint)).toContainEqual(['webhook_endpoint.secret_rotated', 2]);
  });

  test('rotated twice within an overlap, no earlier secret signs for longer than it was to', async () => {
    const endpoint = await create();
    const rotate = async (hours?: number): Promise<string> => {
      const json = hours === undefined ? {} : { overlap_hours: hours };
      const { status, body } = await ask('POST', at(endpoint, '/rotate-secret'), json);
      expect(status, JSON.stringify(body)).toBe(200);
      return String(body['secret']);
    };
    const second = await rotate(2);
    api.parts.clock.advance(hourMs);
    const third = await rotate(10);
    expect(await signing(endpoint)).toEqual([third, second, endpoint.secret]);
    api.parts.clock.advance(hourMs);
    expect(await signing(endpoint)).toEqual([third, second]);
    const fourth = await rotate(0);
    expect(await signing(endpoint)).toEqual([fourth]);
  });

  test('five sign at once at most: the answer says when there is room', async () => {
    const endpoint = await create();
    const rotate = (json: object = {}) => ask('POST', at(endpoint, '/rotate-secret'), json);
    for (let count = 2; count <= 5; count += 1) expect((await rotate()).status).toBe(200);
    const refused = await rotate();
    expect(refused).toMatchObject({ status: 409, body: { code: 'limit_reached' } });
    expect(refused.body['detail']).toContain(
      new Date(api.parts.clock.now().getTime() + 24 * hourMs).toISOString(),
    );
    expect(await signing(endpoint)).toHaveLength(5);
    expect((await rotate({ overlap_hours: 0 })).status).toBe(200);
    expect(await signing(endpoint)).toHaveLength(1);
    for (const hours of [-1, 169, 1.5, '24'])
      expect((await rotate({ overlap_hours: hours })).body).toMatchObject({
        errors: [{ field: 'overlap_hours' }],
      });
  });

  test('rotations at once leave one newest secret, and a repeated key rotates once', async () => {
    const endpoint = await create();
    const key = { 'idempotency-key': 'rotate-1' };
    const answers = await Promise.all([1, 2].map(() => ask('POST', at(endpoint, '/rotate-secret'), {}, key)));
    expect(answers[0]?.body).toEqual(answers[1]?.body);
    expect(await signing(endpoint)).toEqual([answers[0]?.body['secret'], endpoint.secret]);
    api.parts.clock.advance(5_000);
    const again = await ask('POST', at(endpoint, '/rotate-secret'), {}, key);
    expect(again.body).toEqual(answers[0]?.body);
    const both = await Promise.all([1, 2].map(() => ask('POST', at(endpoint, '/rotate-secret'))));
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(await signing(endpoint)).toHaveLength(4);
  });

  test('GET …/secret is for role admin alone, and in the audit log', async () => {
    const endpoint = await create();
    const { body: key } = await ask('POST', '/api-keys', { name: 'finance', role: 'finance' });
    const finance = { 'x-api-key': String(key['key']) };
    expect((await ask('GET', at(endpoint, '/secret'), undefined, finance)).status).toBe(403);
    const { status, body, headers } = await ask('GET', at(endpoint, '/secret'));
    expect([status, body]).toMatchObject([
      200,
      { id: endpoint.id, secret: endpoint.secret, earlier_secrets_until: null },
    ]);
    expect(headers.get('cache-control')).toBe('no-store');
    const audit = await ask('GET', `/audit?action=webhook_secret.shown`);
    expect(audit.body['data']).toMatchObject([
      { object: endpoint.id, result: 'success', actor: expect.anything() },
    ]);
    expect(await typesOf(endpoint)).toEqual([['webhook_endpoint.created', 1]]);
  });

  test('a sealed secret opens for its endpoint and number alone, and under the master key before', async () => {
    const [one, other] = [await create(), await create()];
    const [ids, now] = [[one.id], api.parts.clock.now()];
    const previous = new Secret(Buffer.alloc(32, 7).toString('base64'));
    const current = new Secret(Buffer.alloc(32, 8).toString('base64'));
    const keys = openEndpointKeys({ masterKey: current, previousMasterKey: previous });
    const found = await listEndpointsForSending(api.parts.db, keys, { ids, now });
    expect(found.get(one.id)?.secrets.map((secret) => secret.reveal())).toEqual([one.secret]);
    await sql`
      update webhooks.secrets s set sealed = o.sealed from webhooks.secrets o
      where s.endpoint_id = ${toUuid(one.id)} and o.endpoint_id = ${toUuid(other.id)}
    `.execute(api.database.superuser);
    await expect(listEndpointsForSending(api.parts.db, api.parts.endpointKeys, { ids, now })).rejects.toThrow(
      'altered, or belongs elsewhere',
    );
  });

  test('endpoints that do not exist are left out, and none are asked for at no cost', async () => {
    const ids = [newId('webhook_endpoint')];
    const now = api.parts.clock.now();
    expect(await listEndpointsForSending(api.parts.db, api.parts.endpointKeys, { ids, now })).toEqual(
      new Map(),
    );
    expect(await listEndpointsForSending(api.parts.db, api.parts.endpointKeys, { ids: [], now })).toEqual(
      new Map(),
    );
  });
});
