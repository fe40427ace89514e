import { sql, type RawBuilder } from 'kysely';
import { describe, expect, test } from 'vitest';
import { create } from '../../src/payments/create.ts';
import { refund } from '../../src/payments/payments.ts';
import { contextFor, newTenant, paymentIn, testPayments } from '../../src/payments/testing.ts';
import { correctBreak, reconcile } from '../../src/reconciliation/testing.ts';
import { testDatabase } from '../setup/database.ts';
import type { KnownAnswer, KnownCall } from './answers.ts';
import { differences } from './differences.ts';

const noFees = { feeBasisPoints: 0, feeFixed: {}, overdraftAllowed: false };

/** A tenant with two payments under keys, one of them refunded in part, and what its client was told. */
const openBooks = async () => {
  const database = await testDatabase();
  const { module, close } = testPayments(database);
  const tenantId = newTenant();
  const call = (operation: string, key: string, answer: KnownAnswer): KnownCall => ({
    tenantId,
    operation,
    key,
    answers: [answer],
  });
  const calls: KnownCall[] = [];
  for (const key of ['first', 'second']) {
    const write = { context: contextFor(tenantId), key };
    const answer = await create(module, write, { amount: '10.00', currency: 'USD', reference: key });
    calls.push(call('payments.create', key, { status: answer.status, body: paymentIn(answer) }));
    if (key === 'first') continue;
    const body = { amount: '4.00', reason: 'back' };
    const back = { ...write, key: 'back' };
    const refunded = await refund(module, back, paymentIn(answer).id, { body, name: 'payments.refund' });
    const told = refunded.entry.snapshot as KnownAnswer['body']; // a refund's public form
    calls.push(call('payments.refund', 'back', { status: refunded.status, body: told }));
  }
  return {
    tenantId,
    db: database.db,
    superuser: database.superuser,
    calls,
    differences: (told: readonly KnownCall[]) =>
      differences(database.db, told, new Map([[tenantId, noFees]])),
    [Symbol.asyncDispose]: async () => {
      await close();
      await database[Symbol.asyncDispose]();
    },
  };
};

test('books that nobody touched have no differences', async () => {
  await using books = await openBooks();
  expect(await books.differences(books.calls)).toEqual([]);
});

test('books that were corrected after a reconciliation have none, in one currency and in two', async () => {
  await using books = await openBooks();
  const [first] = books.calls;
  const lines = [
    { reference: String(first?.answers[0]?.body['id']), amount: '12.00', currency: 'EUR' },
    { reference: 'nobody knows', amount: '5.00' },
  ];
  const { run } = await reconcile(books.db, books.tenantId, lines, { connector: 'book' });
  for (const number of [1, 2])
    await correctBreak(books.db, books.tenantId, { id: run.id, number }, { against: 'corrections' });
  expect(await books.differences(books.calls)).toEqual([]);
});

describe('the checker finds', () => {
  const tampered: [string, RawBuilder<unknown>, RegExp][] = [
    [
      'an acknowledged payment that is gone',
      sql`delete from payments.payments where reference = 'first'`,
      /missing/,
    ],
    [
      'a payment made twice',
      sql`insert into payments.payments
          select (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid()))).*
          from payments.payments p where reference = 'first'`,
      /made 2 objects/,
    ],
    [
      'a key that is gone',
      sql`delete from journal.idempotency_keys where key = 'first'`,
      /its key is not stored/,
    ],
    [
      'a key that was stored by another transaction than its effect',
      sql`update journal.idempotency_keys set status = status where key = 'first'`,
      /stored in another transaction/,
    ],
    [
      'a key with the effect of another',
      sql`update journal.idempotency_keys k set entry_id = o.entry_id from journal.idempotency_keys o
          where k.key = 'first' and o.key = 'second'`,
      /stored is another journal entry/,
    ],
    [
      'a payment set back to an earlier state',
      sql`update payments.payments set state = 'succeeded', refunded = 0, version = 1 where reference = 'second'`,
      /the model 2 partially_refunded/,
    ],
    [
      'a journal entry that is gone',
      sql`delete from journal.entries where kind = 'refund.succeeded'`,
      /refund/,
    ],
    [
      'a balance that is not what its entries make',
      sql`update ledger.accounts set posted = posted + 1 where code = 'payable'`,
      /payable USD .* posted 1601, the model 1600/,
    ],
    [
      'a reservation that no hold explains',
      sql`update ledger.accounts set reserved = 5 where code = 'payable'`,
      /reserved 5, the model 0/,
    ],
    [
      'money that moved without a rule',
      sql`update ledger.entries set amount = amount - 7, balance = balance - 7 where amount = 1000 and version = 1`,
      /it posts .*payable 993.*, the model .*payable 1000/,
    ],
  ];
  test.each(tampered)('%s', async (_, tamper, found) => {
    await using books = await openBooks();
    await tamper.execute(books.superuser);
    expect((await books.differences(books.calls)).join('\n')).toMatch(found);
  });

  const untold = (call: KnownCall | undefined, answers: KnownAnswer[]): KnownCall => {
    if (!call) throw new Error('there is a first call');
    return { ...call, answers: [...call.answers, ...answers] };
  };
  const lies: [string, (calls: readonly KnownCall[]) => readonly KnownCall[], RegExp][] = [
    [
      'a key that was answered in two ways',
      ([first, ...rest]) => [untold(first, [{ status: 409, body: { code: 'invalid_state' } }]), ...rest],
      /was answered .* then /,
    ],
    [
      'an answer that was never stored',
      (calls) => [...calls, { ...untold(calls[0], []), key: 'third' }],
      /key third: .* not stored/,
    ],
    [
      'an answer that says more than the journal',
      ([first, ...rest]) => [
        untold(first && { ...first, answers: [] }, [
          { status: 201, body: { ...first?.answers[0]?.body, amount: '11.00' } },
        ]),
        ...rest,
      ],
      /the journal says amount/,
    ],
    ['what nobody asked for', ([first]) => [untold(first, [])], /nobody asked for second/],
  ];
  test.each(lies)('%s', async (_, lie, found) => {
    await using books = await openBooks();
    expect((await books.differences(lie(books.calls))).join('\n')).toMatch(found);
  });
});
