import assert from 'node:assert/strict';
import { sql } from 'kysely';
import type { Context } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { toUuid, type Id, type IdKind } from '../lib/ids.ts';
import type { Json } from '../lib/canonical.ts';
import { entryRow, makeEntry, type Change, type JournalEntry } from './entry.ts';
import { entryFromRow, type EntryRow } from './row.ts';

/** Writes the entry of one change; call it in the transaction that makes the change. */
export const append = async (tx: Tx, context: Context, change: Change): Promise<JournalEntry> => {
  const entry = makeEntry(context, change);
  await appendEntries(tx, [entry]);
  return entry;
};

/** Writes entries that `makeEntry` made. */
export const appendEntries = async (db: Db | Tx, entries: readonly JournalEntry[]): Promise<void> => {
  await sql`select journal.append(${JSON.stringify(entries.map(entryRow))}::jsonb)`.execute(db);
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

/** How many refusals of one kind by one caller are kept a minute; a flood of bad requests must not fill the log. */
const refusalsPerMinute = 30;

type Refusal = { kind: string; object?: { type: string; id: Id<IdKind> } | undefined; snapshot: Json };

/**
 * Records a security event or refused money (failed authentication, denied access, insufficient funds).
 * It commits by itself, because what it tells about was rolled back. Bounded per caller, kind and minute:
 * gives false when the bound dropped it.
 */
export const appendRefusal = async (db: Db, context: Context, refusal: Refusal): Promise<boolean> => {
  if (!withinBound(context, refusal.kind)) return false;
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
