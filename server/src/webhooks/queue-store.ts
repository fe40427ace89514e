import { sql, type RawBuilder } from 'kysely';
import {
  bigintColumn,
  bytesColumn,
  integerColumn,
  textColumn,
  timeColumn,
  uuidColumn,
} from '../lib/columns.ts';
import type { Db, Tx } from '../lib/database.ts';
import { fromUuid, newId, toUuid, type Id } from '../lib/ids.ts';

type EndpointId = Id<'webhook_endpoint'>;

const lowestUuid = '00000000-0000-0000-0000-000000000000';

/** Whom to tell what happened at a place of the journal. */
export type Match = {
  tenantId: number;
  endpointId: EndpointId;
  position: bigint;
  eventId: Id<'journal_entry'>;
  eventType: string;
  objectUuid: string | null;
  ordered: boolean;
};

type MatchRow = {
  tenant_id: number;
  endpoint_id: string | null;
  position: bigint;
  event_id: string;
  event_type: string;
  object_id: string | null;
  ordered: boolean;
};

/** What is at the places from `first` on and below `end`; nobody else gets them until the transaction ends. */
export type Span = { first: bigint; end: bigint; matches: Match[] };

/** The next places, `span` at most, that nobody was told of. */
export const takeNextEvents = async (tx: Tx, span: number): Promise<Span> => {
  const { rows } = await sql<MatchRow & { first_position: bigint; end_position: bigint }>`
    select * from webhooks.next_events(${span})
  `.execute(tx);
  const { first_position: first, end_position: end } = rows[0] ?? { first_position: 0n, end_position: 0n };
  return { first, end, matches: rows.flatMap(matchOf) };
};

const matchOf = (row: MatchRow): Match[] =>
  row.endpoint_id === null
    ? []
    : [
        {
          tenantId: row.tenant_id,
          endpointId: fromUuid('webhook_endpoint', row.endpoint_id),
          position: row.position,
          eventId: fromUuid('journal_entry', row.event_id),
          eventType: row.event_type,
          objectUuid: row.object_id,
          ordered: row.ordered,
        },
      ];

/** Everything below this place has become deliveries. What is lost of this in a crash is done again. */
export const advance = async (tx: Tx, position: bigint): Promise<void> => {
  await sql`set local synchronous_commit = off`.execute(tx);
  await sql`update webhooks.progress set position = ${position}`.execute(tx);
};

/** Queues a delivery for every match. @param replay 0, or the number of the request to tell it again */
export const enqueue = async (
  tx: Tx,
  matches: readonly Match[],
  { replay, now }: { replay: number; now: Date },
): Promise<number> => {
  const { rows } = await sql<{ queued: number }>`
    select webhooks.enqueue(${integerColumn(matches.map(({ tenantId }) => tenantId))},
                            ${uuidColumn(matches.map(() => newId('delivery')))},
                            ${uuidColumn(matches.map(({ endpointId }) => endpointId))},
                            ${textColumn(matches.map(({ eventId }) => eventId))},
                            ${textColumn(matches.map(({ eventType }) => eventType))},
                            ${matches.map(({ objectUuid }) => objectUuid)}::uuid[],
                            ${bigintColumn(matches.map(({ position }) => position))},
                            ${integerColumn(matches.map(() => replay))},
                            ${integerColumn(matches.map(({ ordered }) => Number(ordered)))}, ${now}) as queued
  `.execute(tx);
  return rows[0]?.queued ?? 0;
};

/** A delivery that is the caller's to send until its lease ends. */
export type Claim = {
  tenantId: number;
  id: Id<'delivery'>;
  endpointId: EndpointId;
  position: bigint;
  /** How often it was begun since it was last set to pending, this time included. */
  attempts: number;
  /** The number of this attempt. */
  number: number;
  dueAtMs: number;
  /** Of the endpoint when it was claimed: its version, and whether it accepted the last that it was sent. */
  endpointVersion: number;
  isFailing: boolean;
  leasedUntil: Date;
};

