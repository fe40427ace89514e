import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { apiForTests, arrangements, otherClient, send, testClient, testKey } from './testing.ts';

describe.each(arrangements)('access in $name', ({ start }) => {
  const api = apiForTests({ start });

  const call = (path: string, options: Parameters<typeof send>[1] = {}) =>
    send(`${api.url}/api/v1${path}`, options);
  const tokenOf = async (headers: Record<string, string>) => {
    const { body } = await call('/authenticate', { method: 'POST', headers });
    return { authorization: `Bearer ${String(body['token'])}` };
  };
  const newVendor = async (slug: string, body: object = {}) => {
    const made = await call('/vendors', {
      method: 'POST',
      headers: testKey,
      json: { slug, name: slug, ...body },
    });
    expect(made.status).toBe(201);
    const [client] = made.body['clients'] as { client_id: string }[];
    return {
      id: String(made.body['id']),
      headers: {
        'x-client-id': String(client?.client_id),
        'x-client-secret': String(made.body['client_secret']),
      },
    };
  };

  describe('POST /authenticate', () => {
    test('guide 000: client id and secret in headers give a bearer token', async () => {
      const { status, body, headers } = await call('/authenticate', { method: 'POST', headers: testClient });
      expect(status).toBe(200);
      expect(body).toMatchObject({
        token_type: 'Bearer',
        expires_in: 900,
        expires_at: '2026-11-22T08:15:00.000Z',
      });
      expect(headers.get('cache-control')).toBe('no-store');
      const valid = await call('/validate-token', {
        method: 'POST',
        headers: { authorization: `Bearer ${String(body['token'])}` },
      });
      expect(valid.status).toBe(200);
      expect(valid.body).toMatchObject({
        valid: true,
        active: true,
        client_id: 'test_client_id',
        mode: 'test',
        role: 'finance',
      });
    });

    test('a JSON body works instead of headers', async () => {
      const json = { client_id: 'test_client_id', client_secret: 'test_client_secret' };
      expect((await call('/authenticate', { method: 'POST', json })).status).toBe(200);
    });

    test('an empty body of any content type counts as none', async () => {
      for (const type of ['text/html', 'application/json', 'application/x-www-form-urlencoded']) {
        const headers = { ...testClient, 'content-type': type };
        expect((await call('/authenticate', { method: 'POST', headers })).status).toBe(200);
      }
    });

    test('unknown client, wrong secret and disabled vendor answer the same', async () => {
      const { id, headers } = await newVendor('disabled-vendor');
      await call(`/vendors/${id}/disable`, { method: 'POST', headers: testKey });
      await api.edge.watch.poll();
      const answers = await Promise.all(
        [
          headers,
          { ...testClient, 'x-client-secret': 'wrong' },
          { ...testClient, 'x-client-id': 'nobody' },
        ].map((given) => call('/authenticate', { method: 'POST', headers: given })),
      );
      const shown = answers.map(({ status, body }) => ({ status, body: { ...body, request_id: 'its own' } }));
      expect(shown[0]).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } });
      expect(shown[1]).toEqual(shown[0]);
      expect(shown[2]).toEqual(shown[0]);
    });

    test('no credentials, half of them or an API key are refused', async () => {
      expect((await call('/authenticate', { method: 'POST' })).body).toMatchObject({
        code: 'authentication_required',
      });
      expect((await call('/authenticate', { method: 'POST', headers: testKey })).status).toBe(401);
      const half = { 'x-client-id': 'test_client_id' };
      expect((await call('/authenticate', { method: 'POST', headers: half })).body).toMatchObject({
        code: 'invalid_credentials',
      });
    });
  });

  describe('POST /validate-token', () => {
    test('RFC 7662: of a bad token it says exactly {"active":false}', async () => {
      for (const token of ['x', 'a.b.c']) {
        const { status, body } = await call('/validate-token', { method: 'POST', json: { token } });
        expect({ status, body }).toEqual({ status: 200, body: { active: false } });
      }
    });
  });

  describe('any other route', () => {
    test('guide 001: no credential is 401 "API key required"', async () => {
      const { status, body, headers } = await call('/customers');
      expect(status).toBe(401);
      expect(body).toMatchObject({ error: 'API key required', code: 'authentication_required' });
      expect(headers.get('www-authenticate')).toMatch(/^Bearer/);
    });

    test('guide 001: an unknown key is 403 "Invalid API key"', async () => {
      const { status, body } = await call('/customers', { headers: { 'x-api-key': 'fk_test_unknown' } });
      expect(status).toBe(403);
      expect(body).toMatchObject({ error: 'Invalid API key' });
    });

    test('guide 001: a role that is too low is 403 "Insufficient permissions", and an audit entry', async () => {
      const { status, body } = await call('/api-keys', { headers: otherClient });
      expect(status).toBe(403);
      expect(body).toMatchObject({ error: 'Insufficient permissions' });
      await expect
        .poll(async () => {
          const { rows } = await sql<{ actor: string; snapshot: object }>`
            select actor, snapshot from journal.entries where kind = 'access.denied' and request_id = ${body['request_id']}
          `.execute(api.database.db);
          return rows;
        })
        .toEqual([
          {
            actor: 'client:vendor_client_id',
            snapshot: { method: 'GET', reason: 'insufficient_permissions', route: '/api/v1/api-keys' },
          },
        ]);
    });

    test('client headers, an API key and a token are each enough, and two of them too many', async () => {
      const bearer = await tokenOf(testClient);
      for (const headers of [testClient, testKey, bearer])
        expect((await call('/customers', { headers })).status).toBe(200);
      const both = await call('/customers', { headers: { ...testKey, ...bearer } });
      expect(both.status).toBe(400);
    });

    test('an unknown path under /api/v1 is 401 to strangers and 404 to callers', async () => {
      expect((await call('/nothing')).status).toBe(401);
      expect((await call('/nothing', { headers: testKey })).status).toBe(404);
    });

    test('a service token from outside opens nothing', async () => {
      const headers = { 'florin-service-token': 'a.b.c' };
      expect((await call('/customers', { headers })).status).toBe(401);
    });

    test('routes of the platform do not exist for vendors, whatever their role', async () => {
      const { headers } = await newVendor('grand-vendor', { role: 'admin' });
      const { status, body } = await call('/vendors', { headers });
      expect(status).toBe(404);
      expect(body).toMatchObject({ detail: 'There is nothing at this path.' });
    });

    test('the failed attempts of one address are refused after a while, those with a proven credential not', async () => {
      await using strict = await start({ ...api.parts });
      const list = (headers: Record<string, string>) => send(`${strict.url}/api/v1/customers`, { headers });
      expect((await list(testKey)).status).toBe(200);
      const statuses = [];
      for (let guess = 0; guess < 22; guess += 1)
        statuses.push((await list({ 'x-api-key': `guess-${guess}` })).status);
      expect(statuses.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 403));
      expect(statuses.slice(20)).toEqual([429, 429]);
      expect((await list(testKey)).status).toBe(200);
    });
  });

  describe('Florin-Vendor', () => {
    test('a platform key acts for its default vendor, or for the one that it names by slug or id', async () => {
      const { id } = await newVendor('named-vendor');
      const create = (vendor: Record<string, string>, email: string) =>
        call('/customers', {
          method: 'POST',
          headers: { ...testKey, ...vendor },
          json: { email, name: 'Ada' },
        });
      expect((await create({ 'florin-vendor': 'named-vendor' }, 'slug@example.com')).status).toBe(201);
      expect((await create({ 'florin-vendor': id }, 'id@example.com')).status).toBe(201);
      expect((await create({}, 'default@example.com')).status).toBe(201);
      const emailsOf = async (vendor: Record<string, string>) => {
        const { body } = await call('/customers', { headers: { ...testKey, ...vendor } });
        return (body['data'] as { email: string }[]).map(({ email }) => email).sort();
      };
      expect(await emailsOf({ 'florin-vendor': id })).toEqual(['id@example.com', 'slug@example.com']);
      expect(await emailsOf({ 'florin-vendor': 'test-vendor' })).toEqual(['default@example.com']);
    });

    test('an unknown vendor, and another vendor for a vendor, are the same 404', async () => {
      const answers = await Promise.all([
        call('/customers', { headers: { ...testKey, 'florin-vendor': 'nobody' } }),
        call('/customers', { headers: { ...testClient, 'florin-vendor': 'xyz-vendor' } }),
        call('/customers', { headers: { ...testClient, 'florin-vendor': "'; drop table" } }),
      ]);
      for (const { status, body } of answers) {
        expect(status).toBe(404);
        expect(body).toMatchObject({ code: 'not_found', detail: 'No such vendor.' });
      }
      expect(
        (await call('/customers', { headers: { ...testClient, 'florin-vendor': 'test-vendor' } })).status,
      ).toBe(200);
    });
  });

  describe('revocation', () => {
    test('a revoked key and a disabled vendor are refused after the next poll, whatever they used before', async () => {
      const { id, headers } = await newVendor('revoked-vendor', { role: 'admin' });
      const made = await call('/api-keys', { method: 'POST', headers, json: { name: 'till' } });
      expect(made.status).toBe(201);
      const key = { 'x-api-key': String(made.body['key']) };
      const bearer = await tokenOf(headers);
      for (const given of [headers, key, bearer])
        expect((await call('/customers', { headers: given })).status).toBe(200);

      await call(`/api-keys/${String(made.body['id'])}`, { method: 'DELETE', headers });
      await api.edge.watch.poll();
      expect((await call('/customers', { headers: key })).status).toBe(403);

      await call(`/vendors/${id}/disable`, { method: 'POST', headers: testKey });
      await api.edge.watch.poll();
      expect((await call('/customers', { headers })).status).toBe(401);
      expect((await call('/customers', { headers: bearer })).body).toMatchObject({ code: 'invalid_token' });
      expect((await call('/validate-token', { method: 'POST', headers: bearer })).body).toEqual({
        active: false,
      });

      await call(`/vendors/${id}/enable`, { method: 'POST', headers: testKey });
      await api.edge.watch.poll();
      for (const given of [headers, bearer])
        expect((await call('/customers', { headers: given })).status).toBe(200);
    });

    test('a new vendor can call at once, also when its client id was tried before', async () => {
      const early = { 'x-client-id': 'early_bird', 'x-client-secret': 'guess' };
      expect((await call('/customers', { headers: early })).status).toBe(401);
      const { headers } = await newVendor('early-vendor', { client_id: 'early_bird' });
      await api.edge.watch.poll();
      expect((await call('/customers', { headers })).status).toBe(200);
    });

    test('the use of keys and clients is noted', async () => {
      await call('/customers', { headers: testKey });
      await api.edge.watch.reportUse();
      const { body } = await call('/vendors', { headers: testKey });
      expect(body['data']).not.toEqual([]);
      const { rows } = await sql<{ last_used_at: Date | null }>`
        select last_used_at from vendors.api_keys where prefix = 'test-key'
        union all select last_used_at from vendors.clients where client_id = 'test_client_id'
      `.execute(api.database.db);
      expect(rows.map(({ last_used_at: at }) => at)).toEqual([api.parts.clock.now(), api.parts.clock.now()]);
    });
  });
});
