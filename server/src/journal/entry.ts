import { canonicalHash, type Json, type JsonObject } from '../lib/canonical.ts';
import type { Context } from '../lib/caller.ts';
import {
  bytesColumn,
  integerColumn,
  jsonColumn,
  textColumn,
  timeColumn,
  uuidColumn,
  type Column,
} from '../lib/columns.ts';
import { newId, type Id, type IdKind } from '../lib/ids.ts';

/** One side of a transfer as the hash of its journal entry covers it. */
export type TransferRecord = {
  id: Id<'transfer'>;
  kind: string;
  postings: readonly { accountId: Id<'account'>; amountMinor: bigint }[];
};

/** A transfer as the ledger stores it now. Handed in, since the ledger is above the journal. */
export type ReadTransfers = (ids: readonly Id<'transfer'>[]) => Promise<Map<Id<'transfer'>, TransferRecord>>;

/** What changed: the object after the change, its version counted from 1 without gaps. */
export type ChangedObject = { type: string; id: Id<IdKind>; version: number };

/** A change, or a refusal (`result: 'refused'`, whose object kept its version). */
export type Change = {
  kind: string;
  result?: 'success' | 'refused';
  object?: ChangedObject | { type: string; id: Id<IdKind>; version?: undefined } | undefined;
  /** The object's public form: ids instead of personal data, no secret. */
  snapshot: Json;
  transfer?: TransferRecord | undefined;
};

/** A journal entry, complete with its hash, before or after it was stored. */
export type JournalEntry = {
  id: Id<'journal_entry'>;
  tenantId: number;
  kind: string;
  result: 'success' | 'refused';
  actor: string;
  origin: string | undefined;
  requestId: string | undefined;
  object: { type: string; id: Id<IdKind>; version: number | undefined } | undefined;
  snapshot: Json;
  transfer: TransferRecord | undefined;
  timestamp: Date;
  hash: Buffer;
};

/** Makes the entry of a change and its hash. The store only keeps it. */
export const makeEntry = (context: Context, change: Change): JournalEntry => {
  const entry = {
    id: newId('journal_entry'),
    tenantId: context.tenantId,
    kind: change.kind,
    result: change.result ?? 'success',
    actor: context.actor,
    origin: context.origin,
    requestId: context.requestId,
    object: change.object && { ...change.object, version: change.object.version },
    snapshot: change.snapshot,
    transfer: change.transfer,
    timestamp: context.now,
  };
  return { ...entry, hash: entryHash(entry) };
};

/**
 * SHA-256 over the RFC 8785 canonical JSON of an entry with its transfer. Running balances are not covered:
 * they follow from the order of transfers, which `ledger.verify` recomputes.
 */
export const entryHash = (entry: Omit<JournalEntry, 'hash'>): Buffer => canonicalHash(entryContent(entry));

/** What the hash of an entry covers: whoever has it can compute the hash, see docs/journal.md. */
export const entryContent = (entry: Omit<JournalEntry, 'hash'>): JsonObject => ({
  id: entry.id,
  tenant: entry.tenantId,
  kind: entry.kind,
  result: entry.result,
  actor: entry.actor,
  origin: entry.origin ?? null,
  request_id: entry.requestId ?? null,
  object: entry.object
    ? { type: entry.object.type, id: entry.object.id, version: entry.object.version ?? null }
    : null,
  snapshot: entry.snapshot,
  transfer: entry.transfer ? transferJson(entry.transfer) : null,
  timestamp: entry.timestamp.toISOString(),
});

/** The parameters of `journal.append`. */
export const entryColumns = (entries: readonly JournalEntry[]): Column[] => [
  integerColumn(entries.map(({ tenantId }) => tenantId)),
  uuidColumn(entries.map(({ id }) => id)),
  textColumn(entries.map(({ kind }) => kind)),
  textColumn(entries.map(({ result }) => result)),
  textColumn(entries.map(({ actor }) => actor)),
  textColumn(entries.map(({ origin }) => origin)),
  textColumn(entries.map(({ requestId }) => requestId)),
  textColumn(entries.map(({ object }) => object?.type)),
  uuidColumn(entries.map(({ object }) => object?.id)),
  integerColumn(entries.map(({ object }) => object?.version)),
  jsonColumn(entries.map(({ snapshot }) => JSON.stringify(snapshot))),
  uuidColumn(entries.map(({ transfer }) => transfer?.id)),
  bytesColumn(entries.map(({ hash }) => hash)),
  timeColumn(entries.map(({ timestamp }) => timestamp)),
];

/** Postings in the order of their accounts, so that the order in which they were written does not matter. */
const transferJson = (transfer: TransferRecord): Json => ({
  id: transfer.id,
  kind: transfer.kind,
  postings: transfer.postings
    .map((posting) => ({ account: posting.accountId, amount: posting.amountMinor.toString() }))
    .sort((a, b) => (a.account < b.account ? -1 : 1)),
});
