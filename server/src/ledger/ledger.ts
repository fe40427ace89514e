import assert from 'node:assert/strict';
import { sql } from 'kysely';
import type { TransferRecord } from '../journal/entry.ts';
import { bigintColumn, integerColumn, textColumn, uuidColumn, type Column } from '../lib/columns.ts';
import type { Db, Tx } from '../lib/database.ts';
import { currentDryRun, noteWritten } from '../lib/dry-run.ts';
import { AppError } from '../lib/errors.ts';
import { fromUuid, newId, toUuid, type Id, type IdKind } from '../lib/ids.ts';
import { step } from '../lib/step.ts';

/** An amount that credits (above zero) or debits (below zero) an account, in minor units of the account's currency. */
export type Posting = { accountId: Id<'account'>; amountMinor: bigint };

/** Money that moves between accounts of one tenant. Per currency its postings sum to zero. */
export type Transfer = TransferRecord & { tenantId: number; objectId: Id<IdKind> };

/** Why the ledger refuses money. */
export type PostingRefusal = 'insufficient_funds' | 'balance_overflow';

/** An account by its name: a tenant has one of a code and currency. `nonNegative` counts when it is opened. */
export type AccountKey = { tenantId: number; currency: string; code: string; nonNegative: boolean };

/**
 * A transfer of the given kind for an object. Postings of zero are left out.
 * @throws AssertionError when the rest is not a transfer; that is a bug of the caller
 */
export const makeTransfer = (options: {
  kind: string;
  tenantId: number;
  objectId: Id<IdKind>;
  postings: readonly Posting[];
}): Transfer => {
  const postings = options.postings.filter(({ amountMinor }) => amountMinor !== 0n);
  assert(postings.length >= 2, 'a transfer has at least two postings');
  assert.equal(new Set(postings.map(({ accountId }) => accountId)).size, postings.length);
  return { ...options, id: newId('transfer'), postings };
};

/** The first seven parameters of `ledger.post_batch`: a posting names the position of its transfer, counted from 1. */
export const transferColumns = (transfers: readonly Transfer[]): Column[] => {
  const postings = transfers.flatMap((transfer, index) =>
    transfer.postings.map((posting) => ({ ...posting, position: index + 1 })),
  );
  return [
    uuidColumn(transfers.map(({ id }) => id)),
    integerColumn(transfers.map(({ tenantId }) => tenantId)),
    textColumn(transfers.map(({ kind }) => kind)),
    uuidColumn(transfers.map(({ objectId }) => objectId)),
    integerColumn(postings.map(({ position }) => position)),
    uuidColumn(postings.map(({ accountId }) => accountId)),
    bigintColumn(postings.map(({ amountMinor }) => amountMinor)),
  ];
};

/**
 * Posts one transfer in the caller's transaction.
 * @throws AppError `insufficient_funds` or `balance_overflow`; nothing was posted then
 */
export const post = async (tx: Tx, transfer: Transfer, now: Date): Promise<void> => {
  const { rows } = await sql<{ rejected: Record<string, PostingRefusal> }>`
    select ledger.post_batch(${sql.join(transferColumns([transfer]))}, '{}', ${now}) as rejected
  `.execute(tx);
  assert(rows[0], 'the ledger gave no outcome');
  const refusal = rows[0].rejected['1'];
  if (refusal) throw new AppError(refusal, refusalTexts[refusal]);
};

/** Takes the locks of a transaction's accounts, in the one order that everybody takes them in. */
export const lockAccounts = async (tx: Tx, ids: readonly Id<'account'>[]): Promise<void> => {
  await sql`select ledger.lock_accounts(${ids.map(toUuid)}::uuid[])`.execute(tx);
};

export type Hold = {
  tenantId: number;
  objectId: Id<IdKind>;
  debitAccountId: Id<'account'>;
  creditAccountId: Id<'account'>;
  amountMinor: bigint;
};

/**
 * Sets money aside: an authorisation before its capture, or a refund while the backend works on it.
 * @throws AppError `insufficient_funds` or `balance_overflow`
 */
export const placeHold = async (tx: Tx, hold: Hold, now: Date): Promise<Id<'hold'>> => {
  const id = newId('hold');
  const { rows } = await sql<{ outcome: PostingRefusal | 'held' }>`
    select ledger.place_hold(${toUuid(id)}, ${hold.tenantId}, ${toUuid(hold.objectId)}, ${toUuid(hold.debitAccountId)},
                             ${toUuid(hold.creditAccountId)}, ${hold.amountMinor}, ${now}) as outcome
  `.execute(tx);
  assert(rows[0], 'the ledger gave no outcome');
  const { outcome } = rows[0];
  if (outcome !== 'held') throw new AppError(outcome, refusalTexts[outcome]);
  noteWritten({ what: 'hold', id, ended: false });
  return id;
};

/** Ends a hold, once. What is not captured is released; the captured part is posted by `captured.transferId`. */
export const endHold = async (
  tx: Tx,
  id: Id<'hold'>,
  captured: { amountMinor: bigint; transferId: Id<'transfer'> } | undefined,
  now: Date,
): Promise<void> => {
  await sql`
    select ledger.end_hold(${toUuid(id)}, ${captured?.amountMinor ?? 0n}, ${captured && toUuid(captured.transferId)}, ${now})
  `.execute(tx);
  noteWritten({ what: 'hold', id, ended: true });
};

/**
 * Lets an account go below zero, or not; the caller holds its lock. An account that is below zero already stays free
 * until it is not: the answer says whether it may go (further) below.
 */
export const setOverdraft = async (tx: Tx, id: Id<'account'>, allowed: boolean): Promise<boolean> => {
  await sql`
    update ledger.accounts set non_negative = not non_negative
    where id = ${toUuid(id)} and non_negative = ${allowed} and (${allowed} or posted - reserved >= 0)
  `.execute(tx);
  const { rows } = await sql<{ non_negative: boolean }>`
    select non_negative from ledger.accounts where id = ${toUuid(id)}
  `.execute(tx);
  return rows[0]?.non_negative === false;
};

/**
 * The id of an account, opened on first use. Accounts are never closed, so found ids are kept, up to a bound. What a dry
 * run opens is gone afterwards.
 */
export type Accounts = { open(db: Db, key: AccountKey, now: Date): Promise<Id<'account'>> };

export const createAccounts = (rememberedMax = 100_000): Accounts => {
  const remembered = new Map<string, Id<'account'>>();
  return {
    open: async (db, key, now) => {
      const name = `${key.tenantId} ${key.currency} ${key.code}`;
      const known = remembered.get(name);
      if (known) return known;
      const id = await openAccount(db, key, now);
      step('account.opened');
      if (currentDryRun()) return id;
      const oldest = remembered.size >= rememberedMax ? remembered.keys().next() : undefined;
      if (oldest && !oldest.done) remembered.delete(oldest.value);
      remembered.set(name, id);
      return id;
    },
  };
};

const openAccount = async (db: Db, key: AccountKey, now: Date): Promise<Id<'account'>> => {
  const { rows } = await sql<{ id: string }>`
    select ledger.open_account(${toUuid(newId('account'))}, ${key.tenantId}, ${key.currency}, ${key.code},
                               ${key.nonNegative}, ${now}) as id
  `.execute(db);
  assert(rows[0]);
  return fromUuid('account', rows[0].id);
};

/** What a caller reads when money is refused. */
export const refusalTexts = {
  insufficient_funds: 'The available balance is too low. Wait for funds to arrive, or use a smaller amount.',
  balance_overflow: 'The balance would exceed what the ledger can hold.',
} as const;
