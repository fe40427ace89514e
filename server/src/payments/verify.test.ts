import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyJournal } from '../journal/verify.ts';
import { listTransfers } from '../ledger/store.ts';
import { verifyLedger } from '../ledger/verify.ts';
import type { Db } from '../lib/database.ts';
import { toUuid, type Id } from '../lib/ids.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { capture, refund } from './payments.ts';
import { create } from './create.ts';
import { contextFor, newTenant, paymentIn, refundIn, testPayments } from './testing.ts';
import { verifyPayments } from './verify.ts';

const differencesIn = async (db: Db): Promise<string[]> => {
  const findings = [
    ...(await verifyLedger(db)),
    ...(await verifyPayments(db)),
    ...(await verifyJournal(db, (ids) => listTransfers(db, ids))),
  ];
  return findings.flatMap(({ difference }) => difference ?? []);
};

/** A database with a little of everything: captured, authorised, refunded, declined, unknown. */
const populated = async () => {
  const database = await testDatabase();
  const { module, terms, close } = testPayments(database);
  terms.feeBasisPoints = 250;
  const write = { context: contextFor(newTenant()), key: undefined };
  const dollars = { amount: '100.00', currency: 'USD' };
  const taken = paymentIn(await create(module, write, dollars));
  const held = paymentIn(await create(module, write, { ...dollars, capture: false }));
  const captured = paymentIn(await create(module, write, { ...dollars, capture: false }));
  await capture(module, write, captured.id, { amount: '60.00' });
  const body = { amount: '10.00' };
  const refunded = refundIn(await refund(module, write, taken.id, { body, name: 'payments.refund' }));
  await create(module, write, { ...dollars, payment_method: 'sandbox:decline_do_not_honor' });
  const pending = paymentIn(
    await create(module, write, { ...dollars, payment_method: 'sandbox:refund_timeout' }),
  );
  await refund(module, write, pending.id, { body, name: 'payments.refund' });
  await close();
  return { database, taken: taken.id, held: held.id, refunded: refunded.id };
};

describe('verify', () => {
  let books: Awaited<ReturnType<typeof populated>>;
  beforeAll(async () => {
    books = await populated();
  });
  afterAll(() => books.database[Symbol.asyncDispose]());

  /** What verify finds after these statements of a superuser, which are rolled back afterwards. */
  const foundAfter = async (...statements: string[]): Promise<string[]> => {
    const tx = await books.database.superuser.startTransaction().execute();
    for (const statement of statements) await sql.raw(statement).execute(tx);
    const found = await differencesIn(tx);
    await tx.rollback().execute();
    return found;
  };
  const uuid = (id: Id<'payment'> | Id<'refund'>) => `'${toUuid(id)}'`;

  test('finds nothing in honest books', async () => {
    expect(await differencesIn(books.database.db)).toEqual([]);
  });

  test.each([
    [
      'an entry with another amount',
      'update ledger.entries set amount = amount + 1 where version = 1 and amount > 0',
      /^(trf|acct)_/,
    ],
    [
      'an entry with another balance',
      'update ledger.entries set balance = balance + 1 where version = 2',
      /acct_.*says balance/,
    ],
    [
      'an entry removed',
      'delete from ledger.entries where version = 2',
      /entry is missing|entry 2 is missing/,
    ],
    [
      'an entry that no transfer names',
      `insert into ledger.entries
      select account_id, max(version) + 1, gen_random_uuid(), 5, 5, now() from ledger.entries group by account_id limit 1`,
      /is in no transfer/,
    ],
    [
      'a balance',
      "update ledger.accounts set posted = posted + 1 where code = 'payable'",
      /acct_.*the entries make/,
    ],
    [
      'two balances that still sum to zero',
      `update ledger.accounts set posted = posted + case code when 'payable' then 7 else -7 end
      where code in ('payable', 'external:book')`,
      /acct_.*the entries make/,
    ],
    [
      'a reservation',
      'update ledger.accounts set reserved = reserved - 1 where reserved > 0',
      /open holds make/,
    ],
    [
      'a hold removed',
      'delete from ledger.holds where id not in (select hold_id from ledger.hold_endings)',
      /open holds make/,
    ],
    [
      'a transfer removed',
      "delete from ledger.transfers where kind = 'refund'",
      /is in no transfer|its transfer/,
    ],
    [
      'a capture of more than was held',
      'update ledger.hold_endings set captured = 100000 where captured > 0',
      /captured 100000 of/,
    ],
    [
      'a payment’s captured amount',
      "update payments.payments set captured = captured - 1 where state = 'succeeded' and captured > 1",
      /pay_.*its transfers make/,
    ],
    [
      'a payment’s state',
      "update payments.payments set state = 'refunded' where state = 'succeeded'",
      /pay_/,
    ],
    ['a payment removed', 'delete from payments.payments where captured > 0', /pay_|refund/],
    [
      'an authorised payment removed',
      "delete from payments.payments where state = 'requires_capture'",
      /pay_.*missing/,
    ],
    [
      'a payment set back to an earlier version',
      "update payments.payments set version = 1, state = 'processing' where state = 'failed'",
      /pay_.*version 2/,
    ],
    [
      'a refund’s amount',
      "update payments.refunds set amount = amount + 1 where state = 'succeeded'",
      /ref_.*its transfer makes/,
    ],
    ['a refund removed', "delete from payments.refunds where state = 'succeeded'", /ref_|its refunds make/],
    [
      'a journal snapshot',
      `update journal.entries set snapshot = jsonb_set(snapshot, '{reference}', '"forged"') where kind = 'payment.succeeded'`,
      /evt_.*was changed/,
    ],
    [
      'the actor of a journal entry',
      "update journal.entries set actor = 'client:someone' where kind like 'payment.%'",
      /evt_.*was changed/,
    ],
    [
      'the time of a journal entry',
      "update journal.entries set timestamp = timestamp - interval '1 day' where kind = 'refund.succeeded'",
      /evt_.*was changed/,
    ],
    [
      'a journal entry removed',
      "delete from journal.entries where kind = 'payment.requires_capture'",
      /entries for .* versions|its journal says nothing/,
    ],
    [
      'a fee in the ledger, with every balance that follows from it',
      `update ledger.entries e
      set amount = amount + case version when 1 then sign else 0 end, balance = balance + sign
      from (select id, case code when 'payable' then 1 else -1 end as sign from ledger.accounts
            where code in ('payable', 'fees')) a
      where e.account_id = a.id;
      update ledger.accounts set posted = posted + case code when 'payable' then 1 else -1 end
      where code in ('payable', 'fees')`,
      /evt_.*it or its transfer was changed/,
    ],
    [
      'two snapshots swapped',
      `update journal.entries e set snapshot = o.snapshot from journal.entries o
      where e.kind = 'payment.succeeded' and o.kind = 'payment.requires_capture'`,
      /evt_.*was changed/,
    ],
  ])('names the row after somebody altered %s', async (_, statement, difference) => {
    const found = await foundAfter(statement);
    expect(found.length).toBeGreaterThan(0);
    expect(found.join('\n')).toMatch(difference);
  });

  test('names the payment, the refund and the transfer by their public ids', async () => {
    const found = (
      await foundAfter(
        `update payments.payments set currency = 'EUR' where id = ${uuid(books.taken)}`,
        `update payments.refunds set state = 'failed' where id = ${uuid(books.refunded)}`,
      )
    ).join('\n');
    expect(found).toContain(books.taken);
    expect(found).toContain(books.refunded);
  });
});
