import { sql, type RawBuilder } from 'kysely';
import type { Db } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, toUuid, type Id, type IdKind } from '../lib/ids.ts';
import type { TransferRecord } from '../journal/entry.ts';

/** An account with its balances, in minor units. `available` is what may be spent: posted less reserved. */
export type Account = {
  id: Id<'account'>;
  tenantId: number;
  currency: string;
  code: string;
  nonNegative: boolean;
  postedMinor: bigint;
  pendingMinor: bigint;
  reservedMinor: bigint;
  /** Number of entries. */
  version: bigint;
  createdAt: Date;
};

type AccountRow = {
  id: string;
  tenant_id: number;
  currency: string;
  code: string;
  non_negative: boolean;
  posted: bigint;
  pending: bigint;
  reserved: bigint;
  version: bigint;
  created_at: Date;
};

/** @throws AppError `not_found`, also for an account of another tenant */
export const getAccount = async (db: Db, tenantId: number, id: Id<'account'>): Promise<Account> => {
  const { rows } = await sql<AccountRow>`
    select * from ledger.accounts where id = ${toUuid(id)} and tenant_id = ${tenantId}
  `.execute(db);
  if (!rows[0]) throw notFound('account');
  return accountOf(rows[0]);
};

/** An account of whichever tenant, for the operator. @throws AppError `not_found` */
export const getAnyAccount = async (db: Db, id: Id<'account'>): Promise<Account> => {
  const { rows } = await sql<AccountRow>`select * from ledger.accounts where id = ${toUuid(id)}`.execute(db);
  if (!rows[0]) throw notFound('account');
  return accountOf(rows[0]);
};

type AccountFilter = {
  tenantId?: number | undefined;
  currency?: string | undefined;
  code?: string | undefined;
};

/** Accounts in the order of their ids, after the account `after`. Without a tenant those of all, for the operator. */
export const listAccounts = async (
  db: Db,
  filter: AccountFilter,
  page: { after: Id<'account'> | undefined; limit: number },
): Promise<Account[]> => {
  const conditions: RawBuilder<unknown>[] = [sql`true`];
  if (filter.tenantId !== undefined) conditions.push(sql`tenant_id = ${filter.tenantId}`);
  if (filter.currency) conditions.push(sql`currency = ${filter.currency}`);
  if (filter.code) conditions.push(sql`code = ${filter.code}`);
  if (page.after) conditions.push(sql`id > ${toUuid(page.after)}`);
  const { rows } = await sql<AccountRow>`
    select * from ledger.accounts where ${sql.join(conditions, sql` and `)} order by id limit ${page.limit}
  `.execute(db);
  return rows.map(accountOf);
};

/** One line of an account's statement. */
export type Entry = {
  accountId: Id<'account'>;
  version: bigint;
  transferId: Id<'transfer'>;
  kind: string;
  object: string;
  amountMinor: bigint;
  balanceMinor: bigint;
  createdAt: Date;
};

type EntryRow = {
  account_id: string;
  version: bigint;
  transfer_id: string;
  kind: string;
  object_id: string;
  amount: bigint;
  balance: bigint;
  created_at: Date;
};

/** Entries of an account, the newest first, before the entry numbered `before`. */
export const listEntries = async (
  db: Db,
  accountId: Id<'account'>,
  page: { before: bigint | undefined; limit: number },
): Promise<Entry[]> => {
  const { rows } = await sql<EntryRow>`
    select e.*, t.kind, t.object_id
    from ledger.entries e join ledger.transfers t on t.id = e.transfer_id
    where e.account_id = ${toUuid(accountId)} and e.version < coalesce(${page.before}, 9223372036854775807)
    order by e.version desc limit ${page.limit}
  `.execute(db);
  return rows.map((row) => ({
    accountId,
    version: row.version,
    transferId: fromUuid('transfer', row.transfer_id),
    kind: row.kind,
    object: objectOf(row.kind, row.object_id),
    amountMinor: row.amount,
    balanceMinor: row.balance,
    createdAt: row.created_at,
  }));
};

/** A transfer with its entries, in the order of its accounts. */
export type StoredTransfer = TransferRecord & {
  object: string;
  createdAt: Date;
  entries: readonly {
    accountId: Id<'account'>;
    code: string;
    currency: string;
    amountMinor: bigint;
    /** What the account had after it. */
    balanceMinor: bigint;
  }[];
};

