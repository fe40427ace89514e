import { sql } from 'kysely';
import { afterAll, describe, expect, test } from 'vitest';
import { fromUuid, newId, toUuid, type Id } from '../lib/ids.ts';
import { create } from '../payments/create.ts';
import { cancel, capture, refund } from '../payments/payments.ts';
import { contextFor, newTenant, paymentIn, refundIn, testNow, testPayments } from '../payments/testing.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { bytesOf, reconcile, statementCsv, type Written } from './testing.ts';
import { withStatement } from './compare.ts';

const database = await testDatabase();
const { db } = database;
const { module, terms, close } = testPayments(database);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});

/** A tenant with payments of its own. */
const shop = () => {
  const tenantId = newTenant();
  const write = { context: contextFor(tenantId), key: undefined };
  const pay = async (body: object = {}) =>
    paymentIn(await create(module, write, { amount: '100.00', currency: 'USD', ...body }));
  const back = async (id: Id<'payment'>, amount: string) =>
    refundIn(await refund(module, write, id, { body: { amount }, name: 'payments.refund' }));
  return {
    tenantId,
    write,
    pay,
    back,
    check: (lines: Written[], wanted = {}) => reconcile(db, tenantId, lines, wanted),
  };
};

/** The calls that a tenant's payments made, the oldest first. */
const operationsOf = async (tenantId: number): Promise<string[]> => {
  const { rows } = await sql<{ id: string }>`
    select id from payments.operations where tenant_id = ${tenantId} order by id
  `.execute(db);
  return rows.map(({ id }) => fromUuid('operation', id));
};

const book = { connector: 'book' };
const sandbox = { connector: 'sandbox' };
const typesIn = (breaks: readonly { type: string; line: number | null }[]) =>
  breaks.map(({ type, line }) => `${line ?? '-'} ${type}`);

describe('what agrees', () => {
  test('charges and refunds by the id of payment, refund or operation match, whatever the order', async () => {
    terms.feeBasisPoints = 300;
    const { pay, back, check } = shop();
    const [one, two] = [await pay(), await pay({ amount: '7', currency: 'JPY' })];
    const first = await back(one.id, '30.00');
    await back(one.id, '20.00');
    terms.feeBasisPoints = 0;
    const { run, breaks, answer } = await check([
      { reference: one.id, kind: 'refund', amount: '20.00', fee: '0.60' },
      { reference: two.id, amount: '7', currency: 'JPY', fee: '0' },
      { reference: first.id, kind: 'refund', amount: '30.00' },
      { reference: one.id, amount: '100.00', fee: '3.00' },
    ]);
    expect(breaks).toEqual([]);
    expect(answer).toMatchObject({ status: 201, entry: { kind: 'reconciliation.completed' } });
    expect(run).toMatchObject({
      status: 'agreed',
      connector: 'book',
      lines: 4,
      matched: 4,
      breaks: 0,
      version: 1,
      period_from: '2026-01-16T00:00:00.000Z',
      period_until: '2026-01-17T00:00:00.000Z',
    });
    const left = await sql<{ count: bigint }>`
      select (select count(*) from reconciliation.lines) + (select count(*) from reconciliation.movements)
           + (select count(*) from reconciliation.pairs) as count
    `.execute(db);
    expect(left.rows[0]?.count).toBe(0n);
  });

  test('calls to a backend match by their own ids, also those that were declined', async () => {
    const { tenantId, write, pay, back, check } = shop();
    const charged = await pay({ payment_method: 'sandbox:approve' });
    await back(charged.id, '10.00');
    const held = await pay({ payment_method: 'sandbox:approve', capture: false });
    await capture(module, write, held.id, { amount: '60.00' });
    await pay({ payment_method: 'sandbox:decline_do_not_honor' });
    const [charge = '', refunded = '', , captured = '', declined = ''] = await operationsOf(tenantId);
    const { run, breaks } = await check([
      { reference: charge, amount: '100.00' },
      { reference: refunded, kind: 'refund', amount: '10.00' },
      { reference: captured, amount: '60.00' },
      { reference: declined, amount: '100.00', status: 'failed' },
    ]);
    expect(typesIn(breaks)).toEqual([]);
    expect(run).toMatchObject({ connector: 'sandbox', matched: 4 });
  });

  test('what succeeded before or after the period need not be in the statement', async () => {
    const { pay, check } = shop();
    await pay();
    const period = (from: string, until: string) => ({
      ...book,
      from: new Date(from),
      until: new Date(until),
    });
    const counts = await Promise.all(
      [
        period('2026-01-15T00:00:00Z', testNow),
        period('2026-01-16T12:00:00.001Z', '2027-01-01T00:00:00Z'),
        period(testNow, '2026-01-16T12:00:00.001Z'),
      ].map(async (wanted) => (await check([], wanted)).breaks.length),
    );
    expect(counts).toEqual([0, 0, 1]);
  });

  test('what is captured counts when it is captured', async () => {
    const { write, pay, check } = shop();
    const held = await pay({ capture: false });
    const later = { ...write.context, now: new Date('2026-01-20T00:00:00Z') };
    await capture(module, { ...write, context: later }, held.id, {});
    const day = (from: string, until: string) => ({ ...book, from: new Date(from), until: new Date(until) });
    expect((await check([], day('2026-01-16T00:00:00Z', '2026-01-17T00:00:00Z'))).breaks).toEqual([]);
    expect(typesIn((await check([], day('2026-01-20T00:00:00Z', '2026-01-21T00:00:00Z'))).breaks)).toEqual([
      '- missing_there',
    ]);
  });
});

