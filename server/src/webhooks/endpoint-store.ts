import { sql, type RawBuilder } from 'kysely';
import type { Mode } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import type { DisabledReason } from './schema.ts';

/** An address of a vendor that is told events. */
export type Endpoint = {
  id: Id<'webhook_endpoint'>;
  tenantId: number;
  mode: Mode;
  version: number;
  url: string;
  /** `*`, `payment.*`, `payment.succeeded`. */
  events: readonly string[];
  description: string | null;
  metadata: Readonly<Record<string, string>>;
  /** The events of one object go one after the other. */
  ordered: boolean;
  payload: 'full' | 'thin';
  state: 'enabled' | 'disabled' | 'deleted';
  disabledReason: DisabledReason | null;
  /** Events from here on are its own. */
  fromPosition: bigint;
  /** In a row, since the last delivery that was accepted. */
  failures: number;
  failingSince: Date | null;
  /** The circuit is open: nothing is sent before. */
  pausedUntil: Date | null;
  createdAt: Date;
  updatedAt: Date;
};

type EndpointRow = {
  id: string;
  tenant_id: number;
  mode: Mode;
  version: number;
  url: string;
  events: string[];
  description: string | null;
  metadata: Record<string, string>;
  ordered: boolean;
  payload: 'full' | 'thin';
  state: 'enabled' | 'disabled' | 'deleted';
  disabled_reason: DisabledReason | null;
  from_position: bigint;
  failures: number;
  failing_since: Date | null;
  paused_until: Date | null;
  created_at: Date;
  updated_at: Date;
};

type Key = { tenantId: number; id: Id<'webhook_endpoint'> };

/** @throws AppError `not_found`, also for one of another tenant and one that was deleted */
export const getEndpoint = (db: Db | Tx, key: Key): Promise<Endpoint> => getOne(db, key, sql``);

/** The endpoint, locked until the transaction ends: its changes happen one after the other. */
export const lockEndpoint = (tx: Tx, key: Key): Promise<Endpoint> =>
  getOne(tx, key, sql`for no key update of w`);

const getOne = async (db: Db | Tx, { tenantId, id }: Key, lock: RawBuilder<unknown>): Promise<Endpoint> => {
  const [endpoint] = await select(
    db,
    sql`w.tenant_id = ${tenantId} and w.id = ${toUuid(id)} and w.state <> 'deleted' ${lock}`,
  );
  if (!endpoint) throw notFound('webhook endpoint');
  return endpoint;
};

/** A tenant's endpoints, the newest first, those made before the endpoint `before`. */
export const listEndpoints = (
  db: Db,
  tenantId: number,
  page: { before: Id<'webhook_endpoint'> | undefined; limit: number },
): Promise<Endpoint[]> => {
  const older = page.before === undefined ? sql`` : sql`and w.id < ${toUuid(page.before)}`;
  return select(
    db,
    sql`w.tenant_id = ${tenantId} and w.state <> 'deleted' ${older} order by w.id desc limit ${page.limit}`,
  );
};

/** Those of these endpoints that exist, deleted ones too, in no particular order. */
export const listEndpointsById = (db: Db | Tx, ids: readonly Id<'webhook_endpoint'>[]): Promise<Endpoint[]> =>
  select(db, sql`w.id = any(${ids.map((id) => toUuid(id))}::uuid[])`);

/** How many a tenant has. Whoever asks makes one next: until its transaction ends, others who ask wait. */
export const countEndpoints = async (tx: Tx, tenantId: number): Promise<number> => {
  await sql`select pg_advisory_xact_lock(hashtext('webhooks.endpoints'), ${tenantId})`.execute(tx);
  const { rows } = await sql<{ count: bigint }>`
    select count(*) as count from webhooks.endpoints where tenant_id = ${tenantId} and state <> 'deleted'
  `.execute(tx);
  return Number(rows[0]?.count);
};

const columns = sql`
  w.id, w.tenant_id, (select t.mode from vendors.tenants t where t.id = w.tenant_id) as mode, w.version, w.url, w.events,
  w.description, w.metadata, w.ordered, w.payload, w.state, w.disabled_reason, w.from_position, w.failures, w.failing_since,
  w.paused_until, w.created_at, w.updated_at`;

