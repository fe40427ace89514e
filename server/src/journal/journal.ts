import assert from 'node:assert/strict';
import { sql } from 'kysely';
import type { Context } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { currentDryRun, noteWritten } from '../lib/dry-run.ts';
import { fromUuid, toUuid, type Id, type IdKind } from '../lib/ids.ts';
import type { Json } from '../lib/canonical.ts';
import { entryColumns, makeEntry, type Change, type JournalEntry } from './entry.ts';
import { entryFromRow, type EntryRow } from './row.ts';

/** Writes the entry of one change; call it in the transaction that makes the change. */
export const append = async (tx: Tx, context: Context, change: Change): Promise<JournalEntry> => {
  const entry = makeEntry(context, change);
  await appendEntries(tx, [entry]);
  return entry;
};

/** Writes entries that `makeEntry` made. */
export const appendEntries = async (db: Db | Tx, entries: readonly JournalEntry[]): Promise<void> => {
  await sql`select journal.append(${sql.join(entryColumns(entries))})`.execute(db);
  for (const { tenantId, id } of entries) noteWritten({ what: 'entry', tenantId, id });
};

/** The entry that an object's present version was written with. */
export const getEntryOf = async (
  db: Db | Tx,
  object: { tenantId: number; id: Id<IdKind>; version: number },
): Promise<JournalEntry> => {
  const { rows } = await sql<{ entry: EntryRow }>`
    select to_jsonb(e) as entry from journal.entries e
    where e.object_id = ${toUuid(object.id)} and e.object_version = ${object.version} and e.tenant_id = ${object.tenantId}
  `.execute(db);
  assert(rows[0], `${object.id} has no journal entry for version ${object.version}`);
  return entryFromRow(rows[0].entry);
};

/** An entry by its id. Whoever asks has read the id from a row that was written with the entry, so a miss is a bug. */
export const getEntry = async (
  db: Db | Tx,
  { tenantId, id }: { tenantId: number; id: Id<'journal_entry'> },
): Promise<JournalEntry> => {
  const { rows } = await sql<{ entry: EntryRow }>`
    select to_jsonb(e) as entry from journal.entries e where e.tenant_id = ${tenantId} and e.id = ${toUuid(id)}
  `.execute(db);
  assert(rows[0], `the journal entry ${id} is missing`);
  return entryFromRow(rows[0].entry);
};

/** Those of these entries that are stored, in the order asked for, each with the id of the transfer it tells about. */
export const listEntries = async (
  db: Db | Tx,
  keys: readonly { tenantId: number; id: Id<'journal_entry'> }[],
): Promise<(JournalEntry & { transferId: Id<'transfer'> | undefined })[]> => {
  const { rows } = await sql<{ entry: EntryRow }>`
    select to_jsonb(e) as entry
    from unnest(${keys.map(({ tenantId }) => tenantId)}::integer[], ${keys.map(({ id }) => toUuid(id))}::uuid[])
         with ordinality as k(tenant_id, id, place)
    join journal.entries e using (tenant_id, id)
    order by k.place
  `.execute(db);
  return rows.map(({ entry }) => ({
    ...entryFromRow(entry),
    transferId: entry.transfer_id === null ? undefined : fromUuid('transfer', entry.transfer_id),
  }));
};

/** How many refusals of one kind by one caller are kept a minute; a flood of bad requests must not fill the log. */
const refusalsPerMinute = 30;

type Refusal = { kind: string; object?: { type: string; id: Id<IdKind> } | undefined; snapshot: Json };

/**
 * Records a security event or refused money (failed authentication, denied access, insufficient funds).
 * It commits by itself, because what it tells about was rolled back. Bounded per caller, kind and minute:
 * gives false when the bound dropped it, and in a dry run: nobody asked for money then.
 */
export const appendRefusal = async (db: Db, context: Context, refusal: Refusal): Promise<boolean> => {
  if (currentDryRun() || !withinBound(context, refusal.kind)) return false;
  await appendEntries(db, [makeEntry(context, { ...refusal, result: 'refused' })]);
  return true;
};

const counted = new Map<string, number>();
let countedMinute = 0;

const withinBound = (context: Context, kind: string): boolean => {
  const minute = Math.floor(context.now.getTime() / 60_000);
  if (minute !== countedMinute) {
    counted.clear();
    countedMinute = minute;
  }
  const caller = `${context.tenantId} ${context.actor} ${context.origin} ${kind}`;
  // The map itself is bounded too: in a flood from many addresses the late ones share one count.
  const counter = counted.size < 10_000 || counted.has(caller) ? caller : 'everybody else';
  const count = (counted.get(counter) ?? 0) + 1;
  counted.set(counter, count);
  return count <= refusalsPerMinute;
};