describe('what differs', () => {
  test('is one break a line, in the order of the statement, and what is missing there comes last', async () => {
    terms.feeBasisPoints = 300;
    const { pay, back, check } = shop();
    const [amount, currency, status, fee, twice, missing] = await Promise.all(
      Array.from({ length: 6 }, () => pay()),
    );
    terms.feeBasisPoints = 0;
    const late = await pay();
    const taken = await back(late.id, '30.00');
    const unknown = newId('payment');
    const ref = (payment: { id: string } | undefined) => payment?.id ?? '';
    const { run, breaks, answer } = await check([
      { reference: ref(amount), amount: '90.00' },
      { reference: ref(currency), amount: '100.00', currency: 'EUR' },
      { reference: ref(status), amount: '100.00', status: 'failed' },
      { reference: ref(fee), amount: '100.00', fee: '3.01' },
      { reference: ref(twice), amount: '100.00', backend_reference: 'ch_1' },
      { reference: ref(twice), amount: '100.00', backend_reference: 'ch_2' },
      { reference: unknown, amount: '5.00' },
      { reference: 'order 7', kind: 'refund', amount: '5.00' },
      { reference: late.id, amount: '100.00' },
      { reference: late.id, kind: 'refund', amount: '4.00' },
      { reference: taken.id, kind: 'refund', amount: '30.00' },
    ]);
    expect(typesIn(breaks)).toEqual([
      '2 amount_differs',
      '3 currency_differs',
      '4 status_differs',
      '5 fee_differs',
      '7 duplicate',
      '8 missing_here',
      '9 missing_here',
      '11 missing_here',
      '- missing_there',
    ]);
    expect(breaks[8]).toMatchObject({
      payment_id: missing?.id,
      there: null,
      here: { amount: '100.00', fee: '3.00' },
    });
    expect(breaks[7]).toMatchObject({
      payment_id: late.id,
      here: null,
      there: { amount: '4.00' },
      kind: 'refund',
    });
    expect(run).toMatchObject({
      status: 'open',
      version: 2,
      lines: 11,
      matched: 3,
      breaks: 9,
      types: { missing_here: 3, missing_there: 1, duplicate: 1, fee_differs: 1 },
    });
    expect(answer.entry.kind).toBe('reconciliation.mismatch');
    expect(breaks.map(({ correctable }) => correctable)).toEqual([
      true,
      true,
      true,
      false,
      true,
      true,
      true,
      true,
      true,
    ]);
  });

  test('what nobody knows the end of here is the business of the worker', async () => {
    const { pay, check } = shop();
    const silent = await pay({ payment_method: 'sandbox:timeout_after_charging' });
    const { breaks } = await check([{ reference: silent.id, amount: '100.00' }], sandbox);
    expect(breaks).toMatchObject([
      { type: 'status_differs', here: { status: 'pending' }, correctable: false, proposal: [] },
    ]);
  });

  test('what was only authorised, or canceled, was not charged', async () => {
    const { write, pay, check } = shop();
    const [held, canceled] = [await pay({ capture: false }), await pay({ capture: false })];
    await cancel(module, write, canceled.id);
    const { breaks } = await check([
      { reference: held.id, amount: '100.00' },
      { reference: canceled.id, amount: '100.00' },
      { reference: canceled.id, amount: '100.00', status: 'failed' },
    ]);
    expect(breaks).toMatchObject([
      { line: 2, type: 'status_differs', here: { status: 'authorised' }, correctable: false },
      { line: 3, type: 'duplicate', correctable: true },
    ]);
  });

  test('a charge that the statement tells twice with one reference of the backend happened once', async () => {
    const { pay, check } = shop();
    const line = { reference: (await pay()).id, amount: '100.00', backend_reference: 'ch_1' };
    const { breaks } = await check([line, line]);
    expect(breaks).toMatchObject([{ line: 3, type: 'duplicate', correctable: false }]);
  });

  test('an attempt that failed beside the one that succeeded is no break', async () => {
    const { pay, check } = shop();
    const { id: reference } = await pay();
    const { breaks, run } = await check([
      { reference, amount: '100.00', status: 'failed' },
      { reference, amount: '100.00' },
    ]);
    expect(breaks).toEqual([]);
    expect(run.matched).toBe(2);
  });

  test('two equal refunds match two equal lines; a third line is one more', async () => {
    const { pay, back, check } = shop();
    const { id } = await pay();
    await back(id, '10.00');
    await back(id, '10.00');
    const line = { reference: id, kind: 'refund', amount: '10.00' };
    const charge = { reference: id, amount: '100.00' };
    expect(typesIn((await check([line, line, charge])).breaks)).toEqual([]);
    expect(typesIn((await check([line, line, charge, line])).breaks)).toEqual(['5 duplicate']);
    expect(typesIn((await check([line, charge])).breaks)).toEqual(['- missing_there']);
  });

  test('payments of another tenant never match', async () => {
    const [mine, theirs] = [shop(), shop()];
    const { id: reference } = await theirs.pay();
    await mine.pay();
    await theirs.pay({ payment_method: 'sandbox:approve' });
    const [call = ''] = await operationsOf(theirs.tenantId);
    const lines = [
      { reference, amount: '100.00' },
      { reference: call, amount: '100.00' },
    ];
    const { breaks } = await mine.check(lines, book);
    expect(typesIn(breaks)).toEqual(['2 missing_here', '3 missing_here', '- missing_there']);
    expect(breaks.slice(0, 2)).toMatchObject([
      { payment_id: null, operation_id: null },
      { payment_id: null, operation_id: null },
    ]);
  });
});

