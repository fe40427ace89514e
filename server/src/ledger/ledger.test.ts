import { sql } from 'kysely';
import { afterAll, describe, expect, test } from 'vitest';
import { inTransaction } from '../lib/database.ts';
import { newId, toUuid, type Id } from '../lib/ids.ts';
import { testDatabase } from '../../test/setup/database.ts';
import {
  createAccounts,
  endHold,
  makeTransfer,
  placeHold,
  post,
  setOverdraft,
  transferColumns,
  type Posting,
  type Transfer,
} from './ledger.ts';

const database = await testDatabase();
afterAll(() => database[Symbol.asyncDispose]());
const { db } = database;
const now = new Date('2026-01-16T12:00:00.000Z');
const accounts = createAccounts();

let tenants = 100;
/** A tenant of its own: `outside` may be negative, `vendor` and `fees` may not. */
const openBooks = async (currency = 'USD') => {
  tenants += 1;
  const tenantId = tenants;
  const open = (code: string, nonNegative: boolean) =>
    accounts.open(db, { tenantId, currency, code, nonNegative }, now);
  return {
    tenantId,
    outside: await open('external:book', false),
    vendor: await open('payable', true),
    fees: await open('fees', true),
  };
};
type Books = Awaited<ReturnType<typeof openBooks>>;

const transfer = (books: Books, postings: readonly [Id<'account'>, bigint][], kind = 'payment'): Transfer =>
  makeTransfer({
    kind,
    tenantId: books.tenantId,
    objectId: newId('payment'),
    postings: postings.map(([accountId, amountMinor]): Posting => ({ accountId, amountMinor })),
  });

const arrive = (books: Books, amountMinor: bigint) =>
  transfer(books, [
    [books.outside, -amountMinor],
    [books.vendor, amountMinor],
  ]);
const leave = (books: Books, amountMinor: bigint) =>
  transfer(books, [
    [books.vendor, -amountMinor],
    [books.outside, amountMinor],
  ]);

const postBatch = async (batch: readonly Transfer[]): Promise<string[]> => {
  const { rows } = await sql<{ rejected: Record<string, string> }>`
    select ledger.post_batch(${sql.join(transferColumns(batch))}, '{}', ${now}) as rejected
  `.execute(db);
  return batch.map((_, index) => rows[0]?.rejected[index + 1] ?? 'posted');
};

const balance = async (id: Id<'account'>) => {
  const { rows } = await sql<{ posted: bigint; pending: bigint; reserved: bigint; version: bigint }>`
    select posted, pending, reserved, version from ledger.accounts where id = ${toUuid(id)}
  `.execute(db);
  return rows[0];
};

describe('transfers', () => {
  test('entries keep the running balance and count their account without gaps', async () => {
    const books = await openBooks();
    expect(await postBatch([arrive(books, 100n), arrive(books, 50n), leave(books, 30n)])).toEqual([
      'posted',
      'posted',
      'posted',
    ]);
    const { rows } = await sql<{ version: bigint; amount: bigint; balance: bigint }>`
      select version, amount, balance from ledger.entries where account_id = ${toUuid(books.vendor)} order by version
    `.execute(db);
    expect(rows).toEqual([
      { version: 1n, amount: 100n, balance: 100n },
      { version: 2n, amount: 50n, balance: 150n },
      { version: 3n, amount: -30n, balance: 120n },
    ]);
    expect(await balance(books.outside)).toMatchObject({ posted: -120n, version: 3n });
  });

  test('an account that may not go below zero does not, and a rejected debit does not count against later ones', async () => {
    const books = await openBooks();
    const outcomes = await postBatch([
      arrive(books, 100n),
      leave(books, 101n),
      leave(books, 60n),
      leave(books, 60n),
      leave(books, 40n),
    ]);
    expect(outcomes).toEqual(['posted', 'insufficient_funds', 'posted', 'insufficient_funds', 'posted']);
    expect(await balance(books.vendor)).toMatchObject({ posted: 0n, version: 3n });
  });

  test('a credit earlier in a batch pays for a debit later in it, not the other way round', async () => {
    const books = await openBooks();
    expect(await postBatch([leave(books, 10n), arrive(books, 10n)])).toEqual([
      'insufficient_funds',
      'posted',
    ]);
    expect(await postBatch([arrive(books, 10n), leave(books, 20n)])).toEqual(['posted', 'posted']);
  });

  test('64 bits are not left: the transfer is refused, its neighbours are posted', async () => {
    const books = await openBooks();
    const huge = 9_223_372_036_854_775_807n;
    expect(await postBatch([arrive(books, huge)])).toEqual(['posted']);
    const other = await openBooks();
    expect(await postBatch([arrive(books, 1n), arrive(other, 1n), leave(books, 1n)])).toEqual([
      'balance_overflow',
      'posted',
      'posted',
    ]);
  });

  test.each([
    [
      'a sum other than zero',
      (books: Books) => [
        [books.outside, -5n],
        [books.vendor, 4n],
      ],
    ],
    [
      'an account of another tenant',
      (_: Books, other: Books) => [
        [other.outside, -5n],
        [other.vendor, 5n],
      ],
    ],
    [
      'two currencies that only sum to zero together',
      (books: Books, _: Books, euro: Books) => [
        [books.outside, -5n],
        [euro.vendor, 5n],
      ],
    ],
    [
      'an account that does not exist',
      (books: Books) => [
        [books.outside, -5n],
        [newId('account'), 5n],
      ],
    ],
  ] as const)('%s is refused by the database', async (_, postingsOf) => {
    const [books, other] = [await openBooks(), await openBooks()];
    const euro = {
      ...other,
      vendor: await accounts.open(
        db,
        { tenantId: books.tenantId, currency: 'EUR', code: 'payable', nonNegative: true },
        now,
      ),
    };
    const postings = postingsOf(books, other, euro) as unknown as [Id<'account'>, bigint][];
    await expect(postBatch([transfer(books, postings)])).rejects.toMatchObject({ code: '23000' });
  });

  test('a transfer without postings is refused by the database', async () => {
    const books = await openBooks();
    await expect(postBatch([{ ...arrive(books, 1n), postings: [] }])).rejects.toMatchObject({
      code: '23000',
    });
  });

  test('entries, transfers and holds can be neither changed nor removed by the services', async () => {
    const books = await openBooks();
    await postBatch([arrive(books, 1n)]);
    for (const statement of [
      'update ledger.entries set amount = 2',
      'delete from ledger.entries',
      'update ledger.transfers set kind = kind',
      'delete from ledger.transfers',
      'delete from ledger.holds',
      'update ledger.hold_endings set captured = 1',
      'delete from ledger.accounts',
      "update ledger.accounts set currency = 'EUR'",
      'truncate ledger.entries',
      'drop table ledger.entries',
      'create table ledger.mine (a int)',
    ]) {
      await expect(sql.raw(statement).execute(db), statement).rejects.toMatchObject({ code: '42501' });
    }
  });

  test('100 concurrent debits of one account spend what is there and no more', async () => {
    const books = await openBooks();
    await postBatch([arrive(books, 50n)]);
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => postBatch([leave(books, 1n)])));
    expect(outcomes.flat().filter((outcome) => outcome === 'posted')).toHaveLength(50);
    expect(await balance(books.vendor)).toMatchObject({ posted: 0n, version: 51n });
  });

  test('batches that touch the same accounts in opposite order do not deadlock', async () => {
    const [one, two] = [await openBooks(), await openBooks()];
    const rounds = Array.from({ length: 40 }, (_, index) =>
      postBatch(index % 2 ? [arrive(one, 1n), arrive(two, 1n)] : [arrive(two, 1n), arrive(one, 1n)]),
    );
    expect((await Promise.all(rounds)).flat().every((outcome) => outcome === 'posted')).toBe(true);
    expect(await balance(two.vendor)).toMatchObject({ posted: 40n });
  });
});

