import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';
import { fromUuid, type Id } from '../lib/ids.ts';
import { entryHash, type TransferRecord } from './entry.ts';
import { entryFromRow, type EntryRow } from './row.ts';

/** A transfer as the ledger stores it, for the hash of its journal entry. */
export type ReadTransfers = (ids: readonly Id<'transfer'>[]) => Promise<Map<Id<'transfer'>, TransferRecord>>;

/** How many entries are read at once. */
const pageSize = 1_000;

/**
 * Recomputes the hash of every journal entry, with its transfer as the ledger has it now, and looks for gaps in the
 * versions of objects.
 */
export const verifyJournal = async (db: Db, readTransfers: ReadTransfers): Promise<Finding[]> => [
  await hashesMatch(db, readTransfers),
  await versionsHaveNoGaps(db),
];

const hashesMatch = async (db: Db, readTransfers: ReadTransfers): Promise<Finding> => {
  const check = 'every journal entry has the hash of its content and transfer';
  let looked = 0;
  let after = { tenant_id: -1, id: '00000000-0000-0000-0000-000000000000' };
  for (;;) {
    const { rows } = await sql<{ entry: EntryRow }>`
      select to_jsonb(e) as entry from journal.entries e
      where (e.tenant_id, e.id) > (${after.tenant_id}, ${after.id}::uuid)
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
    const entry = entryFromRow(row);
    const id = row.transfer_id === null ? undefined : fromUuid('transfer', row.transfer_id);
    const transfer = id && transfers.get(id);
    if (id && !transfer) return `${entry.id}: its transfer ${id} is missing`;
    if (!entryHash({ ...entry, transfer }).equals(entry.hash)) {
      return `${entry.id} (${entry.kind}): it or its transfer was changed after it was written`;
    }
  }
  return undefined;
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
