import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { fromUuid, newId } from '../lib/ids.ts';
import { formatAmount } from '../lib/money.ts';
import { create } from '../payments/create.ts';
import { refund } from '../payments/payments.ts';
import { contextFor, newTenant, paymentIn, refundIn, testPayments } from '../payments/testing.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { differencesIn } from '../../test/setup/api.ts';
import { breakTypes, type BreakType } from './schema.ts';
import { correctBreak, reconcile, type Written } from './testing.ts';

/*
 * Random books, the statement that a faultless backend would send of them, and differences planted into it: what is found is
 * what was planted, and when all of it that can be corrected is corrected, the same statement agrees but for the rest.
 */

const database = await testDatabase();
const { db } = database;
const { module, terms, close } = testPayments(database);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});

const movement = fc.record({
  minor: fc.integer({ min: 1, max: 5_000 }),
  /** Parts of the payment that are refunded, in hundredths. */
  refunds: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 2 }),
  isDeclined: fc.boolean(),
  /** Which id of ours the backend repeats. */
  names: fc.constantFrom('payment', 'operation'),
});

const planted = fc.constantFrom(...breakTypes);

const world = fc.record({
  isOutside: fc.boolean(),
  movements: fc.array(movement, { minLength: 1, maxLength: 6 }),
  planted: fc.array(planted, { maxLength: 6 }),
  seed: fc.nat(1_000),
});
type World = typeof world extends fc.Arbitrary<infer Value> ? Value : never;

/** What moved, by the id of the payment or refund that says so, as a faultless backend tells of it. */
type Told = { of: string; payment: string; line: Omit<Written, 'reference'> };

/** Makes the payments and refunds, and the lines of a faultless backend. */
const makeBooks = async (tenantId: number, { isOutside, movements }: World): Promise<Written[]> => {
  const write = { context: contextFor(tenantId), key: undefined };
  const lines: Written[] = [];
  for (const [index, { minor, refunds, isDeclined, names }] of movements.entries()) {
    // No two amounts of a run are equal, so that every line has one movement that it can be.
    const amountMinor = BigInt(minor * 100 + index * 1_000_000 + 100);
    const method = isOutside ? (isDeclined ? 'sandbox:decline_do_not_honor' : 'sandbox:approve') : 'book';
    const body = { amount: formatAmount(amountMinor, 'USD'), currency: 'USD', payment_method: method };
    const { id: payment, amount, fee, status } = paymentIn(await create(module, write, body));
    const isFailed = status === 'failed';
    const charge = { amount, status: isFailed ? 'failed' : 'succeeded', fee: isFailed ? '' : fee };
    const told: Told[] = [{ of: payment, payment, line: charge }];
    for (const [place, part] of (isFailed ? [] : refunds).entries()) {
      const part100 = { amount: formatAmount((amountMinor * BigInt(part)) / 100n + BigInt(place), 'USD') };
      const options = { body: part100, name: 'payments.refund' } as const;
      const back = refundIn(await refund(module, write, payment, options));
      const line = { kind: 'refund', amount: back.amount, fee: back.fee_returned };
      told.push({ of: back.id, payment, line });
    }
    const operations = await operationsOf(tenantId);
    for (const { of, payment, line } of told)
      lines.push({ ...line, reference: names === 'payment' ? payment : (operations.get(of) ?? of) });
  }
  return lines;
};

/** The calls to the backend, by the payment or refund that they were for. */
const operationsOf = async (tenantId: number): Promise<Map<string, string>> => {
  const { rows } = await sql<{ id: string; payment_id: string; refund_id: string | null }>`
    select id, payment_id, refund_id from payments.operations where tenant_id = ${tenantId}
  `.execute(db);
  return new Map(
    rows.map(({ id, payment_id, refund_id }) => [
      refund_id === null ? fromUuid('payment', payment_id) : fromUuid('refund', refund_id),
      fromUuid('operation', id),
    ]),
  );
};

/** The statement with differences planted, each in a line of its own, and what has to be found. */
const plant = (lines: readonly Written[], { planted: types, seed }: World) => {
  const rest = [...lines];
  const statement: Written[] = [];
  const expected: BreakType[] = [];
  for (const [index, type] of types.entries()) {
    if (type === 'missing_here') {
      statement.push({
        reference: index % 2 ? newId('payment') : `order ${index}`,
        amount: `${index + 1}.00`,
      });
      expected.push(type);
      continue;
    }
    const at = rest.findIndex(({ status }) => status !== 'failed');
    const [line] = at === -1 ? [] : rest.splice((at + seed) % rest.length, 1);
    if (!line) continue;
    const isFailed = line.status === 'failed';
    // What failed moved nothing: its absence and its fee are no difference, and told again it is an attempt.
    if (isFailed && ['missing_there', 'fee_differs', 'duplicate'].includes(type)) {
      statement.push(line);
      continue;
    }
    expected.push(type);
    if (type === 'missing_there') continue;
    if (type === 'duplicate')
      statement.push({ ...line, backend_reference: 'a' }, { ...line, backend_reference: 'b' });
    if (type === 'status_differs') statement.push({ ...line, status: isFailed ? 'succeeded' : 'failed' });
    if (type === 'currency_differs') statement.push({ ...line, currency: 'EUR' });
    if (type === 'amount_differs') statement.push({ ...line, amount: `9999999${index}.00` });
    if (type === 'fee_differs') statement.push({ ...line, fee: '123.45' });
  }
  const all = [...statement, ...rest];
  // Another order each time.
  const shuffled = all.map((line, index) => ({ line, key: (index * 7_919 + seed * 31) % 1_009 }));
  return {
    lines: shuffled.sort((a, b) => a.key - b.key).map(({ line }) => line),
    expected: expected.sort(),
  };
};

test('exactly the planted differences are found, and corrected ones are found no more', async () => {
  terms.feeBasisPoints = 250;
  await fc.assert(
    fc.asyncProperty(world, async (given) => {
      const tenantId = newTenant();
      const faultless = await makeBooks(tenantId, given);
      const connector = given.isOutside ? 'sandbox' : 'book';
      const wanted = { connector, from: new Date('2026-01-16'), until: new Date('2026-01-17') };
      expect((await reconcile(db, tenantId, faultless, wanted)).breaks).toEqual([]);

      const { lines, expected } = plant(faultless, given);
      const { run, breaks } = await reconcile(db, tenantId, lines, wanted);
      expect(breaks.map(({ type }) => type).sort()).toEqual(expected);
      expect(run.matched + breaks.filter(({ line }) => line !== null).length).toBe(lines.length);

      const correctable = breaks.filter((each) => each.correctable);
      for (const { number } of correctable) await correctBreak(db, tenantId, { id: run.id, number });
      const again = await reconcile(db, tenantId, lines, wanted);
      const left = breaks.filter((each) => !each.correctable).map(({ type }) => type);
      expect(again.breaks.map(({ type }) => type).sort()).toEqual(left.sort());
    }),
    { numRuns: 25, seed: 7 },
  );
  expect(await differencesIn(db)).toEqual([]);
}, 120_000);
