import type { Json } from '../lib/canonical.ts';
import { fromUuid, idPrefixes, type Id, type IdKind } from '../lib/ids.ts';
import type { JournalEntry } from './entry.ts';

/** A row of `journal.entries` as JSON (`to_jsonb`), with its transfer left out. */
export type EntryRow = {
  tenant_id: number;
  id: string;
  kind: string;
  result: 'success' | 'refused';
  actor: string;
  origin: string | null;
  request_id: string | null;
  object_type: string | null;
  object_id: string | null;
  object_version: number | null;
  snapshot: Json;
  transfer_id: string | null;
  /** Hex with PostgreSQL's prefix `\x`. */
  hash: string;
  timestamp: string;
};

/** The entry of a row. Its transfer is not read: who verifies the hash adds it (`journal/verify.ts`). */
export const entryFromRow = (row: EntryRow): JournalEntry => ({
  id: fromUuid('journal_entry', row.id),
  tenantId: row.tenant_id,
  kind: row.kind,
  result: row.result,
  actor: row.actor,
  origin: row.origin ?? undefined,
  requestId: row.request_id ?? undefined,
  object: objectOf(row),
  snapshot: row.snapshot,
  transfer: undefined,
  timestamp: new Date(row.timestamp),
  hash: Buffer.from(row.hash.slice(2), 'hex'),
});

const objectOf = (row: EntryRow): JournalEntry['object'] => {
  if (row.object_type === null || row.object_id === null) return undefined;
  return {
    type: row.object_type,
    id: publicId(row.object_type, row.object_id),
    version: row.object_version ?? undefined,
  };
};

/** Object types are kinds of ids; a type that has none would be a bug of its writer. */
const publicId = (type: string, uuid: string): Id<IdKind> => {
  if (!(type in idPrefixes)) throw new Error(`no id prefix for objects of type ${type}`);
  return fromUuid(type as IdKind, uuid); // checked above
};