describe('holds', () => {
  const hold = (books: Books, amountMinor: bigint) =>
    inTransaction(db, (tx) =>
      placeHold(
        tx,
        {
          tenantId: books.tenantId,
          objectId: newId('payment'),
          debitAccountId: books.vendor,
          creditAccountId: books.outside,
          amountMinor,
        },
        now,
      ),
    );

  test('what is held is reserved for nobody else, and released when the hold ends', async () => {
    const books = await openBooks();
    await postBatch([arrive(books, 100n)]);
    const id = await hold(books, 80n);
    expect(await balance(books.vendor)).toMatchObject({ posted: 100n, reserved: 80n });
    expect(await postBatch([leave(books, 21n), leave(books, 20n)])).toEqual(['insufficient_funds', 'posted']);
    await expect(hold(books, 1n)).rejects.toMatchObject({ code: 'insufficient_funds' });
    await inTransaction(db, (tx) => endHold(tx, id, undefined, now));
    expect(await balance(books.vendor)).toMatchObject({ posted: 80n, reserved: 0n });
    expect(await balance(books.outside)).toMatchObject({ pending: 0n });
  });

  test('a hold ends once, also when 20 captures race', async () => {
    const books = await openBooks();
    await postBatch([arrive(books, 100n)]);
    const id = await hold(books, 100n);
    const capture = () =>
      inTransaction(db, async (tx) => {
        const captured = leave(books, 60n);
        await endHold(tx, id, { amountMinor: 60n, transferId: captured.id }, now);
        await post(tx, captured, now);
      });
    const results = await Promise.allSettled(Array.from({ length: 20 }, capture));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await balance(books.vendor)).toMatchObject({ posted: 40n, reserved: 0n });
  });

  test('a hold that has ended releases nothing of what others hold', async () => {
    const books = await openBooks();
    await postBatch([arrive(books, 100n)]);
    const [first] = [await hold(books, 30n), await hold(books, 50n)];
    const end = () => inTransaction(db, (tx) => endHold(tx, first, undefined, now));
    await end();
    await expect(end()).rejects.toMatchObject({ code: '23505' });
    expect(await balance(books.vendor)).toMatchObject({ reserved: 50n });
    expect(await balance(books.outside)).toMatchObject({ pending: 50n });
  });

  test('more than was held can not be captured', async () => {
    const books = await openBooks();
    await postBatch([arrive(books, 100n)]);
    const id = await hold(books, 10n);
    const transferId = newId('transfer');
    await expect(
      inTransaction(db, (tx) => endHold(tx, id, { amountMinor: 11n, transferId }, now)),
    ).rejects.toMatchObject({ code: '23000' });
  });
});

describe('overdraft', () => {
  test('an account may go below zero only while it is allowed to', async () => {
    const books = await openBooks();
    expect(await inTransaction(db, (tx) => setOverdraft(tx, books.vendor, true))).toBe(true);
    expect(await postBatch([leave(books, 5n)])).toEqual(['posted']);
    expect(await inTransaction(db, (tx) => setOverdraft(tx, books.vendor, false))).toBe(true);
    await postBatch([arrive(books, 5n)]);
    expect(await inTransaction(db, (tx) => setOverdraft(tx, books.vendor, false))).toBe(false);
    expect(await postBatch([leave(books, 5n)])).toEqual(['insufficient_funds']);
  });
});
