import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';
import { fromUuid } from '../lib/ids.ts';
import { entryHash, type ReadTransfers, type TransferRecord } from './entry.ts';
import { findNewestHead } from './heads.ts';
import { entryFromRow, type EntryRow } from './row.ts';
import { verifyHeads } from './verify-heads.ts';
import { verifyLog, type LogOptions } from './verify-log.ts';

export type VerifyOptions = LogOptions;

/** How many entries are read at once. */
const pageSize = 1_000;

/**
 * Recomputes the hash of every journal entry, with its transfer as the ledger has it now; the positions, tree and signed
 * heads over them; and looks for gaps in the versions of objects.
 */
export const verifyJournal = async (
  db: Db,
  readTransfers: ReadTransfers,
  options: VerifyOptions = {},
): Promise<Finding[]> => [
  ...(await verifyLog(db, (rows) => firstWrongHash(rows, readTransfers), options)),
  ...(await verifyHeads(db, options)),
  await nothingWasLeftOut(db),
  await waitingHashesMatch(db, readTransfers),
  await versionsHaveNoGaps(db),
];

/** Entries that wait for their position, which the log does not cover yet. */
const waitingHashesMatch = async (db: Db, readTransfers: ReadTransfers): Promise<Finding> => {
  const check = 'every journal entry that waits to be sealed has the hash of its content and transfer';
  let looked = 0;
  let after = { tenant_id: -1, id: '00000000-0000-0000-0000-000000000000' };
  for (;;) {
    const { rows } = await sql<{ entry: EntryRow }>`
      select to_jsonb(e) as entry from journal.entries e
      where (e.tenant_id, e.id) > (${after.tenant_id}, ${after.id}::uuid)
        and not exists (select from journal.positions p where p.entry_id = e.id)
      order by e.tenant_id, e.id limit ${pageSize}
    `.execute(db);
    const entries = rows.map(({ entry }) => entry);
    const last = entries.at(-1);
    if (!last) return { check, looked, difference: undefined };
    const difference = await firstWrongHash(entries, readTransfers);
    if (difference) return { check, looked, difference };
    looked += entries.length;
    after = last;
  }
};

const firstWrongHash = async (
  rows: readonly EntryRow[],
  readTransfers: ReadTransfers,
): Promise<string | undefined> => {
  const ids = rows.flatMap((row) =>
    row.transfer_id === null ? [] : [fromUuid('transfer', row.transfer_id)],
  );
  const transfers = await readTransfers(ids);
  for (const row of rows) {
    const id = fromUuid('journal_entry', row.id);
    const transferId = row.transfer_id === null ? undefined : fromUuid('transfer', row.transfer_id);
    const transfer = transferId && transfers.get(transferId);
    if (transferId && !transfer) return `${id}: its transfer ${transferId} is missing`;
    if (!hashMatches(row, transfer))
      return `${id} (${row.kind}): it or its transfer was changed after it was written`;
  }
  return undefined;
};

const hashMatches = (row: EntryRow, transfer: TransferRecord | undefined): boolean => {
  try {
    const entry = entryFromRow(row);
    return isInMilliseconds(row) && entryHash({ ...entry, transfer }).equals(entry.hash);
  } catch {
    // No writer makes what can't be read.
    return false;
  }
};

/** PostgreSQL keeps microseconds, of which the hash knows nothing: no writer makes any. */
const isInMilliseconds = ({ timestamp }: EntryRow): boolean => !/\.\d{4}/.test(timestamp);

/** What the newest head's snapshot sees was sealed then. A database that came from another cluster has no such head at first. */
const nothingWasLeftOut = async (db: Db): Promise<Finding> => {
  const head = await findNewestHead(db);
  const { rows } = await sql<{ cluster: bigint }>`
    select system_identifier as cluster from pg_control_system()
  `.execute(db);
  const snapshot = head && head.cluster === rows[0]?.cluster ? head.snapshot : undefined;
  return firstDifference(
    db,
    'no entry is without its position that was there when the last head was signed',
    snapshot === undefined ? sql`(select where false) none` : sql`journal.entries`,
    sql`
      select 'journal_entry' as kind, e.id, e.kind || ' has no position: it or its position was changed by hand' as found
      from journal.entries e
      where ${snapshot === undefined ? sql`false` : sql`pg_visible_in_snapshot(e.xid, ${snapshot}::pg_snapshot)`}
        and not exists (select from journal.positions p where p.entry_id = e.id)
    `,
  );
};

const versionsHaveNoGaps = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'versions of every object count from 1 without gaps',
    sql`(select distinct object_id from journal.entries where object_version is not null) objects`,
    sql`
      select object_type as kind, object_id as id, count(*) || ' entries for ' || max(object_version) || ' versions' as found
      from journal.entries
      where object_version is not null
      group by object_type, object_id
      having count(*) <> max(object_version) or min(object_version) <> 1
    `,
  );
