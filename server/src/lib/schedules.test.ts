import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { manualClock } from './clock.ts';
import { memoryLog } from './http/testing.ts';
import { introduce, listSchedules, runIfDue } from './schedules.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database?.[Symbol.asyncDispose]());

const signal = new AbortController().signal;

describe('a schedule', () => {
  const clock = manualClock('2026-01-16T12:00:00Z');
  const parts = () => ({ db: database.db, clock, log: memoryLog().log, onRun: () => undefined });

  test('runs when it is due, on one worker, and tells what it did', async () => {
    let runs = 0;
    const schedule = { name: 'test', everyMs: 60_000, limitMs: 10_000, run: async () => (runs += 1) };
    await introduce(parts(), [schedule]);
    const both = await Promise.all([
      runIfDue(parts(), schedule, signal),
      runIfDue(parts(), schedule, signal),
    ]);
    expect(both.filter(Boolean)).toHaveLength(1);
    expect(await runIfDue(parts(), schedule, signal)).toBe(false);
    clock.advance(60_000);
    expect(await runIfDue(parts(), schedule, signal)).toBe(true);
    expect(runs).toBe(2);
    const found = (await listSchedules(database.db)).find(({ name }) => name === 'test');
    expect(found).toMatchObject({ runs: 2n, failures: 0, error: null, removed: 2n });
  });

  test('that fails says why, and is run again; one that was killed, too', async () => {
    const failing = {
      name: 'failing',
      everyMs: 60_000,
      limitMs: 10_000,
      run: () => Promise.reject(new Error('no room')),
    };
    await introduce(parts(), [failing]);
    await runIfDue(parts(), failing, signal);
    const found = (await listSchedules(database.db)).find(({ name }) => name === 'failing');
    expect(found).toMatchObject({ failures: 1, error: 'no room' });
    const begun = Promise.withResolvers<void>();
    const killed = { ...failing, run: () => (begun.resolve(), new Promise<number>(() => undefined)) };
    clock.advance(60_000);
    void runIfDue(parts(), killed, signal);
    await begun.promise;
    expect(await runIfDue(parts(), failing, signal)).toBe(false);
    clock.advance(10_000);
    expect(await runIfDue(parts(), failing, signal)).toBe(true);
  });
});