const select = async (db: Db | Tx, condition: RawBuilder<unknown>): Promise<Endpoint[]> => {
  const { rows } = await sql<EndpointRow>`
    select ${columns} from webhooks.endpoints w where ${condition}
  `.execute(db);
  return rows.map(endpointOf);
};

/** Where events begin that are yet to come: what has a place by now happened before. */
const nextPosition = sql`(select coalesce(max(position) + 1, 0) from journal.positions)`;

export type NewEndpoint = Pick<
  Endpoint,
  'id' | 'tenantId' | 'url' | 'events' | 'description' | 'metadata' | 'ordered' | 'payload' | 'createdAt'
>;

/** Inserts an enabled endpoint; it is told what happens from now on. */
export const insertEndpoint = async (tx: Tx, endpoint: NewEndpoint): Promise<Endpoint> => {
  const { rows } = await sql<EndpointRow>`
    insert into webhooks.endpoints as w
      (tenant_id, id, version, url, events, description, metadata, ordered, payload, state, from_position, created_at,
       updated_at)
    values
      (${endpoint.tenantId}, ${toUuid(endpoint.id)}, 1, ${endpoint.url}, ${endpoint.events}::text[],
       ${endpoint.description}, ${JSON.stringify(endpoint.metadata)}::jsonb, ${endpoint.ordered}, ${endpoint.payload},
       'enabled', ${nextPosition}, ${endpoint.createdAt}, ${endpoint.createdAt})
    returning ${columns}
  `.execute(tx);
  return only(rows);
};

/** Stores a changed endpoint, one version on; the caller has locked it. What the dispatcher counts stays as it is. */
export const updateEndpoint = async (tx: Tx, endpoint: Endpoint): Promise<Endpoint> => {
  const { rows } = await sql<EndpointRow>`
    update webhooks.endpoints w
    set version = ${endpoint.version + 1}, url = ${endpoint.url}, events = ${endpoint.events}::text[],
        description = ${endpoint.description}, metadata = ${JSON.stringify(endpoint.metadata)}::jsonb,
        ordered = ${endpoint.ordered}, payload = ${endpoint.payload}, state = ${endpoint.state},
        disabled_reason = ${endpoint.disabledReason}, updated_at = ${endpoint.updatedAt}
    where w.tenant_id = ${endpoint.tenantId} and w.id = ${toUuid(endpoint.id)} and w.version = ${endpoint.version}
    returning ${columns}
  `.execute(tx);
  return only(rows);
};

/** Forgets what went wrong with an endpoint: its address is another one, or somebody says that it works again. */
export const forgiveEndpoint = async (tx: Tx, { tenantId, id }: Key): Promise<void> => {
  await sql`
    update webhooks.endpoints set failures = 0, failing_since = null, paused_until = null
    where tenant_id = ${tenantId} and id = ${toUuid(id)}
  `.execute(tx);
};

/** Has an endpoint begin with what happens from now on. */
export const startFromNow = async (tx: Tx, { tenantId, id }: Key): Promise<void> => {
  await sql`
    update webhooks.endpoints set from_position = ${nextPosition} where tenant_id = ${tenantId} and id = ${toUuid(id)}
  `.execute(tx);
};

const only = (rows: readonly EndpointRow[]): Endpoint => {
  const [row] = rows;
  if (!row) throw new Error('an endpoint was not written');
  return endpointOf(row);
};

const endpointOf = (row: EndpointRow): Endpoint => ({
  id: fromUuid('webhook_endpoint', row.id),
  tenantId: row.tenant_id,
  mode: row.mode,
  version: row.version,
  url: row.url,
  events: row.events,
  description: row.description,
  metadata: row.metadata,
  ordered: row.ordered,
  payload: row.payload,
  state: row.state,
  disabledReason: row.disabled_reason,
  fromPosition: row.from_position,
  failures: row.failures,
  failingSince: row.failing_since,
  pausedUntil: row.paused_until,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
