import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { newId, toUuid } from '../lib/ids.ts';
import { freeStranded, webhookSchedules } from './housekeeping.ts';
import { openReceiver, until, worldForTests } from './testing.ts';

const world = worldForTests();

const dayMs = 86_400_000;
const retention = { idempotencyKeysH: 72, webhookAttemptsDays: 30, eventsDays: 90 };
const signal = new AbortController().signal;

const run = async (name: string): Promise<number> => {
  const schedule = webhookSchedules({ ...world, retention }).find((each) => each.name === name);
  return schedule ? schedule.run(signal) : Promise.reject(new Error(`no schedule ${name}`));
};

test('deliveries that ended are removed with their attempts when they are too old, and what is to be sent stays', async () => {
  await using receiver = await openReceiver();
  const tenant = await world.tenant();
  await world.endpoint(tenant, { url: receiver.url });
  await world.happen(tenant);
  await world.spread();
  const worker = world.worker();
  await until(async () => expect((await world.deliveries(tenant))[0]?.state).toBe('delivered'));
  await worker.stop();
  world.clock.advance(20 * dayMs);
  await world.happen(tenant);
  await world.spread();
  expect(await run('webhook-deliveries')).toBe(0);
  world.clock.advance(11 * dayMs);
  expect(await run('webhook-deliveries')).toBe(1);
  expect((await world.deliveries(tenant)).map(({ state }) => state)).toEqual(['pending']);
  const { rows } = await sql`select from webhooks.attempts where tenant_id = ${tenant}`.execute(world.db);
  expect(rows).toEqual([]);
  await expect(sql`delete from webhooks.deliveries`.execute(world.db)).rejects.toThrow(/permission denied/);
});

test('secrets that ended are removed, and the one that signs stays', async () => {
  const tenant = await world.tenant();
  const { id } = await world.endpoint(tenant, { url: 'http://127.0.0.1:18999/hook' });
  await sql`
    insert into webhooks.secrets (endpoint_id, number, tenant_id, sealed, created_at, expires_at)
    values (${toUuid(id)}, 2, ${tenant}, '\\x00', ${world.clock.now()}, ${world.clock.now()})
  `.execute(world.db);
  world.clock.advance(2 * dayMs);
  expect(await run('webhook-secrets')).toBe(1);
  const { rows } = await sql<{ number: number }>`
    select number from webhooks.secrets where endpoint_id = ${toUuid(id)}
  `.execute(world.db);
  expect(rows).toEqual([{ number: 1 }]);
});

test('an ordered delivery that waits for one that is not there becomes due', async () => {
  const tenant = await world.tenant();
  await world.endpoint(tenant, { url: 'http://127.0.0.1:18999/hook', ordered: true });
  await world.happen(tenant, { id: newId('payment'), versions: [1, 2, 3] });
  await world.spread();
  await freeStranded(world.db);
  const waiting = async (): Promise<boolean[]> => (await world.deliveries(tenant)).map((row) => row.waiting);
  expect(await waiting()).toEqual([false, true, true]);
  await sql`
    delete from webhooks.deliveries where tenant_id = ${tenant} and not waiting
  `.execute(world.database.superuser);
  await freeStranded(world.db);
  expect(await waiting()).toEqual([false, true]);
});
