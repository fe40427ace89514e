import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { systemClock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import { insertCallback } from './callback-store.ts';
import { paymentSchedules } from './housekeeping.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database?.[Symbol.asyncDispose]());

const dayMs = 86_400_000;
const clock = systemClock;
const ago = (days: number): Date => new Date(clock.now().getTime() - days * dayMs);

const run = async (name: string): Promise<number> => {
  const parts = { db: database.db, clock, retention: { idempotencyKeysH: 72 } };
  const schedule = paymentSchedules(parts).find((each) => each.name === name);
  return schedule
    ? schedule.run(new AbortController().signal)
    : Promise.reject(new Error(`no schedule ${name}`));
};

describe('idempotency keys', () => {
  const insert = (key: string, createdAt: Date, openUntil: Date | null = null) =>
    sql`
      insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, entry_id, open_until, created_at)
      values (1, 'payments.create', ${key}, '\\x00', 201, gen_random_uuid(), ${openUntil}, ${createdAt})
    `.execute(database.db);
  const keys = async (): Promise<string[]> => {
    const { rows } = await sql<{
      key: string;
    }>`select key from journal.idempotency_keys order by key`.execute(database.db);
    return rows.map(({ key }) => key);
  };

  test('expire after their time, but for those whose backend call is open', async () => {
    await insert('new', ago(2));
    await insert('old', ago(4));
    await insert('open', ago(4), ago(4));
    expect(await run('idempotency-keys')).toBe(1);
    expect(await keys()).toEqual(['new', 'open']);
  });

  test('of the last day stay, whatever a service asks the database for; and it may delete none itself', async () => {
    await insert('today', new Date());
    await sql`select journal.expire_keys('infinity', 0, 1000000)`.execute(database.db);
    expect(await keys()).toContain('today');
    await expect(sql`delete from journal.idempotency_keys`.execute(database.db)).rejects.toThrow(
      /permission denied/,
    );
  });
});

describe('messages of backends', () => {
  const insert = (id: string, now: Date) =>
    insertCallback(
      database.db,
      { connector: 'http', id, operationId: newId('operation'), outcome: 'approved' },
      { result: 'settled', now },
    );
  const left = async (): Promise<string[]> => {
    const { rows } = await sql<{ id: string }>`select id from payments.callbacks order by id`.execute(
      database.db,
    );
    return rows.map(({ id }) => id);
  };

  test('are kept for a week', async () => {
    await insert('new', ago(6));
    await insert('old', ago(8));
    expect(await run('backend-callbacks')).toBe(1);
    expect(await left()).toEqual(['new']);
  });

  test('of the last day stay, whatever a service asks the database for; and it may delete none itself', async () => {
    await insert('today', new Date());
    await sql`select payments.remove_callbacks('infinity')`.execute(database.db);
    expect(await left()).toEqual(['today']);
    await expect(sql`delete from payments.callbacks`.execute(database.db)).rejects.toThrow(
      /permission denied/,
    );
  });
});
