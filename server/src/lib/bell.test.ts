import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../test/setup/database.ts';
import { openBell } from './bell.ts';
import { openDatabase } from './database.ts';
import { rehearse } from './dry-run.ts';
import { openListener } from './listen.ts';
import { createWake } from './wake.ts';

const database = await testDatabase();
afterAll(() => database[Symbol.asyncDispose]());

const longMs = 60_000;

test('a ring wakes who waits; rings while nobody does are one, for the next', async () => {
  const wake = createWake();
  const waiting = wake.next(longMs);
  wake.ring();
  await waiting;
  wake.ring();
  wake.ring();
  await wake.next(longMs);
  const order: string[] = [];
  const second = wake.next(longMs).then(() => order.push('rung'));
  order.push('waits');
  wake.ring();
  await second;
  expect(order).toEqual(['waits', 'rung']);
});

test('waiting ends with its time, and with its signal', async () => {
  const wake = createWake();
  await wake.next(1);
  await wake.next(0);
  const stopping = new AbortController();
  const waiting = wake.next(longMs, stopping.signal);
  stopping.abort();
  await expect(waiting).resolves.toBeUndefined();
  await expect(wake.next(longMs, stopping.signal)).resolves.toBeUndefined();
});

test('rings that come close together are one notification, and none is under way beside another', async () => {
  let [calls, atOnce, most] = [0, 0, 0];
  const bell = openBell(
    async () => {
      calls += 1;
      atOnce += 1;
      most = Math.max(most, atOnce);
      await Promise.resolve();
      atOnce -= 1;
    },
    { pauseMs: 1 },
  );
  for (let rung = 0; rung < 100; rung += 1) bell.ring();
  await bell.close();
  bell.ring();
  expect([calls, most]).toEqual([1, 1]);
});

test('a dry run rings nothing, and a notification that fails harms nobody', async () => {
  const failures: unknown[] = [];
  const bell = openBell(() => Promise.reject(new Error('away')), {
    pauseMs: 1,
    onFailure: (error) => failures.push(error),
  });
  await rehearse(async () => bell.ring());
  expect(failures).toEqual([]);
  bell.ring();
  await bell.close();
  expect(failures).toHaveLength(1);
});

test('who listens hears of notifications, and comes back when the connection is lost', async () => {
  const lost: unknown[] = [];
  await using listener = openListener(database.connection, {
    channels: ['florin_test', 'florin_other'],
    applicationName: 'test-listener',
    onLost: (error) => lost.push(error),
  });
  const [wake, other] = [listener.wakeOf('florin_test'), listener.wakeOf('florin_other')];
  // Whoever begins to listen looks once.
  await Promise.all([wake.next(longMs), other.next(longMs)]);
  await using notifier = openDatabase({
    connection: database.connection,
    poolMax: 1,
    applicationName: 'test-notifier',
  });
  const notify = () => notifier.pool.query(`select pg_notify('florin_test', '')`);
  await notify();
  await wake.next(longMs);
  await sql`
    select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-listener'
  `.execute(database.superuser);
  await Promise.all([wake.next(longMs), other.next(longMs)]);
  expect(lost).toHaveLength(1);
  await notify();
  await wake.next(longMs);
});
