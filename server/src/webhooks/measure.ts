import { sql } from 'kysely';
import type { Mode } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import type { Metrics } from '../lib/metrics.ts';

/** What waits to be sent, and what could not be. */
export type QueueMeasures = {
  pending: number;
  /** Of what is due and could not be sent yet: since when. */
  oldestDueAt: Date | null;
  failed: number;
  openCircuits: number;
  /** Places of the journal that nobody was told of yet. */
  behind: number;
};

/** Counting goes no further: a backlog is no reason to read all of it again and again. */
const countMax = 100_000;
const looks = 1_000;

/** Counts up to `countMax`, and looks at so many endpoints. */
export const measuresOf = async (db: Db, now: Date): Promise<QueueMeasures> => {
  const { rows } = await sql<{
    pending: number;
    oldest: Date | null;
    failed: number;
    open: number;
    behind: bigint;
  }>`
    select (select count(*) from (select from webhooks.deliveries where state = 'pending' and not waiting limit ${countMax}) q)::integer
             + (select count(*) from (select from webhooks.deliveries where state = 'pending' and ordered and waiting
                                      limit ${countMax}) q)::integer as pending,
           (select min(due_at) from webhooks.look_for_due('00000000-0000-0000-0000-000000000000', ${looks})
             where due_at <= ${now} and state = 'enabled') as oldest,
           (select count(*) from (select from webhooks.deliveries where state = 'failed' limit ${countMax}) f)::integer as failed,
           (select count(*) from webhooks.endpoints where state = 'enabled' and paused_until > ${now})::integer as open,
           (select coalesce(max(position) + 1, 0) from journal.positions) - (select position from webhooks.progress) as behind
  `.execute(db);
  const { pending = 0, oldest = null, failed = 0, open = 0, behind = 0n } = rows[0] ?? {};
  return { pending, oldestDueAt: oldest, failed, openCircuits: open, behind: Number(behind) };
};

/** Shows the measures in the metrics of the worker that makes the deliveries. */
export const measureQueue = async (
  db: Db,
  { clock, metrics: { webhooks } }: { clock: Clock; metrics: Pick<Metrics, 'webhooks'> },
): Promise<void> => {
  const now = clock.now();
  const { pending, oldestDueAt, failed, openCircuits, behind } = await measuresOf(db, now);
  webhooks.pending.set(pending);
  webhooks.oldestAge.set(oldestDueAt ? (now.getTime() - oldestDueAt.getTime()) / 1_000 : 0);
  webhooks.deadLetters.set(failed);
  webhooks.openCircuits.set(openCircuits);
  webhooks.lag.set(behind);
};

/** What waits for one endpoint, for operators. Counts go up to `countedMax`. */
export type Backlog = {
  endpointId: Id<'webhook_endpoint'>;
  vendor: string;
  mode: Mode;
  url: string;
  state: 'enabled' | 'disabled' | 'deleted';
  pausedUntil: Date | null;
  pending: number;
  failed: number;
  oldestDueAt: Date | null;
};

export const countedMax = 10_000;

/** Endpoints that something waits for, those with dead letters first. */
export const listBacklogs = async (
  db: Db,
  { endpointId, limit }: { endpointId?: Id<'webhook_endpoint'> | undefined; limit: number },
): Promise<Backlog[]> => {
  const { rows } = await sql<Omit<Backlog, 'endpointId'> & { id: string }>`
    select * from (
      select w.id, v.slug as vendor, t.mode, w.url, w.state, w.paused_until as "pausedUntil",
             (select count(*) from (select from webhooks.deliveries d
                                    where d.endpoint_id = w.id and d.state = 'pending' and not d.waiting
                                    limit ${countedMax}) p)::integer
               + (select count(*) from (select from webhooks.deliveries d
                                        where d.endpoint_id = w.id and d.state = 'pending' and d.ordered and d.waiting
                                        limit ${countedMax}) q)::integer as pending,
             (select count(*) from (select from webhooks.deliveries d
                                    where d.tenant_id = w.tenant_id and d.endpoint_id = w.id and d.state = 'failed'
                                    limit ${countedMax}) f)::integer as failed,
             (select min(d.due_at) from webhooks.deliveries d
               where d.endpoint_id = w.id and d.state = 'pending' and not d.waiting) as "oldestDueAt"
      from webhooks.endpoints w
      join vendors.tenants t on t.id = w.tenant_id
      join vendors.vendors v on v.id = t.vendor_id
      where ${endpointId ? sql`w.id = ${toUuid(endpointId)}` : sql`true`}
    ) b
    where pending > 0 or failed > 0
    order by failed desc, pending desc limit ${limit}
  `.execute(db);
  return rows.map(({ id, ...row }) => ({ endpointId: fromUuid('webhook_endpoint', id), ...row }));
};
