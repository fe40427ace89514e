import { sql, type RawBuilder } from 'kysely';
import type { Mode } from '../lib/caller.ts';
import type { Json } from '../lib/canonical.ts';
import type { Db, Tx } from '../lib/database.ts';
import { fromUuid, toUuid, type Id, type IdKind } from '../lib/ids.ts';
import { everyEvent } from './catalogue.ts';
import type { EventRecord } from './events.ts';

type EventRow = {
  position: bigint;
  tenant_id: number;
  id: string;
  type: string;
  mode: Mode;
  object_type: IdKind | null;
  object_id: string | null;
  sequence: number | null;
  data: Json;
  created_at: Date;
};

export type Order = 'asc' | 'desc';

export type EventFilter = {
  /** `*`, `payment.*`, `payment.succeeded`. */
  type: string | undefined;
  objectId: Id<IdKind> | undefined;
  /** At this time or later: the time before which events are hidden, at least. */
  since: Date;
  before: Date | undefined;
};

/** Positions from `first` on and below `end`; of `asc` the lowest come first, of `desc` the highest. */
export type Range = { first: bigint; end: bigint | undefined; order: Order };

/** One page of a list, and where it goes on. */
export type EventPage = { events: EventRecord[]; hasMore: boolean; next: bigint };

/** A page looks at so many positions at most: one that seeks something rare ends early, and says where to go on. */
const scanMax = 2_000;

/** An entry's time and its place disagree by less than this: what was committed late, or by a clock that is off. */
const disorderMs = 3_600_000;

/**
 * The places between which a tenant's events of a time are, wide enough for those that are not in the order of time.
 * @returns undefined as the end where there is none
 */
export const boundsOf = async (
  db: Db,
  tenantId: number,
  { since, before }: Pick<EventFilter, 'since' | 'before'>,
): Promise<{ first: bigint; end: bigint | undefined }> => {
  const from = new Date(since.getTime() - disorderMs);
  const until = before && new Date(before.getTime() + disorderMs);
  const { rows } = await sql<{ first: bigint; end: bigint | null }>`
    select events.position_at(${tenantId}, ${from}) as first,
           ${until ? sql`events.position_at(${tenantId}, ${until})` : sql`null::bigint`} as "end"
  `.execute(db);
  return { first: rows[0]?.first ?? 0n, end: rows[0]?.end ?? undefined };
};

/** A tenant's events in a range of places. `next` is the place to go on at: in `asc` the first, in `desc` the end of it. */
export const listEvents = async (
  db: Db,
  tenantId: number,
  filter: EventFilter,
  { range, limit }: { range: Range; limit: number },
): Promise<EventPage> => {
  // The places first, then what is there: what is sealed in between comes behind them.
  const scanned = filter.objectId === undefined ? await scan(db, tenantId, range) : undefined;
  const within = scanned ? { ...range, ...scanned } : range;
  const rows = await select(db, tenantId, filter, { range: within, limit: limit + 1 });
  const events = rows.slice(0, limit).map(eventOf);
  const last = events.at(-1)?.position;
  const behind = (position: bigint): bigint => (range.order === 'asc' ? position + 1n : position);
  if (rows.length > limit && last !== undefined) return { events, hasMore: true, next: behind(last) };
  if (scanned) {
    const end = range.order === 'asc' ? scanned.end : scanned.first;
    return { events, hasMore: scanned.isCut, next: end };
  }
  return { events, hasMore: false, next: last === undefined ? range.first : behind(last) };
};

/** Which places of a tenant a page looks at, and whether there are more behind them. */
const scan = async (
  db: Db,
  tenantId: number,
  { first, end, order }: Range,
): Promise<{ first: bigint; end: bigint; isCut: boolean }> => {
  const { rows } = await sql<{ lowest: bigint | null; highest: bigint | null; count: bigint }>`
    select min(position) as lowest, max(position) as highest, count(*) as count
    from (select position from journal.positions
          where tenant_id = ${tenantId} and ${between(sql`position`, { first, end })}
          order by position ${sql.raw(order)} limit ${scanMax}) as places
  `.execute(db);
  const { lowest, highest, count } = rows[0] ?? { lowest: null, highest: null, count: 0n };
  if (lowest === null || highest === null) return { first, end: first, isCut: false };
  return { first: lowest, end: highest + 1n, isCut: Number(count) === scanMax };
};

const between = (position: RawBuilder<unknown>, { first, end }: Omit<Range, 'order'>): RawBuilder<unknown> =>
  end === undefined ? sql`${position} >= ${first}` : sql`${position} >= ${first} and ${position} < ${end}`;

