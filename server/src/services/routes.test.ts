import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { oneProcess, send, testClient, testKey, testParts, type TestApi, type TestParts } from './testing.ts';

let database: TestDatabase;
let parts: TestParts;
let api: TestApi;

beforeAll(async () => {
  database = await testDatabase();
  parts = await testParts(database);
  api = await oneProcess(parts);
});
afterAll(async () => {
  await api?.[Symbol.asyncDispose]();
  await parts?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

const call = (path: string, options: Parameters<typeof send>[1] = {}) =>
  send(`${api.url}/api/v1${path}`, options);

describe('a vendor that insists on Idempotency-Key', () => {
  test('refuses every write without one, whoever acts for it, and no read', async () => {
    const { body: list } = await call('/vendors?limit=100', { headers: testKey });
    const vendor = (list['data'] as { id: string; slug: string }[]).find(
      ({ slug }) => slug === 'test-vendor',
    );
    const change = (required: boolean) =>
      call(`/vendors/${vendor?.id}`, {
        method: 'PATCH',
        headers: testKey,
        json: { idempotency_required: required },
      });
    expect((await change(true)).status).toBe(200);
    parts.clock.advance(2_000);
    const json = { amount: '1.00', currency: 'USD' };
    for (const headers of [testClient, testKey]) {
      expect(await call('/payments', { method: 'POST', headers, json })).toMatchObject({
        status: 400,
        body: { code: 'idempotency_key_required' },
      });
    }
    expect(
      (await call('/customers', { method: 'POST', headers: testKey, json: { email: 'a@b.example' } })).status,
    ).toBe(400);
    const keyed = { ...testClient, 'idempotency-key': 'one' };
    expect((await call('/payments', { method: 'POST', headers: keyed, json })).status).toBe(201);
    expect((await call('/payments', { headers: testClient })).status).toBe(200);
    expect((await change(false)).status).toBe(200);
    parts.clock.advance(2_000);
    expect((await call('/payments', { method: 'POST', headers: testClient, json })).status).toBe(201);
  });
});

describe('GET /audit', () => {
  test('of the platform: for its own callers alone', async () => {
    const { body } = await call('/audit?scope=platform&action=vendor.created', { headers: testKey });
    expect((body['data'] as unknown[]).length).toBeGreaterThan(0);
    const { body: made } = await call('/api-keys', {
      method: 'POST',
      headers: testKey,
      json: { name: 'a', role: 'admin' },
    });
    const vendorKey = { 'x-api-key': String(made['key']) };
    expect((await call('/audit', { headers: vendorKey })).status).toBe(200);
    expect((await call('/audit?scope=platform', { headers: vendorKey })).status).toBe(403);
  });

  test('shows a failed authentication of a client nobody knows', async () => {
    const stranger = { 'x-client-id': 'stranger', 'x-client-secret': 'guess' };
    expect((await call('/payments', { headers: stranger })).status).toBe(401);
    await expect
      .poll(
        async () => (await call('/audit?scope=platform&result=refused', { headers: testKey })).body['data'],
      )
      .toContainEqual(expect.objectContaining({ result: 'refused', action: 'authentication.failed' }));
  });
});
