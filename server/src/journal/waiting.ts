import { sql, type RawBuilder } from 'kysely';
import type { Db } from '../lib/database.ts';

/** A committed entry that has no position yet. */
export type WaitingEntry = { tenant_id: number; id: string; hash: Buffer; timestamp: Date };

type Row = WaitingEntry & { total: bigint };

/** What a look for new entries found and sealed. */
export type Sealed = {
  /** What the look saw: the next one goes on from it, once all that was waiting is sealed. */
  snapshot: string;
  /** The leaves of the entries that got their positions, in order. */
  leaves: Buffer[];
  /** How many were waiting; more than got their positions when there were more than `limit`. */
  waiting: number;
  /** When the oldest of them was made. */
  oldest: Date | undefined;
};

/**
 * Gives the entries that were committed since the snapshot `since` the positions from `start` on, in order, `limit` at most.
 *
 * New are those of transactions that ran then (`xip`) or began later (from `xmax` on), which the index on `xid` finds without
 * a look at what is sealed. So nobody who commits late is passed over, and a transaction that stays open holds up nobody.
 * All of it happens in one statement in the database, leaves included (as `entryLeaf` makes them): it takes half of what
 * reading the entries and sending their positions back would.
 */
export const sealWaiting = async (
  db: Db,
  { since, start, limit }: { since: string; start: bigint; limit: number },
): Promise<Sealed> => {
  const { rows } = await sql<{
    snapshot: string;
    leaves: Buffer | null;
    waiting: bigint;
    oldest: Date | null;
  }>`
    with now as materialized (
      select pg_current_snapshot() as snapshot
    ), waiting as materialized (
      select w.*, ${start}::bigint - 1 + row_number() over (order by w.turn, w.version, w.id) as position
      from (${waitingSince(since)} limit ${limit}) w
    ), sealed as (
      insert into journal.positions (position, tenant_id, entry_id, leaf)
      select position, tenant_id, id, sha256('\\x00'::bytea || int8send(position) || hash) from waiting order by position
      returning position, leaf
    )
    select n.snapshot::text as snapshot,
           (select string_agg(leaf, ''::bytea order by position) from sealed) as leaves,
           (select coalesce(max(total), 0) from waiting) as waiting,
           (select min(timestamp) from waiting) as oldest
    from now n
  `.execute(db);
  const { snapshot, leaves, waiting, oldest } = rows[0] ?? {
    snapshot: since,
    leaves: null,
    waiting: 0n,
    oldest: null,
  };
  return {
    snapshot,
    leaves: leaves ? cut(leaves) : [],
    waiting: Number(waiting),
    oldest: oldest ?? undefined,
  };
};

/** The hashes that stand behind each other. */
const cut = (hashes: Buffer): Buffer[] =>
  Array.from({ length: hashes.length / hashBytes }, (_, at) =>
    hashes.subarray(at * hashBytes, (at + 1) * hashBytes),
  );

const hashBytes = 32;

/**
 * All of them however many, page by page, each page sealed before the next is read. Without `since` it looks at every entry:
 * after the start of the log, or of a database that came from another cluster, whose transactions count anew.
 * @returns the snapshot of the look
 */
export const forEachWaiting = async (
  db: Db,
  since: string | undefined,
  pageSize: number,
  seal: (page: WaitingEntry[], left: number) => Promise<void>,
): Promise<string> => {
  await sql`begin isolation level repeatable read read only`.execute(db);
  // Everything against everything: hashing both is the way, where a few rows are better looked up.
  if (since === undefined) await sql`set local enable_hashjoin = on`.execute(db);
  if (since === undefined) await sql`set local enable_seqscan = on`.execute(db);
  await sql`declare waiting no scroll cursor with hold for ${waitingSince(since)}`.execute(db);
  const { rows } = await sql<{ snapshot: string }>`select pg_current_snapshot()::text as snapshot`.execute(
    db,
  );
  await sql`commit`.execute(db);
  for (let done = 0; ;) {
    const { rows: page } = await sql<Row>`fetch ${sql.lit(pageSize)} from waiting`.execute(db);
    done += page.length;
    if (page.length > 0) await seal(page, Number(page[0]?.total) - done);
    if (page.length < pageSize) break;
  }
  await sql`close waiting`.execute(db);
  return rows[0]?.snapshot ?? '';
};

/**
 * Ordered by transaction, except that an object's later version never comes before an earlier one: it may have been written
 * by a transaction that began earlier and waited for the object. `turn` is the latest transaction up to this version.
 * What counts in `positions` is there because a look may be repeated, and because transactions of another cluster, whose
 * entries were restored here, have numbers that come again.
 */
const waitingSince = (since: string | undefined): RawBuilder<Row> => sql<Row>`
  select e.tenant_id, e.id, e.hash, e.timestamp, count(*) over () as total, coalesce(e.object_version, 0) as version,
         max(e.xid::text::bigint) over (
           partition by case when e.object_version is null then e.id else e.object_id end
           order by e.object_version rows unbounded preceding
         ) as turn
  from journal.entries e
  where ${since === undefined ? sql`true` : isNewSince(since)}
    and not exists (select from journal.positions p where p.entry_id = e.id)
  order by turn, version, id
`;

const isNewSince = (since: string): RawBuilder<unknown> => sql`(
  e.xid = any(array(select pg_snapshot_xip(${sql.lit(since)}::pg_snapshot)))
  or (e.xid >= pg_snapshot_xmax(${sql.lit(since)}::pg_snapshot) and e.xid < pg_snapshot_xmax(pg_current_snapshot()))
)`;
