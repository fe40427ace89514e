import { describe, expect, test } from 'vitest';
import { localDirectory } from '../access/local.ts';
import { revocationChannel } from '../access/watch.ts';
import { buildServer } from '../lib/http/server.ts';
import { mountEdge } from './edge.ts';
import { apiForTests, send, testClient, testConfig, testKey } from './testing.ts';

const api = apiForTests();

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
    api.parts.clock.advance(2_000);
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
    api.parts.clock.advance(2_000);
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

describe('revocations', () => {
  test('are announced to every edge when they are made, and nothing else is', async () => {
    let heard = 0;
    await api.parts.cache.subscribe(revocationChannel, () => (heard += 1));
    const { body: key } = await call('/api-keys', {
      method: 'POST',
      headers: testKey,
      json: { name: 'short' },
    });
    const headers = { 'x-api-key': String(key['key']) };
    expect((await call('/payments', { headers })).status).toBe(200);
    expect(heard).toBe(0);
    await call(`/api-keys/${String(key['id'])}`, { method: 'DELETE', headers: testKey });
    expect(heard).toBe(1);
    await api.edge.watch.poll();
    expect((await call('/payments', { headers })).status).toBe(403);
  });

  test('an edge that hears of one asks for it at once', async () => {
    const asked: string[] = [];
    const listeners: (() => void)[] = [];
    const cache = {
      ...api.parts.cache,
      subscribe: async (channel: string, listen: (message: string) => void) => {
        if (channel === revocationChannel) listeners.push(() => listen(''));
      },
    };
    const directory = localDirectory(api.parts);
    const app = buildServer({ ...api.parts, config: testConfig(), name: 'edge' });
    const edge = mountEdge(app, {
      ...api.parts,
      config: testConfig(),
      cache,
      directory: {
        ...directory,
        revocationsSince: (last) => (asked.push('asked'), directory.revocationsSince(last)),
      },
    });
    await app.ready();
    await edge.watch.poll();
    const before = asked.length;
    for (const hear of listeners) hear();
    // Asking begins with the message itself, not with the timer.
    expect(asked.length).toBe(before + 1);
    await app.close();
  });
});
