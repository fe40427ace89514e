import assert from 'node:assert/strict';
import { sql } from 'kysely';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { rehearse } from '../lib/dry-run.ts';
import type { Id } from '../lib/ids.ts';
import { create } from '../payments/create.ts';
import { refund } from '../payments/payments.ts';
import { balancesOf, contextFor, newTenant, paymentIn, refundIn, testPayments } from '../payments/testing.ts';
import { differencesIn } from '../../test/setup/api.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { breaksOf, correctBreak, reconcile, type Written } from './testing.ts';

const database = await testDatabase();
const { db } = database;
const { module, close } = testPayments(database);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});
// Whatever was corrected, the books agree with themselves and with the journal.
afterEach(async () => assert.deepEqual(await differencesIn(db), []));

/** A tenant whose payments go through the sandbox. */
const shop = () => {
  const tenantId = newTenant();
  const write = { context: contextFor(tenantId), key: undefined };
  return {
    tenantId,
    pay: async (amount = '100.00', payment_method = 'sandbox:approve') =>
      paymentIn(await create(module, write, { amount, currency: 'USD', payment_method })),
    back: async (id: Id<'payment'>, amount: string) =>
      refundIn(await refund(module, write, id, { body: { amount }, name: 'payments.refund' })),
    check: (lines: Written[], wanted = {}) =>
      reconcile(db, tenantId, lines, { connector: 'sandbox', ...wanted }),
    balances: async () => {
      const all = await balancesOf(db, tenantId);
      return Object.fromEntries(
        Object.entries(all).map(([code, text]) => [code, Number(text.split('/')[0])]),
      );
    },
  };
};

