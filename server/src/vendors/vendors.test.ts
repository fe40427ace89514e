import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { manualClock } from '../lib/clock.ts';
import { newKey } from '../lib/crypto.ts';
import { inTransaction } from '../lib/database.ts';
import { newId, type Id } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { fileSecrets } from '../secrets/files.ts';
import type { SecretSource } from '../secrets/source.ts';
import { listApiKeys } from './api-key-store.ts';
import { apiKeyDigest, createApiKey, revokeApiKey } from './api-keys.ts';
import {
  beginRevocations,
  findApiKey,
  findClient,
  findVendorRecord,
  listRevocations,
} from './credentials.ts';
import { demo, refuseDemo, seedDemo } from './demo.ts';
import { revoke } from './store.ts';
import * as vendors from './vendors.ts';

const clock = manualClock('2026-11-22T08:00:00Z');
const masterKey = newKey();
const write = (key?: string): vendors.Write => ({
  context: { tenantId: 5, actor: 'api_key:test', origin: '192.0.2.1', requestId: 'req_1', now: clock.now() },
  key,
});

let database: TestDatabase;
let folder: string;
let deps: vendors.VendorDeps;

beforeAll(async () => {
  database = await testDatabase();
  folder = await mkdtemp(join(tmpdir(), 'florin-vendors-'));
  deps = {
    db: database.db,
    secrets: fileSecrets({ file: join(folder, 'secrets'), master: { current: masterKey }, clock }),
    masterKey,
  };
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const create = (slug: string, body: object = {}, key?: string) =>
  vendors.createVendor(deps, write(key), { slug, name: `Vendor ${slug}`, ...body });

const idOf = (answer: { entry: { object: { id: string } | undefined } }) =>
  answer.entry.object?.id as Id<'vendor'>;

const entriesOf = async (id: string) => {
  const { rows } = await sql<{ kind: string; object_version: number; tenant_id: number; snapshot: object }>`
    select kind, object_version, tenant_id, snapshot from journal.entries
    where snapshot ->> 'id' = ${id} order by object_version
  `.execute(database.db);
  return rows;
};

describe('creating a vendor', () => {
  test('makes both tenants, a client, and its secret in the vault and nowhere in the database', async () => {
    const answer = await create('first-vendor', {
      role: 'finance',
      fee_fixed: { USD: '30' },
      fee_basis_points: 290,
    });
    const secret = answer.clientSecret.reveal();
    expect((await deps.secrets.read(vendors.clientSecretPath('first-vendor')))?.value.reveal()).toBe(secret);

    const record = await findVendorRecord(database.db, { slug: 'first-vendor' });
    expect(record).toMatchObject({ id: idOf(answer), enabled: true });
    const settings = await vendors.findTenantSettings(database.db, record?.tenants.live ?? 0);
    expect(settings).toMatchObject({
      mode: 'live',
      vendorId: idOf(answer),
      feeBasisPoints: 290,
      enabled: true,
    });
    expect(settings?.feeFixedMinor).toEqual(new Map([['USD', 30n]]));

    const [client] = (await vendors.getVendor(database.db, idOf(answer))).clients;
    expect(client).toMatchObject({ mode: 'test', role: 'finance' });
    expect(await findClient(database.db, client?.client_id ?? '')).toMatchObject({
      tenantId: record?.tenants.test,
    });

    const { rows } = await sql<{ dump: string }>`
      select (select string_agg(e::text, '') from journal.entries e) || (select string_agg(c::text, '') from vendors.clients c) as dump
    `.execute(database.superuser);
    expect(rows[0]?.dump).toContain('first-vendor');
    expect(rows[0]?.dump).not.toContain(secret);
  });

  test('a replay shows the same secret, and puts it into the vault when the first attempt did not get that far', async () => {
    const path = vendors.clientSecretPath('replayed-vendor');
    const away: SecretSource = {
      ...deps.secrets,
      write: () => Promise.reject(new Error('the vault is away')),
    };
    const body = { slug: 'replayed-vendor', name: 'Replayed' };
    await expect(vendors.createVendor({ ...deps, secrets: away }, write('key-1'), body)).rejects.toThrow(
      'away',
    );
    const second = await vendors.createVendor(deps, write('key-1'), body);
    expect(second.replayed).toBe(true);
    expect((await deps.secrets.read(path))?.value.reveal()).toBe(second.clientSecret.reveal());

    await deps.secrets.write(path, new Secret('rotated since'));
    const third = await vendors.createVendor(deps, write('key-1'), body);
    expect(third.clientSecret.reveal()).toBe(second.clientSecret.reveal());
    expect((await deps.secrets.read(path))?.value.reveal()).toBe('rotated since');
  });

  test('of many who create one slug at once, one does, and its secret is the one in the vault', async () => {
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => create('raced-vendor')));
    const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const refused = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as Error] : [],
    );
    expect(made).toHaveLength(1);
    expect(refused.map((error) => Reflect.get(error, 'code'))).toEqual(
      Array.from({ length: 9 }, () => 'already_exists'),
    );
    const stored = await deps.secrets.read(vendors.clientSecretPath('raced-vendor'));
    expect(stored?.value.reveal()).toBe(made[0]?.clientSecret.reveal());
  });

  test('a client id that is taken leaves nothing behind', async () => {
    await create('owner-of-id', { client_id: 'taken_id' });
    await expect(create('second-owner', { client_id: 'taken_id' })).rejects.toMatchObject({
      code: 'already_exists',
    });
    expect(await vendors.findVendor(database.db, 'second-owner')).toBeUndefined();
    expect(await deps.secrets.read(vendors.clientSecretPath('second-owner'))).toBeUndefined();
  });

  test('a fee in a currency that does not exist names the field', async () => {
    const attempt = create('no-currency', { fee_fixed: { ABC: '1' } });
    await expect(attempt).rejects.toMatchObject({
      code: 'invalid_request',
      faults: [{ field: 'fee_fixed.ABC' }],
    });
  });
});

