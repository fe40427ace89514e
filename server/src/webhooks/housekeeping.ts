import { sql } from 'kysely';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import type { Db } from '../lib/database.ts';
import type { Schedule } from '../lib/schedules.ts';
import { removeBy, sweep } from '../lib/sweep.ts';

type Parts = { db: Db; clock: Clock; retention: Config['retention'] };

const [minuteMs, hourMs, dayMs] = [60_000, 3_600_000, 86_400_000];

/** So much of what is not sent any more is taken back at once. */
const discardMax = 1_000;

/** Deliveries, attempts and secrets that are removed when they are too old, and a queue that is looked after. */
export const webhookSchedules = ({ db, clock, retention }: Parts): Schedule[] => {
  const ago = (ms: number): Date => new Date(clock.now().getTime() - ms);
  const attemptsAgo = (): Date => ago(retention.webhookAttemptsDays * dayMs);
  const common = { everyMs: hourMs, limitMs: 6 * hourMs };
  return [
    {
      ...common,
      name: 'webhook-deliveries',
      run: (signal) =>
        sweep(db, signal, (pages) => sql`webhooks.remove_deliveries(${attemptsAgo()}, ${pages})`),
    },
    {
      ...common,
      name: 'webhook-attempts',
      run: (signal) =>
        sweep(db, signal, (pages) => sql`webhooks.remove_attempts(${attemptsAgo()}, ${pages})`),
    },
    {
      ...common,
      name: 'webhook-secrets',
      run: () => removeBy(db, sql`webhooks.remove_secrets(${ago(dayMs)})`),
    },
    {
      name: 'webhook-queue',
      everyMs: minuteMs,
      limitMs: 10 * minuteMs,
      run: async () => {
        await freeStranded(db);
        await giveUpOld(db, { before: ago(retention.eventsDays * dayMs), now: clock.now() });
        return 0;
      },
    },
  ];
};

/**
 * Ordered deliveries that wait for one that is not there: it was sent again by hand and removed, or its row was changed by hand.
 * What waits is little, unless an object fails.
 */
export const freeStranded = async (db: Db): Promise<void> => {
  await sql`
    update webhooks.deliveries d set waiting = false
    where d.state = 'pending' and d.ordered and d.waiting and not exists (
      select from webhooks.deliveries b
      where b.endpoint_id = d.endpoint_id and b.object_id = d.object_id and b.state = 'pending' and b.ordered
        and (b.position, b.replay) < (d.position, d.replay)
    ) and not exists (
      select from webhooks.deliveries b
      where b.endpoint_id = d.endpoint_id and b.object_id = d.object_id and b.state = 'pending' and b.ordered and not b.waiting
    )
  `.execute(db);
};

/** What waits for an endpoint that is disabled is given up when its event is not shown any more. */
const giveUpOld = async (db: Db, { before, now }: { before: Date; now: Date }): Promise<void> => {
  await sql`
    update webhooks.deliveries d
    set state = 'failed', waiting = false, leased_until = null, settled_at = ${now},
        last_error = coalesce(d.last_error, 'the endpoint was disabled for too long')
    where (d.tenant_id, d.id) in (
      select q.tenant_id, q.id
      from webhooks.endpoints w
      cross join lateral (
        select * from webhooks.deliveries q
        where q.endpoint_id = w.id and q.state = 'pending' and not q.waiting and q.created_at < ${before}
        order by q.due_at limit ${discardMax}
      ) q
      where w.state = 'disabled'
    )
  `.execute(db);
};