const select = async (
  db: Db,
  tenantId: number,
  { type, objectId, since, before }: EventFilter,
  { range, limit }: { range: Range; limit: number },
): Promise<EventRow[]> => {
  const conditions = [
    sql`e.tenant_id = ${tenantId}`,
    between(sql`e.position`, range),
    sql`e.created_at >= ${since}`,
    ...(before ? [sql`e.created_at < ${before}`] : []),
    ...(type === undefined || type === everyEvent ? [] : [ofType(type)]),
    // Said in this way it is found by the index on objects and their versions.
    ...(objectId ? [sql`e.object_id = ${toUuid(objectId)} and e.sequence is not null`] : []),
  ];
  const { rows } = await sql<EventRow>`
    select e.* from events.events e where ${sql.join(conditions, sql` and `)}
    order by e.position ${sql.raw(range.order)} limit ${limit}
  `.execute(db);
  return rows;
};

const ofType = (pattern: string): RawBuilder<unknown> =>
  pattern.endsWith('.*')
    ? sql`split_part(e.type, '.', 1) = ${pattern.slice(0, -'.*'.length)}`
    : sql`e.type = ${pattern}`;

/** The place of the first event that is yet to come. */
export const endOfEvents = async (db: Db): Promise<bigint> => {
  const { rows } = await sql<{ next: bigint }>`
    select coalesce(max(position) + 1, 0) as next from journal.positions
  `.execute(db);
  return rows[0]?.next ?? 0n;
};

/** Where the events of these tenants since a time begin, or of all tenants: the place to follow them from. */
export const startOfEvents = async (
  db: Db,
  since: Date,
  tenantIds: readonly number[] | undefined,
): Promise<bigint> => {
  const from = new Date(since.getTime() - disorderMs);
  const chosen = tenantIds ? sql`id = any(${tenantIds}::integer[])` : sql`true`;
  const { rows } = await sql<{ first: bigint | null }>`
    select min(first) as first
    from (select events.position_at(id, ${from}) as first, id from vendors.tenants where ${chosen}) t
    where exists (select from journal.positions p where p.tenant_id = t.id and p.position >= t.first)
  `.execute(db);
  return rows[0]?.first ?? endOfEvents(db);
};

type Followed = {
  tenantIds: readonly number[] | undefined;
  type: string | undefined;
  since: Date | undefined;
};

/** The events from a place on, of these tenants or of all: some of them, and the place to go on at; the same one at the end. */
export const followEvents = async (
  db: Db,
  { tenantIds, type, since }: Followed,
  first: bigint,
): Promise<{ events: EventRecord[]; next: bigint }> => {
  const last = await endOfEvents(db);
  const end = last - first > scanMax ? first + BigInt(scanMax) : last;
  if (end <= first) return { events: [], next: first };
  const conditions = [
    between(sql`e.position`, { first, end }),
    ...(tenantIds ? [sql`e.tenant_id = any(${tenantIds}::integer[])`] : []),
    ...(since ? [sql`e.created_at >= ${since}`] : []),
    ...(type === undefined || type === everyEvent ? [] : [ofType(type)]),
  ];
  const { rows } = await sql<EventRow>`
    select e.* from events.events e where ${sql.join(conditions, sql` and `)} order by e.position
  `.execute(db);
  return { events: rows.map(eventOf), next: end };
};

/** The event of a tenant, unless it is older than `since`. */
export const findEvent = async (
  db: Db,
  { tenantId, id, since }: { tenantId: number; id: Id<'journal_entry'>; since: Date },
): Promise<EventRecord | undefined> => {
  const { rows } = await sql<EventRow>`
    select * from events.events where tenant_id = ${tenantId} and id = ${toUuid(id)} and created_at >= ${since}
  `.execute(db);
  return rows[0] && eventOf(rows[0]);
};

/** The events at these places, of whatever tenants, in order. */
export const selectAt = async (db: Db | Tx, positions: readonly bigint[]): Promise<EventRecord[]> => {
  if (positions.length === 0) return [];
  const { rows } = await sql<EventRow>`
    select * from events.at_positions(${positions}::bigint[])
  `.execute(db);
  return rows.map(eventOf);
};

const eventOf = (row: EventRow): EventRecord => ({
  position: row.position,
  tenantId: row.tenant_id,
  id: fromUuid('journal_entry', row.id),
  type: row.type,
  mode: row.mode,
  object:
    row.object_type === null || row.object_id === null
      ? null
      : { type: row.object_type, id: fromUuid(row.object_type, row.object_id) },
  sequence: row.sequence,
  data: row.data,
  createdAt: row.created_at,
});