describe('a correction', () => {
  test('of a charge that the backend made twice puts the money into suspense', async () => {
    const { tenantId, pay, check, balances } = shop();
    const { id: reference } = await pay();
    const lines = [
      { reference, amount: '100.00', backend_reference: 'ch_1' },
      { reference, amount: '100.00', backend_reference: 'ch_2' },
    ];
    const { run, breaks } = await check(lines);
    expect(breaks[0]?.proposal).toEqual([
      {
        code: 'external:sandbox',
        direction: 'debit',
        amount: '100.00',
        amount_minor: '10000',
        currency: 'USD',
      },
      { code: 'corrections', direction: 'credit', amount: '100.00', amount_minor: '10000', currency: 'USD' },
    ]);
    const { status, entry } = await correctBreak(db, tenantId, { id: run.id, number: 1 });
    expect(status).toBe(201);
    expect(entry).toMatchObject({
      kind: 'reconciliation.corrected',
      object: { type: 'reconciliation', id: run.id, version: 3 },
      snapshot: {
        number: 1,
        payment_id: reference,
        correctable: false,
        correction: { against: 'corrections' },
      },
      transfer: { kind: 'correction' },
    });
    expect(await balances()).toEqual({
      'external:sandbox': -20_000,
      payable: 10_000,
      fees: 0,
      corrections: 10_000,
    });
    expect((await check(lines)).breaks).toEqual([]);
    // The backend gives it back, which is a correction too.
    const returned = await check([...lines, { reference, kind: 'refund', amount: '100.00' }]);
    expect(returned.breaks).toMatchObject([{ type: 'missing_here', payment_id: reference }]);
    await correctBreak(db, tenantId, { id: returned.run.id, number: 1 });
    expect(await balances()).toMatchObject({ 'external:sandbox': -10_000, corrections: 0 });
  });

  test.each([
    {
      what: 'a larger charge',
      amount: '100.00',
      there: { amount: '120.00' },
      external: -12_000,
      suspense: 2_000,
    },
    {
      what: 'a smaller charge',
      amount: '100.00',
      there: { amount: '80.00' },
      external: -8_000,
      suspense: -2_000,
    },
    {
      what: 'a charge that failed there',
      amount: '100.00',
      there: { amount: '100.00', status: 'failed' },
      external: 0,
      suspense: -10_000,
    },
  ])(
    'makes the world outside what the backend says: $what',
    async ({ amount, there, external, suspense }) => {
      const { tenantId, pay, check, balances } = shop();
      const lines = [{ reference: (await pay(amount)).id, ...there }];
      const { run } = await check(lines);
      await correctBreak(db, tenantId, { id: run.id, number: 1 });
      expect(await balances()).toMatchObject({
        'external:sandbox': external,
        payable: 10_000,
        corrections: suspense,
      });
      expect((await check(lines)).breaks).toEqual([]);
    },
  );

  test('of what was declined here and charged there keeps the payment as it is', async () => {
    const { tenantId, pay, check, balances } = shop();
    const { id: reference } = await pay('100.00', 'sandbox:decline_do_not_honor');
    const lines = [{ reference, amount: '100.00' }];
    const { run, breaks } = await check(lines);
    expect(breaks).toMatchObject([{ type: 'status_differs', here: { status: 'failed' } }]);
    await correctBreak(db, tenantId, { id: run.id, number: 1 });
    expect(await balances()).toMatchObject({ 'external:sandbox': -10_000, corrections: 10_000 });
    expect((await check(lines)).breaks).toEqual([]);
  });

  test('of another currency moves both', async () => {
    const { tenantId, pay, check } = shop();
    const lines = [{ reference: (await pay()).id, amount: '90.00', currency: 'EUR' }];
    const { run } = await check(lines);
    await correctBreak(db, tenantId, { id: run.id, number: 1 });
    const { rows } = await sql<{ name: string; posted: bigint }>`
      select code || ' ' || currency as name, posted from ledger.accounts where tenant_id = ${tenantId} and code <> 'fees' order by 1
    `.execute(db);
    expect(Object.fromEntries(rows.map(({ name, posted }) => [name, Number(posted)]))).toEqual({
      'corrections EUR': 9_000,
      'corrections USD': -10_000,
      'external:sandbox EUR': -9_000,
      'external:sandbox USD': 0,
      'payable USD': 10_000,
    });
    expect((await check(lines)).breaks).toEqual([]);
  });

  test('of what is missing there is taken back when it comes after all', async () => {
    const { tenantId, pay, check, balances } = shop();
    const { id: reference } = await pay();
    const day = { from: new Date('2026-01-16'), until: new Date('2026-01-17') };
    const missing = await check([], day);
    expect(missing.breaks).toMatchObject([{ type: 'missing_there', payment_id: reference }]);
    await correctBreak(db, tenantId, { id: missing.run.id, number: 1 });
    expect(await balances()).toMatchObject({ 'external:sandbox': 0, corrections: -10_000 });
    expect((await check([], day)).breaks).toEqual([]);
    const come = await check([{ reference, amount: '100.00' }], day);
    expect(come.breaks).toMatchObject([{ type: 'status_differs', here: { status: 'failed' } }]);
    await correctBreak(db, tenantId, { id: come.run.id, number: 1 });
    expect(await balances()).toMatchObject({ 'external:sandbox': -10_000, corrections: 0 });
    expect((await check([{ reference, amount: '100.00' }], day)).breaks).toEqual([]);
  });

  test('against payable is at the cost of the vendor, as far as it has money', async () => {
    const { tenantId, pay, check, balances } = shop();
    const { id: reference } = await pay();
    const line = { reference, amount: '100.00' };
    const refunded = { reference, kind: 'refund' };
    const { run } = await check([line, { ...refunded, amount: '60.00' }, { ...refunded, amount: '60.01' }]);
    const charge = (number: number) =>
      correctBreak(db, tenantId, { id: run.id, number }, { against: 'payable', reason: 'Chargeback' });
    await charge(1);
    expect(await balances()).toEqual({ 'external:sandbox': -4_000, payable: 4_000, fees: 0 });
    await expect(charge(2)).rejects.toMatchObject({ code: 'insufficient_funds' });
    expect(await balances()).toEqual({ 'external:sandbox': -4_000, payable: 4_000, fees: 0 });
    const [first, second] = await breaksOf(db, tenantId, run.id);
    expect(first?.correction).toMatchObject({
      against: 'payable',
      reason: 'Chargeback',
      actor: 'client:test',
    });
    expect(second?.correction).toBeNull();
  });

  test('is counted by the run, which agrees once nothing is left', async () => {
    const { tenantId, check } = shop();
    const { run } = await check([
      { reference: 'a', amount: '1.00' },
      { reference: 'b', amount: '2.00' },
    ]);
    const statusOf = async () => {
      const { rows } = await sql<{ corrected: number; breaks: number; version: number }>`
        select corrected, breaks, version from reconciliation.runs where tenant_id = ${tenantId}
      `.execute(db);
      return rows[0];
    };
    await correctBreak(db, tenantId, { id: run.id, number: 2 });
    expect(await statusOf()).toEqual({ corrected: 1, breaks: 2, version: 3 });
    await correctBreak(db, tenantId, { id: run.id, number: 1 });
    expect(await statusOf()).toEqual({ corrected: 2, breaks: 2, version: 4 });
  });

  test('in a dry run tells what it would post and leaves nothing', async () => {
    const { tenantId, check, balances } = shop();
    const { run } = await check([{ reference: 'a', amount: '1.00' }]);
    const before = await balances();
    await rehearse(async (dryRun) => {
      await correctBreak(db, tenantId, { id: run.id, number: 1 });
      expect(dryRun.written).toMatchObject([{ what: 'entry', tenantId }]);
    });
    expect(await balances()).toEqual(before);
    expect((await breaksOf(db, tenantId, run.id))[0]?.correction).toBeNull();
  });
});

