import { sql, type RawBuilder } from 'kysely';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, isId, toUuid, type Id } from '../lib/ids.ts';
import type { DeliveryState } from './delivery-schema.ts';

/** One event on its way to one endpoint. */
export type StoredDelivery = {
  tenantId: number;
  id: Id<'delivery'>;
  endpointId: Id<'webhook_endpoint'>;
  eventId: Id<'journal_entry'>;
  eventType: string;
  state: DeliveryState;
  replay: number;
  attempts: number;
  nextAttemptAt: Date | null;
  lastStatus: number | null;
  lastError: string | null;
  /** The last attempt that ended. */
  lastAttempt: StoredAttempt | null;
  createdAt: Date;
  settledAt: Date | null;
};

type DeliveryRow = {
  tenant_id: number;
  id: string;
  endpoint_id: string;
  event: Id<'journal_entry'>;
  event_type: string;
  state: DeliveryState;
  replay: number;
  attempts_made: number;
  next_attempt_at: Date | null;
  last_number: number | null;
  last_at: Date | null;
  last_status: number | null;
  last_error: string | null;
  last_duration_ms: number | null;
  last_headers: string | null;
  last_answer: Buffer | null;
  created_at: Date;
  settled_at: Date | null;
};

type Key = { tenantId: number; id: Id<'delivery'> };

const columns = sql`
  d.tenant_id, d.id, d.endpoint_id, d.event, d.event_type, d.state, d.replay, d.attempts_made,
  case when d.state = 'pending' and not d.waiting then d.due_at end as next_attempt_at, d.last_number, d.last_at,
  d.last_status, d.last_error, d.last_duration_ms, d.last_headers, d.last_answer, d.created_at, d.settled_at`;

const select = async (db: Db | Tx, condition: RawBuilder<unknown>): Promise<StoredDelivery[]> => {
  const { rows } = await sql<DeliveryRow>`
    select ${columns} from webhooks.deliveries d where ${condition}
  `.execute(db);
  return rows.map(deliveryOf);
};

/** @throws AppError `not_found`, also for one of another tenant */
export const getDelivery = async (db: Db | Tx, { tenantId, id }: Key): Promise<StoredDelivery> => {
  const [delivery] = await select(db, sql`d.tenant_id = ${tenantId} and d.id = ${toUuid(id)}`);
  if (!delivery) throw notFound('delivery');
  return delivery;
};

export type DeliveryFilter = {
  state: DeliveryState | undefined;
  endpointId: Id<'webhook_endpoint'> | undefined;
  eventId: Id<'journal_entry'> | undefined;
};

/** A tenant's deliveries, the newest first, those made before the delivery `before`. */
export const listDeliveries = (
  db: Db,
  tenantId: number,
  { state, endpointId, eventId }: DeliveryFilter,
  page: { before: Id<'delivery'> | undefined; limit: number },
): Promise<StoredDelivery[]> => {
  const conditions = [
    sql`d.tenant_id = ${tenantId}`,
    ...(page.before ? [sql`d.id < ${toUuid(page.before)}`] : []),
    // Written out, so that the indexes on what is pending or failed are found.
    ...(state ? [sql`d.state = ${sql.lit(state)}`] : []),
    ...(state === 'pending' && !endpointId ? [pendingOf(tenantId)] : []),
    ...(endpointId ? [sql`d.endpoint_id = ${toUuid(endpointId)}`] : []),
    ...(eventId ? [sql`d.event = ${eventId}`] : []),
  ];
  return select(db, sql`${sql.join(conditions, sql` and `)} order by d.id desc limit ${page.limit}`);
};

/** What is pending is found by its endpoint. */
const pendingOf = (tenantId: number): RawBuilder<unknown> =>
  sql`d.endpoint_id = any(array(select w.id from webhooks.endpoints w where w.tenant_id = ${tenantId}))`;

export type StoredAttempt = {
  number: number;
  at: Date;
  status: number | null;
  error: string | null;
  durationMs: number;
  /** Of the answer, as JSON. */
  headers: string | null;
  answer: Buffer | null;
};

/** Attempts before the last one of a delivery, the newest first. */
export const listEarlierAttempts = async (db: Db, { id }: Key, limit: number): Promise<StoredAttempt[]> => {
  const { rows } = await sql<StoredAttempt>`
    select number, at, status, error, duration_ms as "durationMs", headers, answer
    from webhooks.attempts where delivery_id = ${toUuid(id)} order by number desc limit ${limit}
  `.execute(db);
  return rows;
};

const again = (now: Date): RawBuilder<unknown> => sql`
  state = 'pending', attempts = 0, due_at = ${now}, settled_at = null, waiting = d.waiting and d.state = 'pending'`;