describe('what is to be compared', () => {
  test('a statement that names payments of two backends, or of none, needs to be told whose it is', async () => {
    const { pay, check } = shop();
    const lines = [
      { reference: (await pay()).id, amount: '100.00' },
      { reference: (await pay({ payment_method: 'sandbox:approve' })).id, amount: '100.00' },
    ];
    await expect(check(lines)).rejects.toThrow('connector: the statement names payments of book and sandbox');
    await expect(check([{ reference: 'x', amount: '1' }])).rejects.toThrow(
      'connector: none of the first references',
    );
    expect(typesIn((await check(lines, sandbox)).breaks)).toEqual(['2 missing_here']);
  });

  test('a statement without lines needs a period, which has to begin before it ends', async () => {
    const { check } = shop();
    await expect(check([], book)).rejects.toThrow('from: the statement has no line');
    const [from, until] = [new Date('2026-01-02'), new Date('2026-01-01')];
    await expect(check([], { ...book, from, until })).rejects.toThrow('until: must be after');
  });

  test('a line that can not be read leaves nothing behind, though thousands before it were right', async () => {
    const { tenantId, pay, check } = shop();
    const { id: reference } = await pay();
    const lines = Array.from({ length: 12_000 }, () => ({ reference, amount: '100.00' }));
    await expect(check([...lines, { reference, amount: 'x' }])).rejects.toThrow('line 12002, column amount');
    const { rows } = await sql<{ count: bigint }>`
      select (select count(*) from reconciliation.lines) + (select count(*) from reconciliation.runs where tenant_id = ${tenantId})
        as count
    `.execute(db);
    expect(rows[0]?.count).toBe(0n);
  });

  test('what a killed comparison left behind is removed by one a day later', async () => {
    const now = new Date();
    const killed = withStatement(
      db,
      now,
      { bytes: bytesOf(statementCsv([{ reference: 'x', amount: '1' }])), format: 'csv' },
      async ({ id }) => {
        const other = newId('reconciliation');
        await sql`update reconciliation.lines set run_id = ${toUuid(other)} where run_id = ${toUuid(id)}`.execute(
          database.superuser,
        );
      },
    );
    await killed;
    const count = async () =>
      (await sql<{ count: bigint }>`select count(*) from reconciliation.lines`.execute(db)).rows[0]?.count;
    const again = (at: Date) =>
      withStatement(db, at, { bytes: bytesOf(statementCsv([])), format: 'csv' }, async () => undefined);
    await again(now);
    expect(await count()).toBe(1n);
    await again(new Date(now.getTime() + 25 * 3_600_000));
    expect(await count()).toBe(0n);
  });

  test('one key compares once', async () => {
    const { pay, check } = shop();
    const lines = [{ reference: (await pay()).id, amount: '100.00' }];
    const first = await check(lines, { key: 'monday' });
    const second = await check(lines, { key: 'monday' });
    expect([first.answer.replayed, second.answer.replayed]).toEqual([false, true]);
    expect(second.run.id).toBe(first.run.id);
    await expect(check([...lines, ...lines], { key: 'monday' })).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });
});
