import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { newId, toUuid } from '../lib/ids.ts';
import { introduce, listSchedules, runIfDue } from '../lib/schedules.ts';
import { freeStranded, retentionSchedules } from './housekeeping.ts';
import { openReceiver, openWorld, until, type World } from './testing.ts';

let database: TestDatabase;
let world: World;

beforeAll(async () => {
  database = await testDatabase();
  world = await openWorld(database);
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

const dayMs = 86_400_000;
const retention = { idempotencyKeysH: 72, webhookAttemptsDays: 30, eventsDays: 90 };
const signal = new AbortController().signal;

const run = async (name: string): Promise<number> => {
  const schedule = retentionSchedules({ ...world, retention }).find((each) => each.name === name);
  return schedule ? schedule.run(signal) : Promise.reject(new Error(`no schedule ${name}`));
};

describe('idempotency keys', () => {
  const insert = (key: string, createdAt: Date, openUntil: Date | null = null) =>
    sql`
      insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, entry_id, open_until, created_at)
      values (1, 'payments.create', ${key}, '\\x00', 201, gen_random_uuid(), ${openUntil}, ${createdAt})
    `.execute(world.db);
  const keys = async (): Promise<string[]> => {
    const { rows } = await sql<{
      key: string;
    }>`select key from journal.idempotency_keys order by key`.execute(world.db);
    return rows.map(({ key }) => key);
  };
  const ago = (days: number): Date => new Date(world.clock.now().getTime() - days * dayMs);

  test('expire after their time, but for those whose backend call is open', async () => {
    await insert('new', ago(2));
    await insert('old', ago(4));
    await insert('open', ago(4), ago(4));
    expect(await run('idempotency-keys')).toBe(1);
    expect(await keys()).toEqual(['new', 'open']);
  });

  test('of the last day stay, whatever a service asks the database for; and it may delete none itself', async () => {
    await insert('today', new Date());
    await sql`select journal.expire_keys('infinity', 0, 1000000)`.execute(world.db);
    expect(await keys()).toContain('today');
    await expect(sql`delete from journal.idempotency_keys`.execute(world.db)).rejects.toThrow(
      /permission denied/,
    );
  });
});

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
  `.execute(database.superuser);
  await freeStranded(world.db);
  expect(await waiting()).toEqual([false, true]);
});

describe('a schedule', () => {
  const parts = () => ({ ...world, onRun: () => undefined });

  test('runs when it is due, on one worker, and tells what it did', async () => {
    let runs = 0;
    const schedule = { name: 'test', everyMs: 60_000, limitMs: 10_000, run: async () => (runs += 1) };
    await introduce(world, [schedule]);
    const both = await Promise.all([
      runIfDue(parts(), schedule, signal),
      runIfDue(parts(), schedule, signal),
    ]);
    expect(both.filter(Boolean)).toHaveLength(1);
    expect(await runIfDue(parts(), schedule, signal)).toBe(false);
    world.clock.advance(60_000);
    expect(await runIfDue(parts(), schedule, signal)).toBe(true);
    expect(runs).toBe(2);
    const found = (await listSchedules(world.db)).find(({ name }) => name === 'test');
    expect(found).toMatchObject({ runs: 2n, failures: 0, error: null, removed: 2n });
  });

  test('that fails says why, and is run again; one that was killed, too', async () => {
    const failing = {
      name: 'failing',
      everyMs: 60_000,
      limitMs: 10_000,
      run: () => Promise.reject(new Error('no room')),
    };
    await introduce(world, [failing]);
    await runIfDue(parts(), failing, signal);
    const found = (await listSchedules(world.db)).find(({ name }) => name === 'failing');
    expect(found).toMatchObject({ failures: 1, error: 'no room' });
    const begun = Promise.withResolvers<void>();
    const killed = { ...failing, run: () => (begun.resolve(), new Promise<number>(() => undefined)) };
    world.clock.advance(60_000);
    void runIfDue(parts(), killed, signal);
    await begun.promise;
    expect(await runIfDue(parts(), failing, signal)).toBe(false);
    world.clock.advance(10_000);
    expect(await runIfDue(parts(), failing, signal)).toBe(true);
  });
});