/** Sets a delivery to be sent at once, as if it had never been tried. @throws AppError `not_found` */
export const resetDelivery = async (tx: Tx, { tenantId, id }: Key, now: Date): Promise<StoredDelivery> => {
  const { rows } = await sql<DeliveryRow>`
    update webhooks.deliveries d set ${again(now)} where d.tenant_id = ${tenantId} and d.id = ${toUuid(id)}
    returning ${columns}
  `.execute(tx);
  const [row] = rows;
  if (!row) throw notFound('delivery');
  await tryAgain(tx, [row.endpoint_id], now);
  return deliveryOf(row);
};

/** Sets a delivery, or all of an event, to be sent at once: for the operator, who knows only the id. */
export const resetById = async (
  tx: Tx,
  id: Id<'delivery'> | Id<'journal_entry'>,
  now: Date,
): Promise<StoredDelivery[]> => {
  const which = isId('delivery', id) ? sql`d.id = ${toUuid(id)}` : sql`d.event = ${id}`;
  const { rows } = await sql<DeliveryRow>`
    update webhooks.deliveries d set ${again(now)}
    where ${which} and not exists (select from webhooks.endpoints w where w.id = d.endpoint_id and w.state = 'deleted')
    returning ${columns}
  `.execute(tx);
  await tryAgain(tx, [...new Set(rows.map((row) => row.endpoint_id))], now);
  return rows.map(deliveryOf);
};

/** Which deliveries: all of them, those of a tenant, those of an endpoint. */
export type Reach = { tenantId?: number | undefined; endpointId?: Id<'webhook_endpoint'> | undefined };

/** Sets dead letters to be sent at once, the oldest first, so many at most; gives how many those were. */
export const resetFailed = async (
  tx: Tx,
  reach: Reach,
  { now, limit }: { now: Date; limit: number },
): Promise<number> => {
  const { rows } = await sql<{ endpoint_id: string }>`
    update webhooks.deliveries d set ${again(now)}
    where (d.tenant_id, d.id) in (
      select f.tenant_id, f.id from webhooks.deliveries f
      join webhooks.endpoints w on w.tenant_id = f.tenant_id and w.id = f.endpoint_id and w.state <> 'deleted'
      where f.state = 'failed' and ${within(reach, sql`f`)}
      order by f.tenant_id, f.id limit ${limit} for no key update of f skip locked
    )
    returning d.endpoint_id
  `.execute(tx);
  await tryAgain(tx, [...new Set(rows.map((row) => row.endpoint_id))], now);
  return rows.length;
};

/** Has what waits for its next attempt be tried at once, so many at most; gives how many those were. */
export const hastenPending = async (
  tx: Tx,
  reach: Reach,
  { now, limit }: { now: Date; limit: number },
): Promise<number> => {
  const { rows } = await sql<{ endpoint_id: string }>`
    update webhooks.deliveries d set due_at = ${now}
    where (d.tenant_id, d.id) in (
      select q.tenant_id, q.id from webhooks.deliveries q
      where q.state = 'pending' and not q.waiting and q.due_at > ${now} and ${within(reach, sql`q`)}
      limit ${limit} for no key update skip locked
    )
    returning d.endpoint_id
  `.execute(tx);
  await tryAgain(tx, [...new Set(rows.map((row) => row.endpoint_id))], now);
  return rows.length;
};

const within = ({ tenantId, endpointId }: Reach, row: RawBuilder<unknown>): RawBuilder<unknown> =>
  sql.join(
    [
      sql`true`,
      ...(tenantId === undefined ? [] : [sql`${row}.tenant_id = ${tenantId}`]),
      ...(endpointId ? [sql`${row}.endpoint_id = ${toUuid(endpointId)}`] : []),
    ],
    sql` and `,
  );

/** Lets one delivery through an open circuit, to see whether it is accepted. */
const tryAgain = async (tx: Tx, endpointUuids: readonly string[], now: Date): Promise<void> => {
  await sql`
    update webhooks.endpoints set paused_until = ${now} where id = any(${endpointUuids}::uuid[]) and paused_until > ${now}
  `.execute(tx);
};

const deliveryOf = (row: DeliveryRow): StoredDelivery => ({
  tenantId: row.tenant_id,
  id: fromUuid('delivery', row.id),
  endpointId: fromUuid('webhook_endpoint', row.endpoint_id),
  eventId: row.event,
  eventType: row.event_type,
  state: row.state,
  replay: row.replay,
  attempts: row.attempts_made,
  nextAttemptAt: row.next_attempt_at,
  lastStatus: row.last_status,
  lastError: row.last_error,
  lastAttempt: lastAttemptOf(row),
  createdAt: row.created_at,
  settledAt: row.settled_at,
});

const lastAttemptOf = (row: DeliveryRow): StoredAttempt | null =>
  row.last_number === null || row.last_at === null || row.last_duration_ms === null
    ? null
    : {
        number: row.last_number,
        at: row.last_at,
        status: row.last_status,
        error: row.last_error,
        durationMs: row.last_duration_ms,
        headers: row.last_headers,
        answer: row.last_answer,
      };