type ClaimRow = {
  tenant_id: number;
  id: string;
  endpoint_id: string;
  position: bigint;
  attempts: number;
  attempts_made: number;
  due_at_ms: number;
  endpoint_version: number;
  is_failing: boolean;
};

/** A place in the queue of an endpoint: behind this delivery. */
export type QueuePlace = { dueAtMs: number; id: Id<'delivery'> };

/** The beginning of every queue. */
export const queueStart: QueuePlace = { dueAtMs: 0, id: fromUuid('delivery', lowestUuid) };

/** Claims what is due: of each endpoint so many at most. */
export const claim = async (
  db: Db,
  wanted: readonly { endpointId: EndpointId; count: number; after: QueuePlace }[],
  { now, leasedUntil }: { now: Date; leasedUntil: Date },
): Promise<Claim[]> => {
  const { rows } = await sql<ClaimRow>`
    select * from webhooks.claim(${uuidColumn(wanted.map(({ endpointId }) => endpointId))},
                                 ${integerColumn(wanted.map(({ count }) => count))},
                                 ${timeColumn(wanted.map(({ after }) => new Date(after.dueAtMs)))},
                                 ${uuidColumn(wanted.map(({ after }) => after.id))}, ${now}, ${leasedUntil})
  `.execute(db);
  return rows.map((row) => ({
    tenantId: row.tenant_id,
    id: fromUuid('delivery', row.id),
    endpointId: fromUuid('webhook_endpoint', row.endpoint_id),
    position: row.position,
    attempts: row.attempts,
    number: row.attempts_made,
    dueAtMs: row.due_at_ms,
    endpointVersion: row.endpoint_version,
    isFailing: row.is_failing,
    leasedUntil,
  }));
};

/** Gives back what was claimed and not sent. */
export const release = async (db: Db, claims: readonly Claim[]): Promise<void> => {
  if (claims.length === 0) return;
  await sql`
    select webhooks.release(${integerColumn(claims.map(({ tenantId }) => tenantId))},
                            ${uuidColumn(claims.map(({ id }) => id))}, ${integerColumn(claims.map(({ number }) => number))})
  `.execute(db);
};

export type Recorded = 'delivered' | 'pending' | 'failed' | 'discarded';

/** What came of one attempt. */
export type Attempt = {
  claim: Claim;
  state: Recorded;
  /** When to try again; of what has ended, when it did. */
  dueAt: Date;
  at: Date;
  status: number | undefined;
  error: string | undefined;
  durationMs: number;
  answerHeaders: Readonly<Record<string, string>> | undefined;
  answer: Buffer | undefined;
};

/** Writes attempts down, in one statement. Gives how many ordered deliveries became due by it. */
export const record = async (db: Db, attempts: readonly Attempt[]): Promise<number> => {
  const of = <T>(read: (attempt: Attempt) => T): T[] => attempts.map(read);
  const { rows } = await sql<{ released: number }>`
    select webhooks.record(${integerColumn(of(({ claim: { tenantId } }) => tenantId))},
                           ${uuidColumn(of(({ claim: { id } }) => id))},
                           ${integerColumn(of(({ claim: { number } }) => number))},
                           ${textColumn(of(({ state }) => state))}, ${timeColumn(of(({ dueAt }) => dueAt))},
                           ${timeColumn(of(({ at }) => at))}, ${integerColumn(of(({ status }) => status))},
                           ${textColumn(of(({ error }) => error))},
                           ${integerColumn(of(({ durationMs }) => durationMs))},
                           ${textColumn(of(({ answerHeaders }) => answerHeaders && JSON.stringify(answerHeaders)))},
                           ${bytesColumn(of(({ answer }) => answer))}) as released
  `.execute(db);
  return rows[0]?.released ?? 0;
};

/** What an endpoint did with what it was sent: failures since it last accepted something, which may have been just now. */
export type Tally = { endpointId: EndpointId; failed: number; accepted: boolean };

