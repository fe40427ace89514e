import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { createAccounts, makeTransfer, post } from '../ledger/ledger.ts';
import { append } from '../journal/journal.ts';
import { inTransaction } from '../lib/database.ts';
import { toUuid } from '../lib/ids.ts';
import { contextFor, newTenant } from '../payments/testing.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { correctBreak, reconcile } from './testing.ts';
import { verifyReconciliations } from './verify.ts';

const database = await testDatabase();
const { db, superuser } = database;
afterAll(() => database[Symbol.asyncDispose]());

const differences = async (from = db): Promise<string[]> =>
  (await verifyReconciliations(from)).flatMap(({ difference }) => difference ?? []);

const tenantId = newTenant();
const { run } = await reconcile(
  db,
  tenantId,
  [
    { reference: 'a', amount: '1.00' },
    { reference: 'b', amount: '2.00' },
    { reference: 'c', kind: 'refund', amount: '3.00' },
  ],
  { connector: 'book' },
);
for (const number of [1, 3]) await correctBreak(db, tenantId, { id: run.id, number });

test('honest books agree', async () => {
  expect(await differences()).toEqual([]);
});

test.each([
  'update reconciliation.breaks set there_amount = there_amount + 1 where number = 1',
  "update reconciliation.breaks set kind = 'refund' where number = 1",
  "update reconciliation.breaks set type = 'duplicate' where number = 2",
  'delete from reconciliation.breaks where number = 1',
  'delete from reconciliation.breaks where number = 2',
  'delete from reconciliation.corrections where number = 3',
  "update reconciliation.corrections set reason = 'x' where number = 3",
  "update reconciliation.corrections set actor = 'x' where number = 3",
  "update reconciliation.corrections set against = 'payable' where number = 3",
  'update reconciliation.corrections set number = 2 where number = 3',
  'update reconciliation.corrections set transfer_id = gen_random_uuid() where number = 3',
  'update reconciliation.runs set corrected = 1',
  'update reconciliation.runs set version = version + 1',
  'update reconciliation.runs set matched = matched + 1',
  "update reconciliation.runs set connector = 'x'",
  'delete from reconciliation.runs',
  "update ledger.entries set amount = -2 * amount from ledger.transfers t where t.id = transfer_id and t.kind = 'correction'",
  "update ledger.transfers set kind = 'payout' where kind = 'correction'",
])('%s is found', async (statement) => {
  await superuser.transaction().execute(async (tx) => {
    await sql`set constraints all deferred`.execute(tx);
    await sql.raw(statement).execute(tx);
    expect(await differences(tx)).not.toEqual([]);
    await sql`rollback and chain`.execute(tx);
  });
  expect(await differences()).toEqual([]);
});

test('a transfer that calls itself a correction and has no break is found', async () => {
  const context = contextFor(tenantId);
  const accounts = createAccounts();
  const open = (code: string) =>
    accounts.open(db, { tenantId, currency: 'USD', code, nonNegative: false }, context.now);
  const transfer = makeTransfer({
    kind: 'correction',
    tenantId,
    objectId: run.id,
    postings: [
      { accountId: await open('external:book'), amountMinor: -1n },
      { accountId: await open('corrections'), amountMinor: 1n },
    ],
  });
  await inTransaction(db, async (tx) => {
    await post(tx, transfer, context.now);
    await append(tx, context, { kind: 'transfer.corrected', snapshot: {}, transfer });
  });
  expect(await differences()).toEqual([expect.stringContaining('the break asks for nothing')]);
  expect(toUuid(transfer.id)).toBeTruthy();
});