type TransferRow = {
  id: string;
  kind: string;
  object_id: string;
  created_at: Date;
  account_id: string;
  code: string;
  currency: string;
  amount: bigint;
  balance: bigint;
};

/** @throws AppError `not_found`, also for a transfer of another tenant */
export const getTransfer = async (db: Db, tenantId: number, id: Id<'transfer'>): Promise<StoredTransfer> => {
  const transfers = await readTransfers(db, sql`t.id = ${toUuid(id)} and t.tenant_id = ${tenantId}`);
  const transfer = transfers.get(id);
  if (!transfer) throw notFound('transfer');
  return transfer;
};

/** Many transfers at once, whosever they are: for the checks that recompute everything. */
export const listTransfers = (
  db: Db,
  ids: readonly Id<'transfer'>[],
): Promise<Map<Id<'transfer'>, StoredTransfer>> =>
  readTransfers(db, sql`t.id = any(${ids.map(toUuid)}::uuid[])`);

const readTransfers = async (
  db: Db,
  which: RawBuilder<unknown>,
): Promise<Map<Id<'transfer'>, StoredTransfer>> => {
  const { rows } = await sql<TransferRow>`
    select t.id, t.kind, t.object_id, t.created_at, e.account_id, a.code, a.currency, e.amount, e.balance
    from ledger.transfers t
    cross join lateral unnest(t.account_ids, t.versions) as p(account_id, version)
    join ledger.entries e on e.account_id = p.account_id and e.version = p.version
    join ledger.accounts a on a.id = e.account_id
    where ${which}
    order by t.id, e.account_id
  `.execute(db);
  const transfers = new Map<Id<'transfer'>, StoredTransfer>();
  for (const row of rows) {
    const id = fromUuid('transfer', row.id);
    const entry = {
      accountId: fromUuid('account', row.account_id),
      code: row.code,
      currency: row.currency,
      amountMinor: row.amount,
      balanceMinor: row.balance,
    };
    const entries = [...(transfers.get(id)?.entries ?? []), entry];
    const object = objectOf(row.kind, row.object_id);
    transfers.set(id, { id, kind: row.kind, object, createdAt: row.created_at, entries, postings: entries });
  }
  return transfers;
};

/** Money that is or was set aside, and where. */
export type StoredHold = {
  id: Id<'hold'>;
  currency: string;
  amountMinor: bigint;
  debit: { accountId: Id<'account'>; code: string };
  credit: { accountId: Id<'account'>; code: string };
};

/** Those of these holds that are stored, whosever they are. */
export const listHolds = async (db: Db, ids: readonly Id<'hold'>[]): Promise<Map<Id<'hold'>, StoredHold>> => {
  type Row = {
    id: string;
    currency: string;
    amount: bigint;
    debit_id: string;
    debit_code: string;
    credit_id: string;
    credit_code: string;
  };
  const { rows } = await sql<Row>`
    select h.id, h.amount, d.currency, d.id as debit_id, d.code as debit_code, c.id as credit_id, c.code as credit_code
    from ledger.holds h
    join ledger.accounts d on d.id = h.debit_account_id
    join ledger.accounts c on c.id = h.credit_account_id
    where h.id = any(${ids.map(toUuid)}::uuid[])
  `.execute(db);
  const holds = rows.map((row): StoredHold => ({
    id: fromUuid('hold', row.id),
    currency: row.currency,
    amountMinor: row.amount,
    debit: { accountId: fromUuid('account', row.debit_id), code: row.debit_code },
    credit: { accountId: fromUuid('account', row.credit_id), code: row.credit_code },
  }));
  return new Map(holds.map((hold) => [hold.id, hold]));
};

/** Which kind of object a kind of transfer belongs to. */
const objectOf = (kind: string, uuid: string): string => {
  const objects: Readonly<Record<string, IdKind>> = {
    payment: 'payment',
    capture: 'payment',
    refund: 'refund',
    correction: 'reconciliation',
  };
  const object = objects[kind];
  return object ? fromUuid(object, uuid) : uuid;
};

const accountOf = (row: AccountRow): Account => ({
  id: fromUuid('account', row.id),
  tenantId: row.tenant_id,
  currency: row.currency,
  code: row.code,
  nonNegative: row.non_negative,
  postedMinor: row.posted,
  pendingMinor: row.pending,
  reservedMinor: row.reserved,
  version: row.version,
  createdAt: row.created_at,
});