export type FailingEndpoint = {
  tenantId: number;
  id: EndpointId;
  failures: number;
  failingSince: Date;
  pausedUntil: Date | undefined;
};

type Circuit = { openAfter: number; pauseMinMs: number; pauseMaxMs: number };

/** Adds up failures, opens and closes circuits. Gives the endpoints that are failing. */
export const countFailures = async (
  db: Db,
  tallies: readonly Tally[],
  { openAfter, pauseMinMs, pauseMaxMs }: Circuit,
  now: Date,
): Promise<FailingEndpoint[]> => {
  const interval = (ms: number): string => `${ms} milliseconds`;
  const { rows } = await sql<{
    tenant_id: number;
    endpoint_id: string;
    failures: number;
    failing_since: Date | null;
    paused_until: Date | null;
  }>`
    select * from webhooks.count_failures(${uuidColumn(tallies.map(({ endpointId }) => endpointId))},
                                          ${integerColumn(tallies.map(({ failed }) => failed))},
                                          ${integerColumn(tallies.map(({ accepted }) => Number(accepted)))}, ${now},
                                          ${openAfter}, ${interval(pauseMinMs)}, ${interval(pauseMaxMs)})
  `.execute(db);
  return rows.flatMap(({ failing_since: failingSince, ...row }) =>
    failingSince === null
      ? []
      : [
          {
            tenantId: row.tenant_id,
            id: fromUuid('webhook_endpoint', row.endpoint_id),
            failures: row.failures,
            failingSince,
            pausedUntil: row.paused_until ?? undefined,
          },
        ],
  );
};

/** An endpoint that something is queued for. */
export type Queued = {
  tenantId: number;
  endpointId: EndpointId;
  /** When the first of it is due, or was. */
  dueAt: Date;
  state: 'enabled' | 'disabled' | 'deleted';
  pausedUntil: Date | null;
};

/** The endpoints after one that something is queued for, in the order of their ids, `looks` at most. */
export const lookForDue = async (
  db: Db,
  { after, looks }: { after: EndpointId | undefined; looks: number },
): Promise<Queued[]> => {
  const { rows } = await sql<{
    endpoint_id: string;
    tenant_id: number;
    due_at: Date;
    state: Queued['state'];
    paused_until: Date | null;
  }>`
    select * from webhooks.look_for_due(${after ? toUuid(after) : lowestUuid}, ${looks})
  `.execute(db);
  return rows.map((row) => ({
    tenantId: row.tenant_id,
    endpointId: fromUuid('webhook_endpoint', row.endpoint_id),
    dueAt: row.due_at,
    state: row.state,
    pausedUntil: row.paused_until,
  }));
};

/** Takes back what is queued for an endpoint that was deleted, so much at most, and gives how much that was. */
export const discard = async (
  db: Db,
  endpointId: EndpointId,
  { limit, now }: { limit: number; now: Date },
): Promise<number> => {
  const some = (which: RawBuilder<unknown>): RawBuilder<unknown> => sql`(
    select q.tenant_id, q.id from webhooks.deliveries q
    where q.endpoint_id = ${toUuid(endpointId)} and q.state = 'pending' and ${which}
    limit ${limit}
    for no key update skip locked
  )`;
  // Written as two, each of which an index finds.
  const both = sql`select * from ${some(sql`not q.waiting`)} d union all select * from ${some(sql`q.ordered and q.waiting`)} w`;
  const { numAffectedRows = 0n } = await sql`
    update webhooks.deliveries d
    set state = 'discarded', waiting = false, leased_until = null, settled_at = ${now},
        last_error = 'the endpoint was deleted'
    where (d.tenant_id, d.id) in (${both})
      and exists (select from webhooks.endpoints w where w.id = ${toUuid(endpointId)} and w.state = 'deleted')
  `.execute(db);
  return Number(numAffectedRows);
};
