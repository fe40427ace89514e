import { sql } from 'kysely';
import type { Db, Tx } from '../lib/database.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import type { Match } from './queue-store.ts';

type EndpointId = Id<'webhook_endpoint'>;

/** A request to tell an endpoint again what happened in a range of time. */
export type Replay = {
  tenantId: number;
  endpointId: EndpointId;
  /** Counts those of the endpoint, from 1. */
  number: number;
  from: Date;
  before: Date;
  events: readonly string[];
  /** Where it goes on, and the end of it: places of the journal. */
  position: bigint;
  endPosition: bigint;
  /** Deliveries made. */
  found: number;
  state: 'running' | 'done' | 'canceled';
  createdAt: Date;
  endedAt: Date | null;
};

type ReplayRow = {
  tenant_id: number;
  endpoint_id: string;
  number: number;
  from_at: Date;
  before_at: Date;
  events: string[];
  position: bigint;
  end_position: bigint;
  found: number;
  state: Replay['state'];
  created_at: Date;
  ended_at: Date | null;
};

export type NewReplay = Pick<Replay, 'tenantId' | 'endpointId' | 'from' | 'before' | 'events' | 'createdAt'>;

/** An entry's time and its place disagree by less than this: what was committed late, or by a clock that is off. */
const disorderMs = 3_600_000;

/** Inserts a replay of what has its place by now; the caller has locked the endpoint. */
export const insertReplay = async (tx: Tx, replay: NewReplay): Promise<Replay> => {
  const { rows } = await sql<ReplayRow>`
    insert into webhooks.replays (tenant_id, endpoint_id, number, from_at, before_at, events, position, end_position, state,
                                  created_at)
    values (${replay.tenantId}, ${toUuid(replay.endpointId)},
            (select coalesce(max(number), 0) + 1 from webhooks.replays where endpoint_id = ${toUuid(replay.endpointId)}),
            ${replay.from}, ${replay.before}, ${replay.events}::text[],
            events.position_at(${replay.tenantId}, ${new Date(replay.from.getTime() - disorderMs)}),
            (select coalesce(max(position) + 1, 0) from journal.positions), 'running', ${replay.createdAt})
    returning *
  `.execute(tx);
  const [row] = rows;
  if (!row) throw new Error('a replay was not written');
  return replayOf(row);
};

export const findRunningReplay = async (tx: Tx, endpointId: EndpointId): Promise<Replay | undefined> => {
  const { rows } = await sql<ReplayRow>`
    select * from webhooks.replays where endpoint_id = ${toUuid(endpointId)} and state = 'running'
  `.execute(tx);
  return rows[0] && replayOf(rows[0]);
};

/** Replays of an endpoint, the newest first, those before the number `before`. */
export const listReplays = async (
  db: Db,
  { tenantId, endpointId }: Pick<Replay, 'tenantId' | 'endpointId'>,
  { before, limit }: { before: number | undefined; limit: number },
): Promise<Replay[]> => {
  const { rows } = await sql<ReplayRow>`
    select * from webhooks.replays
    where tenant_id = ${tenantId} and endpoint_id = ${toUuid(endpointId)}
      and ${before === undefined ? sql`true` : sql`number < ${before}`}
    order by number desc limit ${limit}
  `.execute(db);
  return rows.map(replayOf);
};

/** Running replays that come after an endpoint, in the order of endpoints, with the state of that and how much is queued for it. */
export const nextReplay = async (
  db: Db,
  { after, countMax }: { after: EndpointId | undefined; countMax: number },
): Promise<{ replay: Replay; endpointState: string; queued: number } | undefined> => {
  const { rows } = await sql<ReplayRow & { endpoint_state: string; queued: number }>`
    select r.*, w.state as endpoint_state,
           (select count(*) from (select from webhooks.deliveries d
                                  where d.endpoint_id = r.endpoint_id and d.state = 'pending' and not d.waiting
                                  limit ${countMax}) q)::integer as queued
    from webhooks.replays r
    join webhooks.endpoints w on w.tenant_id = r.tenant_id and w.id = r.endpoint_id
    where r.state = 'running' and ${after === undefined ? sql`true` : sql`r.endpoint_id > ${toUuid(after)}`}
    order by r.endpoint_id limit 1
  `.execute(db);
  const [row] = rows;
  return row && { replay: replayOf(row), endpointState: row.endpoint_state, queued: row.queued };
};

type MatchRow = {
  position: bigint;
  id: string;
  type: string;
  object_id: string | null;
  ordered: boolean;
  created_at: Date;
};

/** What is to be told again at the next places of a replay's tenant, and where it goes on; undefined at the end. */
export const matchesOf = async (
  tx: Tx,
  { tenantId, endpointId, from, before, events, position, endPosition }: Replay,
  places: number,
): Promise<{ matches: Match[]; next: bigint | undefined }> => {
  const { rows } = await sql<{ last: bigint | null; count: number }>`
    select max(position) as last, count(*)::integer as count
    from (select position from journal.positions
          where tenant_id = ${tenantId} and position >= ${position} and position < ${endPosition}
          order by position limit ${places}) p
  `.execute(tx);
  const { last, count } = rows[0] ?? { last: null, count: 0 };
  if (last === null) return { matches: [], next: undefined };
  const { rows: found } = await sql<MatchRow>`
    select e.position, e.id, e.type, e.object_id, w.ordered and e.object_id is not null as ordered, e.created_at
    from events.events e
    join webhooks.endpoints w on w.tenant_id = e.tenant_id and w.id = ${toUuid(endpointId)}
    where e.tenant_id = ${tenantId} and e.position >= ${position} and e.position <= ${last}
      and e.created_at >= ${from} and e.created_at < ${before} and e.type <> 'webhook_endpoint.tested'
      and ${events}::text[] && array['*', split_part(e.type, '.', 1) || '.*', e.type]
    order by e.position
  `.execute(tx);
  const matches = found.map((row) => ({
    tenantId,
    endpointId,
    position: row.position,
    eventId: fromUuid('journal_entry', row.id),
    eventType: row.type,
    objectUuid: row.object_id,
    ordered: row.ordered,
  }));
  return { matches, next: count === places ? last + 1n : undefined };
};

/** Notes how far a replay came. */
export const updateReplay = async (
  tx: Tx,
  { endpointId, number }: Pick<Replay, 'endpointId' | 'number'>,
  to: { position: bigint; found: number; state: Replay['state']; now: Date },
): Promise<void> => {
  await sql`
    update webhooks.replays
    set position = ${to.position}, found = found + ${to.found}, state = ${to.state},
        ended_at = ${to.state === 'running' ? null : to.now}
    where endpoint_id = ${toUuid(endpointId)} and number = ${number} and state = 'running'
  `.execute(tx);
};

const replayOf = (row: ReplayRow): Replay => ({
  tenantId: row.tenant_id,
  endpointId: fromUuid('webhook_endpoint', row.endpoint_id),
  number: row.number,
  from: row.from_at,
  before: row.before_at,
  events: row.events,
  position: row.position,
  endPosition: row.end_position,
  found: row.found,
  state: row.state,
  createdAt: row.created_at,
  endedAt: row.ended_at,
});
