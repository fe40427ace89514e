import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import {
  connectionOf,
  inTransaction,
  isDatabaseGone,
  isPassing,
  openDatabase,
  openPipeline,
} from './database.ts';
import { Secret } from './secret.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  await sql`create table public.notes (id bigint primary key, text text);
            grant all on public.notes to florin_service`.execute(database.superuser);
});
afterAll(() => database[Symbol.asyncDispose]());

const terminate = (name: string) =>
  sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = ${name}`.execute(
    database.superuser,
  );

describe('openDatabase', () => {
  test('int8 is a bigint, a date a text, a timestamp a Date', async () => {
    const { rows } = await sql`select 9007199254740993::int8 as amount, array[1, null]::int8[] as amounts,
      date '2026-11-22' as day, timestamptz '2026-11-22T08:00:00Z' as at`.execute(database.db);
    expect(rows).toEqual([
      {
        amount: 9007199254740993n,
        amounts: [1n, null],
        day: '2026-11-22',
        at: new Date('2026-11-22T08:00:00Z'),
      },
    ]);
  });

  test('a lost connection fails its statement and no other, and does not end the process', async () => {
    await using own = openDatabase({ connection: database.connection, poolMax: 2, applicationName: 'lost' });
    const slow = sql`select pg_sleep(60)`.execute(own.db).catch((error: unknown) => error);
    await expect.poll(() => own.pool.totalCount - own.pool.idleCount).toBe(1);
    await expect
      .poll(
        async () =>
          (
            await sql`select from pg_stat_activity where application_name = 'lost' and state = 'active'`.execute(
              database.superuser,
            )
          ).rows.length,
      )
      .toBe(1);
    await terminate('lost');
    expect(isDatabaseGone(await slow)).toBe(true);
    expect((await sql`select 1 as one`.execute(own.db)).rows).toEqual([{ one: 1 }]);
  });

  test('a statement is cancelled when it takes longer than it may', async () => {
    const connection = { ...database.connection, statementTimeoutMs: 20 };
    await using own = openDatabase({ connection, poolMax: 1, applicationName: 'slow' });
    await expect(sql`select pg_sleep(60)`.execute(own.db)).rejects.toMatchObject({ code: '57014' });
  });

  test('a connection whose answer does not come is given up and replaced', async () => {
    const connection = { ...database.connection, statementTimeoutMs: 50 };
    await using own = openDatabase({ connection, poolMax: 1, applicationName: 'mute' });
    // As if the server could not tell us that it cancelled the statement.
    await sql`select set_config('statement_timeout', '0', false)`.execute(own.db);
    const error = await sql`select pg_sleep(60)`.execute(own.db).catch((reason: unknown) => reason);
    expect(isDatabaseGone(error)).toBe(true);
    await expect.poll(() => sql`select 1`.execute(own.db).then(() => 'works', isDatabaseGone)).toBe('works');
  });

  test('a transaction that is idle for too long is ended by the server, and everybody else goes on', async () => {
    const connection = { ...database.connection, statementTimeoutMs: 50 };
    await using own = openDatabase({ connection, poolMax: 1, applicationName: 'idle' });
    const { promise, resolve } = Promise.withResolvers<void>();
    own.pool.on('connect', (client) => client.once('error', () => resolve()));
    const run = inTransaction(own.db, async (tx) => {
      await sql`select 1`.execute(tx);
      await promise;
      await sql`select 1`.execute(tx);
    });
    expect(isDatabaseGone(await run.catch((reason: unknown) => reason))).toBe(true);
    expect((await sql`select 1 as one`.execute(own.db)).rows).toEqual([{ one: 1 }]);
  });

  test('a printed pool shows no password', async () => {
    await using own = openDatabase({
      connection: { ...database.connection, password: new Secret('hunter2') },
      poolMax: 1,
      applicationName: 'x',
    });
    const { inspect } = await import('node:util');
    expect(inspect(own.pool, { depth: 9 })).not.toContain('hunter2');
  });
});

test('a transaction that throws leaves nothing', async () => {
  const run = inTransaction(database.db, async (tx) => {
    await sql`insert into public.notes values (1, 'gone')`.execute(tx);
    throw new Error('no');
  });
  await expect(run).rejects.toThrow('no');
  expect((await sql`select from public.notes where id = 1`.execute(database.db)).rows).toHaveLength(0);
});

