import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { testDatabase } from '../../test/setup/database.ts';
import { manualClock } from '../lib/clock.ts';
import { newKey } from '../lib/crypto.ts';
import type { Id } from '../lib/ids.ts';
import { fileSecrets } from '../secrets/files.ts';
import * as vendors from '../vendors/vendors.ts';
import { keptTerms } from './terms.ts';

const database = await testDatabase();
const { db } = database;
const folder = await mkdtemp(join(tmpdir(), 'florin-terms-'));
const clock = manualClock('2026-11-22T08:00:00Z');
const masterKey = newKey();
const deps: vendors.VendorDeps = {
  db,
  secrets: fileSecrets({ file: join(folder, 'secrets'), master: { current: masterKey }, clock }),
  masterKey,
};
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const write = (): vendors.Write => ({
  context: { tenantId: 0, actor: 'api_key:test', origin: '192.0.2.1', requestId: 'req_1', now: clock.now() },
  key: undefined,
});

let count = 0;
let vendor: Id<'vendor'>;
let tenantId: number;
beforeEach(async () => {
  count += 1;
  const { entry } = await vendors.createVendor(deps, write(), { slug: `terms-${count}`, name: 'Terms' });
  // Entries of vendors are about vendors.
  vendor = entry.object?.id as Id<'vendor'>;
  const { rows } = await sql<{ id: number }>`
    select t.id from vendors.tenants t join vendors.vendors v on v.id = t.vendor_id
    where v.slug = ${`terms-${count}`} and t.mode = 'test'
  `.execute(db);
  tenantId = rows[0]?.id ?? 0;
});

const feeIs = (basisPoints: number) =>
  vendors.updateVendor(db, write(), vendor, { fee_basis_points: basisPoints });

/** A change that nobody is told of. */
const feeIsSilently = (basisPoints: number) =>
  sql`update vendors.vendors set fee_basis_points = ${basisPoints} where slug = ${`terms-${count}`}`.execute(
    database.superuser,
  );

describe('kept terms', () => {
  test('a changed fee counts a second later at the latest', async () => {
    const termsOf = keptTerms(db, clock);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 0, mode: 'test' });
    await feeIs(290);
    clock.advance(1_000);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 290 });
    await feeIs(150);
    await feeIs(120);
    clock.advance(1_000);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 120 });
  });

  test('a change during the first look is not missed', async () => {
    const termsOf = keptTerms(db, clock);
    await termsOf(tenantId);
    clock.advance(1_000);
    await Promise.all([termsOf(tenantId), feeIs(75)]);
    clock.advance(1_000);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 75 });
  });

  test('terms of a vendor that did not change are not read again, for a minute', async () => {
    const termsOf = keptTerms(db, clock);
    await termsOf(tenantId);
    await feeIsSilently(999);
    clock.advance(59_000);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 0 });
    clock.advance(1_000);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 999 });
  });

  test('a clock that is set back does not keep them longer', async () => {
    const termsOf = keptTerms(db, clock);
    await termsOf(tenantId);
    await feeIs(310);
    clock.set(new Date(clock.now().getTime() - 3_600_000));
    clock.advance(1_000);
    expect(await termsOf(tenantId)).toMatchObject({ feeBasisPoints: 310 });
  });

  test('an unknown tenant is told to name a vendor, and known once it exists', async () => {
    const termsOf = keptTerms(db, clock);
    await expect(termsOf(987_654)).rejects.toMatchObject({ code: 'vendor_required' });
  });
});