describe('a break is corrected once', () => {
  test('by 10 who want to at the same time', async () => {
    const { tenantId, check, balances } = shop();
    const { run } = await check([{ reference: 'a', amount: '1.00' }]);
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => correctBreak(db, tenantId, { id: run.id, number: 1 })),
    );
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'done' : String(result.reason.code),
    );
    expect(codes.sort()).toEqual([...Array.from({ length: 9 }, () => 'already_exists'), 'done']);
    expect(await balances()).toEqual({ 'external:sandbox': -100, corrections: 100 });
  });

  test('though it is a break of 8 runs, corrected at the same time', async () => {
    const { tenantId, pay, check, balances } = shop();
    const { id: reference } = await pay();
    const lines = [
      { reference, amount: '120.00' },
      { reference: 'a', amount: '1.00' },
    ];
    const runs = await Promise.all(Array.from({ length: 8 }, () => check(lines)));
    const all = runs.flatMap(({ run }) =>
      [1, 2].map((number) => correctBreak(db, tenantId, { id: run.id, number })),
    );
    const done = (await Promise.allSettled(all)).filter(({ status }) => status === 'fulfilled');
    expect(done).toHaveLength(2);
    expect(await balances()).toMatchObject({ 'external:sandbox': -12_100, corrections: 2_100 });
    const [first] = runs;
    const again = runs.map(({ run }) => correctBreak(db, tenantId, { id: run.id, number: 1 }));
    expect((await Promise.allSettled(again)).every(({ status }) => status === 'rejected')).toBe(true);
    expect(first?.breaks).toHaveLength(2);
  });

  test('by requests with one key, which all get the one answer', async () => {
    const { tenantId, check, balances } = shop();
    const { run } = await check([{ reference: 'a', amount: '1.00' }]);
    const ask = () => correctBreak(db, tenantId, { id: run.id, number: 1 }, { key: 'k' });
    const [first, second] = [await ask(), await ask()];
    expect([first.replayed, second.replayed]).toEqual([false, true]);
    expect(second.entry.id).toBe(first.entry.id);
    expect(await balances()).toEqual({ 'external:sandbox': -100, corrections: 100 });
  });
});

describe('what is refused', () => {
  test('a break that moved no money, one that does not exist, one of another tenant', async () => {
    const { tenantId, pay, check } = shop();
    const { id: reference } = await pay();
    const { run } = await check([{ reference, amount: '100.00', fee: '1.00' }]);
    await expect(correctBreak(db, tenantId, { id: run.id, number: 1 })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('Compare the terms'),
    });
    await expect(correctBreak(db, tenantId, { id: run.id, number: 2 })).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(correctBreak(db, newTenant(), { id: run.id, number: 1 })).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  test('services can neither change nor remove what was found and what was corrected', async () => {
    for (const statement of [
      'update reconciliation.breaks set there_amount = 1',
      'delete from reconciliation.breaks',
      'update reconciliation.corrections set reason = reason',
      'delete from reconciliation.corrections',
      'delete from reconciliation.runs',
      'update reconciliation.runs set breaks = 0',
    ])
      await expect(sql.raw(statement).execute(db), statement).rejects.toMatchObject({ code: '42501' });
  });
});