describe('openPipeline', () => {
  const insert = (id: number) => ({
    name: 'insert',
    text: 'insert into public.notes values ($1, $2) returning id',
    values: [id, 'x'],
  });

  test('statements given at once answer in their order, and one that fails does not touch its neighbours', async () => {
    await using pipeline = openPipeline(database.connection, { name: 'pipe-order' });
    const order: number[] = [];
    const run = async (id: number): Promise<unknown> => {
      const answer = await pipeline.query<{ id: bigint }>(insert(id)).catch((error: unknown) => error);
      order.push(order.length);
      return answer;
    };
    const answers = await Promise.all([run(10), run(10), run(11)]);
    expect(answers[0]).toEqual([{ id: 10n }]);
    expect(answers[1]).toMatchObject({ code: '23505' });
    expect(answers[2]).toEqual([{ id: 11n }]);
    expect(order).toEqual([0, 1, 2]);
  });

  test('a lost connection rejects all that was in flight, and the next statement connects again', async () => {
    await using pipeline = openPipeline(database.connection, { name: 'pipe-lost' });
    await pipeline.query(insert(20));
    const sleep = { name: 'sleep', text: 'select pg_sleep($1)', values: [60] };
    const inFlight = [pipeline.query(sleep), pipeline.query(insert(21))].map((query) =>
      query.catch((error: unknown) => error),
    );
    await terminate('pipe-lost');
    const errors = await Promise.all(inFlight);
    expect(errors.map(isDatabaseGone)).toEqual([true, true]);
    expect(await pipeline.query(insert(22))).toEqual([{ id: 22n }]);
    expect((await sql`select id from public.notes where id in (21, 22)`.execute(database.db)).rows).toEqual([
      { id: 22n },
    ]);
  });

  test('a server that is not there is reported with its reason, and tried again by the next statement', async () => {
    await using pipeline = openPipeline({ ...database.connection, port: 1 }, { name: 'pipe-none' });
    for (const id of [30, 31]) {
      const error = await pipeline.query(insert(id)).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ECONNREFUSED' });
      expect(isDatabaseGone(error)).toBe(true);
    }
  });

  test('an answer that does not come rejects all that was in flight, and the next statement connects again', async () => {
    const connection = { ...database.connection, statementTimeoutMs: 50 };
    await using pipeline = openPipeline(connection, { name: 'pipe-mute' });
    await pipeline.query({
      name: 'mute',
      text: `select set_config('statement_timeout', '0', false)`,
      values: [],
    });
    const sleep = { name: 'sleep', text: 'select pg_sleep($1)', values: [60] };
    const inFlight = [pipeline.query(sleep), pipeline.query(insert(50))].map((query) =>
      query.catch((error: unknown) => error),
    );
    expect((await Promise.all(inFlight)).map(isDatabaseGone)).toEqual([true, true]);
    expect(await pipeline.query(insert(51))).toEqual([{ id: 51n }]);
  });

  test('closing waits for what is in flight and refuses what comes after', async () => {
    const pipeline = openPipeline(database.connection, { name: 'pipe-close' });
    const last = pipeline.query(insert(40));
    await pipeline.close();
    expect(await last).toEqual([{ id: 40n }]);
    await expect(pipeline.query(insert(41))).rejects.toThrow('closed');
  });
});

describe('isPassing', () => {
  const raised = async (code: string): Promise<unknown> =>
    sql`do ${sql.raw(`$$ begin raise exception 'x' using errcode = '${code}'; end $$`)}`
      .execute(database.db)
      .catch((error: unknown) => error);

  test('what the database could not do just now may be tried again, what is wrong with a row may not', async () => {
    const passing = ['53100', '53200', '53300', '58030', '57014', '25006', '40001', '40P01', '55P03'];
    for (const code of passing) expect(isPassing(await raised(code)), code).toBe(true);
    for (const code of ['23505', '22003', '42501', 'P0001', 'XX000'])
      expect(isPassing(await raised(code)), code).toBe(false);
  });
});

describe('connectionOf', () => {
  const settings = {
    host: 'db',
    port: 5432,
    name: 'florin',
    user: 'u',
    connectTimeoutMs: 1,
    statementTimeoutMs: 2,
  };

  test('verify-full checks issuer and name, verify-ca the issuer only, require nothing', () => {
    expect(connectionOf({ ...settings, sslMode: 'disable' }).tls).toBeUndefined();
    expect(connectionOf({ ...settings, sslMode: 'require' }).tls).toEqual({ rejectUnauthorized: false });
    expect(connectionOf({ ...settings, sslMode: 'verify-full' }).tls).toEqual({
      rejectUnauthorized: true,
      host: 'db',
    });
    const { tls } = connectionOf({ ...settings, sslMode: 'verify-ca' });
    expect(tls?.rejectUnauthorized).toBe(true);
    expect(tls?.checkServerIdentity?.('other', {} as never)).toBeUndefined();
  });
});