describe('changing a vendor', () => {
  test('every change is one version and one entry of the platform', async () => {
    const id = idOf(await create('changed-vendor'));
    await vendors.updateVendor(database.db, write(), id, { fee_basis_points: 100 });
    await vendors.disableVendor(database.db, write(), id);
    await vendors.enableVendor(database.db, write(), id);
    const entries = await entriesOf(id);
    expect(
      entries.map(({ kind, object_version: version, tenant_id: tenant }) => [kind, version, tenant]),
    ).toEqual([
      ['vendor.created', 1, 0],
      ['vendor.updated', 2, 0],
      ['vendor.disabled', 3, 0],
      ['vendor.enabled', 4, 0],
    ]);
    expect(entries[3]?.snapshot).toEqual(await vendors.getVendor(database.db, id));
  });

  test('concurrent changes all happen, one after the other', async () => {
    const id = idOf(await create('busy-vendor'));
    await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        vendors.updateVendor(database.db, write(), id, { fee_basis_points: index }),
      ),
    );
    expect((await vendors.getVendor(database.db, id)).version).toBe(11);
    expect(await entriesOf(id)).toHaveLength(11);
  });

  test('an unknown vendor is 404', async () => {
    const attempt = vendors.disableVendor(database.db, write(), newId('vendor'));
    await expect(attempt).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('API keys', () => {
  const ownerOf = async (slug: string, mode: 'test' | 'live' = 'test') => {
    await create(slug);
    const record = await findVendorRecord(database.db, { slug });
    return { tenantId: record?.tenants[mode] ?? 0, mode };
  };

  test('a key has 192 random bits, and only its digest is stored', async () => {
    const owner = await ownerOf('key-vendor', 'live');
    const { secret, entry } = await createApiKey(deps, write(), { owner, body: { name: 'Till' } });
    expect(secret.reveal()).toMatch(/^fk_live_[0-9a-f]{48}$/);
    expect(entry.snapshot).toMatchObject({
      name: 'Till',
      role: 'developer',
      mode: 'live',
      prefix: secret.reveal().slice(0, 14),
    });
    expect(entry.tenantId).toBe(owner.tenantId);
    const { rows } = await sql<{ dump: string }>`
      select (select string_agg(k::text, '') from vendors.api_keys k) || (select string_agg(e::text, '') from journal.entries e) as dump
    `.execute(database.superuser);
    expect(rows[0]?.dump).not.toContain(secret.reveal().slice(20));
    expect(await findApiKey(database.db, apiKeyDigest(secret.reveal()))).toMatchObject({
      tenantId: owner.tenantId,
    });
  });

  test('a replay shows the same key, and another request under its Idempotency-Key is refused', async () => {
    const owner = await ownerOf('replayed-key-vendor');
    const first = await createApiKey(deps, write('k'), { owner, body: { name: 'Till' } });
    const again = await createApiKey(deps, write('k'), { owner, body: { name: 'Till' } });
    expect(again.replayed).toBe(true);
    expect(again.secret.reveal()).toBe(first.secret.reveal());
    expect(again.entry.snapshot).toEqual(first.entry.snapshot);
    const attempt = createApiKey(deps, write('k'), { owner, body: { name: 'Other' } });
    await expect(attempt).rejects.toMatchObject({ code: 'idempotency_key_reused' });
  });

  test('a key is revoked by its owner only, stays in the list, and is told to the edges', async () => {
    const [owner, stranger] = [await ownerOf('revoking-vendor'), await ownerOf('strange-vendor')];
    const { secret, entry } = await createApiKey(deps, write(), { owner, body: { name: 'Till' } });
    const id = entry.object?.id as Id<'api_key'>;
    for (const other of [
      stranger,
      { ...owner, mode: 'live' as const },
      { tenantId: 0, mode: 'test' as const },
    ]) {
      await expect(revokeApiKey(database.db, write(), other, id)).rejects.toMatchObject({
        code: 'not_found',
      });
    }
    const { last } = await beginRevocations(database.db, clock.now());
    const revoked = await revokeApiKey(database.db, write(), owner, id);
    expect(revoked.entry.snapshot).toMatchObject({ id, revoked_at: clock.now().toISOString() });
    expect(await findApiKey(database.db, apiKeyDigest(secret.reveal()))).toBeUndefined();
    expect((await listRevocations(database.db, last)).revocations).toEqual([
      { kind: 'api_key', subject: id },
    ]);
    const listed = await listApiKeys(database.db, { owner, limit: 10, before: undefined });
    expect(listed.map(({ name }) => name)).toEqual(['Till']);
  });

  test('an expiry in the past is refused by name', async () => {
    const owner = await ownerOf('expiry-vendor');
    const attempt = createApiKey(deps, write(), {
      owner,
      body: { name: 'Till', expires_at: '2020-01-01T00:00:00Z' },
    });
    await expect(attempt).rejects.toMatchObject({ faults: [{ field: 'expires_at' }] });
  });

  test('the key of a disabled vendor counts as none', async () => {
    const owner = await ownerOf('key-of-disabled');
    const { secret } = await createApiKey(deps, write(), { owner, body: { name: 'Till' } });
    const vendor = await findVendorRecord(database.db, { slug: 'key-of-disabled' });
    await vendors.disableVendor(database.db, write(), vendor?.id ?? newId('vendor'));
    expect(await findApiKey(database.db, apiKeyDigest(secret.reveal()))).toBeUndefined();
  });
});

describe('revocations', () => {
  test('an id that is visible has no smaller one still to come', async () => {
    const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>();
    const { promise: firstHasId, resolve: tellFirst } = Promise.withResolvers<void>();
    const { last } = await beginRevocations(database.db, clock.now());
    const first = inTransaction(database.db, async (tx) => {
      await revoke(tx, { kind: 'token', subject: 'first', at: clock.now() });
      tellFirst();
      await mayCommit;
    });
    await firstHasId;
    const second = inTransaction(database.db, (tx) =>
      revoke(tx, { kind: 'token', subject: 'second', at: clock.now() }),
    );
    const waiting = async (): Promise<number> => {
      const { rows } = await sql`
        select from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())
      `.execute(database.superuser);
      return rows.length;
    };
    await expect.poll(waiting).toBe(1);
    commit();
    await Promise.all([first, second]);
    expect((await listRevocations(database.db, last)).revocations.map(({ subject }) => subject)).toEqual([
      'first',
      'second',
    ]);
  });

  test('an edge that begins knows the tokens that were revoked lately', async () => {
    const at = new Date(clock.now().getTime() + 60_000);
    await inTransaction(database.db, (tx) => revoke(tx, { kind: 'token', subject: 'recent', at }));
    const { revocations } = await beginRevocations(database.db, at);
    expect(revocations).toEqual([{ kind: 'token', subject: 'recent' }]);
  });
});

describe('the demo', () => {
  test('is seeded once, however often it is asked for, and a changed secret stays', async () => {
    const parts = { ...deps, clock };
    await seedDemo(parts, 'dev');
    const path = vendors.clientSecretPath('test-vendor');
    await deps.secrets.write(path, new Secret('changed'));
    await seedDemo(parts, 'test');
    expect((await deps.secrets.read(path))?.value.reveal()).toBe('changed');
    expect(await findClient(database.db, 'vendor_client_id')).toMatchObject({
      role: 'developer',
      mode: 'test',
    });
    const key = await findApiKey(database.db, apiKeyDigest(demo.apiKey.key));
    const vendor = await vendors.findVendor(database.db, 'test-vendor');
    expect(key).toMatchObject({ tenantId: 0, role: 'admin', mode: 'test', defaultVendor: vendor?.id });
  });

  test('is refused outside development and test', async () => {
    await expect(seedDemo({ ...deps, clock }, 'production')).rejects.toThrow('not for production');
  });

  test('keeps production from starting, and says how each credential is ended', async () => {
    const parts = { ...deps, clock };
    await seedDemo(parts, 'test');
    await deps.secrets.write(vendors.clientSecretPath('test-vendor'), new Secret('test_client_secret'));
    await expect(refuseDemo(parts, 'production')).rejects.toThrow(
      /test-key.*api-key revoke.*test_client_id.*vendor disable test-vendor.*vendor_client_id/,
    );
    await refuseDemo(parts, 'dev');
  });
});
