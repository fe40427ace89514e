import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { openDatabase, type Db } from '../lib/database.ts';
import { claim, queueStart, record, release, type Attempt, type Claim } from './queue-store.ts';
import { worldForTests } from './testing.ts';

const world = worldForTests();

const delivered = (made: Claim, now: Date): Attempt => ({
  claim: made,
  state: 'delivered',
  dueAt: now,
  at: now,
  status: 200,
  error: undefined,
  durationMs: 1,
  answerHeaders: {},
  answer: undefined,
});

/** How many rows of the queue a transaction on this one session has looked at. */
const readBy = async (db: Db, work: (tx: Db) => Promise<unknown>): Promise<number> =>
  db.transaction().execute(async (tx) => {
    await work(tx);
    const { rows } = await sql<{ read: bigint }>`
      select seq_tup_read + idx_tup_fetch as read from pg_stat_xact_user_tables
      where schemaname = 'webhooks' and relname = 'deliveries'
    `.execute(tx);
    return Number(rows[0]?.read ?? 0n);
  });

test('what a worker planned while the queue was empty still finds single rows when it is long', async () => {
  const { clock, database } = world;
  const tenant = await world.tenant();
  const { id: endpointId } = await world.endpoint(tenant, { url: 'http://127.0.0.1:18999/hook' });
  await sql`vacuum analyze webhooks.deliveries`.execute(database.superuser);
  await using session = openDatabase({
    connection: database.connection,
    poolMax: 1,
    applicationName: 'test-plans',
  });
  const now = clock.now();
  const leasedUntil = new Date(now.getTime() + 10_000);
  const round = async (db: Db, count: number): Promise<number> => {
    const claims = await claim(db, [{ endpointId, count, after: queueStart }], { now, leasedUntil });
    await record(
      db,
      claims.slice(1).map((made) => delivered(made, now)),
    );
    await release(db, claims.slice(0, 1));
    return claims.length;
  };
  // More often than PostgreSQL plans anew before it keeps a plan.
  for (let count = 0; count < 12; count += 1) {
    await world.happen(tenant);
    await world.spread();
    expect(await round(session.db, 2)).toBeGreaterThan(0);
  }
  await sql`
    insert into webhooks.deliveries (tenant_id, id, endpoint_id, event, event_type, object_id, position, replay, state, ordered,
                                     waiting, due_at, created_at)
    select d.tenant_id, gen_random_uuid(), endpoint_id, event, event_type, object_id, position, n, 'pending', false, false,
           due_at, created_at
    from (select * from webhooks.deliveries limit 1) d, generate_series(1, 20000) n
  `.execute(database.superuser);
  let claimed = 0;
  const read = await readBy(session.db, async (tx) => {
    claimed = await round(tx, 100);
  });
  expect(claimed).toBe(100);
  expect(read).toBeLessThan(2_000);
});
