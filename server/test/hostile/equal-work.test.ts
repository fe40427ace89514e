import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { sql } from 'kysely';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/lib/secret.ts';
import { oneProcess, send, testKey, testParts, twoProcesses } from '../../src/services/testing.ts';
import { made } from '../setup/api.ts';
import { testDatabase } from '../setup/database.ts';

/*
 * Time says which client ids exist, unless every attempt takes the same steps. Steps are what costs: hashes, comparisons,
 * reads from the vault, statements. They are compared, since times vary by themselves.
 */
let steps: string[] = [];

const hashing = {
  createHash: crypto.createHash,
  createHmac: crypto.createHmac,
  timingSafeEqual: crypto.timingSafeEqual,
};
// Its overloads are many; it is only called on.
const query = pg.Client.prototype.query as (...given: unknown[]) => unknown;

beforeEach(() => {
  for (const [name, original] of Object.entries(hashing)) {
    const counted = (...given: never[]): unknown => {
      steps.push(name);
      return Reflect.apply(original, crypto, given);
    };
    Object.assign(crypto, { [name]: counted });
  }
  syncBuiltinESMExports();
  Object.assign(pg.Client.prototype, {
    query(this: pg.Client, ...given: unknown[]) {
      const [statement] = given;
      const text = typeof statement === 'string' ? statement : String(Reflect.get(Object(statement), 'text'));
      steps.push(`sql ${text.replaceAll(/\s+/g, ' ').trim()}`);
      return Reflect.apply(query, this, given);
    },
  });
});
afterEach(() => {
  Object.assign(crypto, hashing);
  syncBuiltinESMExports();
  Object.assign(pg.Client.prototype, { query });
});

const count = (list: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const each of [...list].sort()) counts[each] = (counts[each] ?? 0) + 1;
  return counts;
};

describe.each([
  { name: 'one process', start: oneProcess },
  { name: 'two processes', start: twoProcesses },
])('equal work in $name', ({ start }) => {
  /** An API with clients of every standing, on a vault that counts what is read. */
  const open = async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await testDatabase());
    const parts = stack.use(await testParts(database));
    const { read } = parts.secrets;
    parts.secrets.read = (path, version) => {
      steps.push('vault read');
      return read(path, version);
    };
    const api = stack.use(await start(parts));
    const secrets: Record<string, string> = {};
    const keys = { expired: '', revoked: '', closed: '' };
    const key = async (slug: string, json: object): Promise<string> =>
      String((await made(api.url, { ...testKey, 'florin-vendor': slug }, '/api-keys', json))['key']);
    for (const slug of ['shop', 'dismissed', 'rotating', 'closed']) {
      const vendor = await made(api.url, testKey, '/vendors', {
        slug,
        name: slug,
        client_id: `${slug}_client`,
      });
      secrets[slug] = String(vendor['client_secret']);
      if (slug !== 'closed') continue;
      keys.closed = await key(slug, { name: 'Closed' });
      await made(api.url, testKey, `/vendors/${String(vendor['id'])}/disable`, {});
    }
    keys.expired = await key('shop', { name: 'Old', expires_at: '2026-11-22T08:00:01Z' });
    keys.revoked = await key('shop', { name: 'Gone' });
    await parts.secrets.write('payment-system/vendors/rotating/client-secret', new Secret('the next one'));
    await sql`update vendors.api_keys set revoked_at = now() where name = 'Gone'`.execute(database.superuser);
    await sql`update vendors.clients set revoked_at = now() where client_id = 'dismissed_client'`.execute(
      database.superuser,
    );
    const versions = (await parts.secrets.versions('payment-system/vendors/rotating/client-secret')).map(
      (each) => each.version,
    );
    await sql`update vendors.clients set valid_versions = ${versions} where client_id = 'rotating_client'`.execute(
      database.superuser,
    );
    await api.edge.watch.poll();
    // From now on nothing asks by itself what was revoked: those steps would be counted too.
    await api.edge.watch.stop();
    return { api, parts, secrets, keys, closing: stack.move() };
  };
  type Opened = Awaited<ReturnType<typeof open>>;

  /** What one attempt was answered, and its steps. */
  const attempt = async ({ api }: Opened, path: string, headers: Record<string, string>) => {
    steps = [];
    const method = path === '/customers' ? 'GET' : 'POST';
    const { status, body } = await send(`${api.url}/api/v1${path}`, { method, headers });
    await api.edge.events.settled();
    return { status, body: { ...body, request_id: '' }, steps: count(steps) };
  };

  /** Every attempt with caches that know nothing, and once more at once; all have to be like the first. */
  const compare = async (opened: Opened, path: string, attempts: Record<string, Record<string, string>>) => {
    const answers: Record<'cold' | 'warm', Awaited<ReturnType<typeof attempt>>[]> = { cold: [], warm: [] };
    for (const headers of Object.values(attempts)) {
      // Nothing is kept for longer than a minute.
      opened.parts.clock.advance(61_000);
      answers.cold.push(await attempt(opened, path, headers));
      answers.warm.push(await attempt(opened, path, headers));
    }
    const names = Object.keys(attempts);
    for (const [state, [first, ...others]] of Object.entries(answers))
      for (const [index, other] of others.entries())
        expect
          .soft({ state, name: names[index + 1], ...other })
          .toEqual({ state, name: names[index + 1], ...first });
    return answers;
  };

  test.each(['/customers', '/authenticate'])(
    '%s: unknown client, wrong secret, disabled vendor',
    async (path) => {
      const opened = await open();
      await using _ = opened.closing;
      const attempts = {
        'unknown client': ['nobody_client', 'wrong'],
        'wrong secret': ['shop_client', 'wrong'],
        'empty secret': ['shop_client', ''],
        'long secret': ['shop_client', 'x'.repeat(1_000)],
        'wrong secret while a rotation runs': ['rotating_client', 'wrong'],
        'disabled vendor': ['closed_client', opened.secrets['closed'] ?? ''],
        'disabled vendor, wrong secret': ['closed_client', 'wrong'],
        'revoked client': ['dismissed_client', opened.secrets['dismissed'] ?? ''],
      };
      const headers = Object.entries(attempts).map(([name, [id = '', secret = '']]) => [
        name,
        { 'x-client-id': id, 'x-client-secret': secret },
      ]);
      const { cold, warm } = await compare(opened, path, Object.fromEntries(headers));
      expect(cold[0]).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } });
      // The counting counts: what is known costs less, and a comparison is two hashes.
      expect(cold[0]?.steps).toMatchObject({
        'vault read': expect.any(Number),
        timingSafeEqual: expect.any(Number),
      });
      expect(Object.keys(cold[0]?.steps ?? {}).length).toBeGreaterThan(
        Object.keys(warm[0]?.steps ?? {}).length,
      );
    },
  );

  test('/customers: unknown, revoked and expired API key, and that of a disabled vendor', async () => {
    const opened = await open();
    await using _ = opened.closing;
    const { expired, revoked, closed } = opened.keys;
    const attempts = { unknown: `${revoked}x`, revoked, expired, 'disabled vendor': closed };
    const headers = Object.entries(attempts).map(([name, key]) => [name, { 'x-api-key': key }]);
    const { cold } = await compare(opened, '/customers', Object.fromEntries(headers));
    expect(cold[0]).toMatchObject({ status: 403, body: { code: 'invalid_api_key' } });
  });
});
