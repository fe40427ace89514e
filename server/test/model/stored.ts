import { sql } from 'kysely';
import type { Db } from '../../src/lib/database.ts';
import { fromUuid } from '../../src/lib/ids.ts';
import { findTenantSettings } from '../../src/vendors/vendors.ts';
import type { Account, Terms } from './books.ts';

/** The public form of a payment or refund, as far as the model reads it. */
export type Snapshot = Readonly<Record<string, unknown>> & { id: string; status: string; version: number };

/** A posting as the ledger wrote it: the how-manieth entry of its account. */
export type StoredPosting = { accountId: string; version: bigint; amount: bigint };

export type StoredTransfer = { id: string; xid: bigint; kind: string; postings: StoredPosting[] };

/** One journal entry of a change, with its transfer. `xid` is the database transaction that wrote it. */
export type StoredChange = {
  xid: bigint;
  id: string;
  tenantId: number;
  kind: string;
  type: string;
  version: number;
  snapshot: Snapshot;
  transfer: StoredTransfer | undefined;
};

export type StoredAccount = Account & { id: string; tenantId: number; currency: string; code: string };

export type StoredKey = {
  xid: bigint;
  tenantId: number;
  operation: string;
  key: string;
  status: number;
  /** The journal entry that answers, or the code of the refusal. */
  entryId: string | null;
  refusal: string | null;
  isOpen: boolean;
};

/** Payments and refunds as their tables have them now, by public id. */
export type StoredObject = {
  tenantId: number;
  state: string;
  version: number;
  amount: bigint;
  captured: bigint | null;
  refunded: bigint | null;
  /** The key of the request that made it, where the client wrote it there: the reference, or the reason. */
  mark: string | null;
};

export type Stored = {
  accounts: ReadonlyMap<string, StoredAccount>;
  changes: readonly StoredChange[];
  objects: ReadonlyMap<string, StoredObject>;
  keys: readonly StoredKey[];
  /** Of every tenant that has accounts or changes. */
  terms: ReadonlyMap<number, Terms>;
};

/** Everything that the model looks at, read in one snapshot of the database. */
export const readStored = (db: Db, terms: ReadonlyMap<number, Terms> = new Map()): Promise<Stored> =>
  db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (tx) => {
      const accounts = await readAccounts(tx);
      const changes = await readChanges(tx);
      const tenants = new Set([...accounts.values(), ...changes].map(({ tenantId }) => tenantId));
      const known = new Map(terms);
      for (const tenantId of tenants) {
        const settings = known.has(tenantId) ? undefined : await findTenantSettings(tx, tenantId);
        if (settings)
          known.set(tenantId, { ...settings, feeFixed: Object.fromEntries(settings.feeFixedMinor) });
      }
      return { accounts, changes, objects: await readObjects(tx), keys: await readKeys(tx), terms: known };
    });

const readAccounts = async (db: Db): Promise<Map<string, StoredAccount>> => {
  const { rows } = await sql<StoredAccount & { tenant_id: number; version: bigint }>`
    select id, tenant_id, currency, code, posted, pending, reserved, version from ledger.accounts
  `.execute(db);
  return new Map(
    rows.map((row) => [row.id, { ...row, tenantId: row.tenant_id, entries: row.version }] as const),
  );
};

const readTransfers = async (db: Db): Promise<Map<string, StoredTransfer>> => {
  const { rows } = await sql<{
    id: string;
    xid: bigint;
    kind: string;
    account_id: string;
    version: bigint;
    amount: bigint;
  }>`
    select t.id, t.xmin::text::bigint as xid, t.kind, e.account_id, e.version, e.amount
    from ledger.transfers t join ledger.entries e on e.transfer_id = t.id
  `.execute(db);
  const transfers = new Map<string, StoredTransfer>();
  for (const { id, xid, kind, account_id: accountId, version, amount } of rows) {
    const transfer = transfers.get(id) ?? { id, xid, kind, postings: [] };
    transfer.postings.push({ accountId, version, amount });
    transfers.set(id, transfer);
  }
  return transfers;
};

const readChanges = async (db: Db): Promise<StoredChange[]> => {
  const transfers = await readTransfers(db);
  const { rows } = await sql<{
    xid: bigint;
    id: string;
    tenant_id: number;
    kind: string;
    object_type: string;
    object_id: string;
    object_version: number;
    snapshot: Snapshot;
    transfer_id: string | null;
  }>`
    select xmin::text::bigint as xid, id, tenant_id, kind, object_type, object_id, object_version, snapshot, transfer_id
    from journal.entries
    where result = 'success' and object_version is not null
      and (object_type in ('payment', 'refund', 'transfer') or kind = 'reconciliation.corrected')
  `.execute(db);
  return rows.map((row) => ({
    xid: row.xid,
    id: row.id,
    tenantId: row.tenant_id,
    kind: row.kind,
    // What corrects a reconciliation is a transfer to the books, whatever it is called for.
    type: row.object_type === 'reconciliation' ? 'transfer' : row.object_type,
    version: row.object_version,
    // Such a transfer shows nothing of itself. Its payment stays as it is, so it takes no part in the order of its changes.
    snapshot: /^(payment|refund)$/.test(row.object_type)
      ? row.snapshot
      : { status: '', version: row.object_version, id: row.id },
    transfer: row.transfer_id === null ? undefined : transfers.get(row.transfer_id),
  }));
};

const readObjects = async (db: Db): Promise<Map<string, StoredObject>> => {
  const { rows } = await sql<
    Omit<StoredObject, 'tenantId'> & { type: 'payment' | 'refund'; id: string; tenant_id: number }
  >`
    select 'payment' as type, id, tenant_id, state, version, amount, captured, refunded, reference as mark
    from payments.payments
    union all
    select 'refund', id, tenant_id, state, version, amount, null, null, reason from payments.refunds
  `.execute(db);
  return new Map(
    rows.map(
      ({ type, id, tenant_id: tenantId, ...row }) => [fromUuid(type, id), { ...row, tenantId }] as const,
    ),
  );
};

const readKeys = async (db: Db): Promise<StoredKey[]> => {
  const { rows } = await sql<
    Omit<StoredKey, 'tenantId' | 'entryId' | 'isOpen'> & {
      tenant_id: number;
      entry_id: string | null;
      is_open: boolean;
    }
  >`
    select xmin::text::bigint as xid, tenant_id, operation, key, status, entry_id, refusal ->> 'code' as refusal,
           open_until is not null as is_open
    from journal.idempotency_keys where operation like 'payments.%'
  `.execute(db);
  return rows.map(({ tenant_id: tenantId, entry_id: entryId, is_open: isOpen, ...row }) => ({
    ...row,
    tenantId,
    entryId,
    isOpen,
  }));
};
