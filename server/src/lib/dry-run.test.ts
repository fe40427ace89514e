import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { inTransaction, isDatabaseGone, openDatabase, openPipeline, type Database } from './database.ts';
import { assertReal, currentDryRun, noteWritten, rehearse } from './dry-run.ts';
import { newId } from './ids.ts';

let database: TestDatabase;
let own: Database;
beforeAll(async () => {
  database = await testDatabase();
  await sql`create table public.notes (id bigint primary key);
            grant all on public.notes to florin_service`.execute(database.superuser);
  own = openDatabase({ connection: database.connection, poolMax: 2, applicationName: 'rehearsed' });
});
afterAll(async () => {
  await own?.close();
  await database?.[Symbol.asyncDispose]();
});

const add = (id: number, db = own.db) => sql`insert into public.notes values (${id})`.execute(db);
const count = async (db = own.db): Promise<number> =>
  (await sql`select from public.notes`.execute(db)).rows.length;

describe('a dry run', () => {
  test('sees what it wrote, in and out of transactions, and leaves nothing of it', async () => {
    const seen = await rehearse(async () => {
      await add(1);
      await inTransaction(own.db, async (tx) => add(2, tx));
      return count();
    });
    expect(seen).toBe(2);
    expect(await count()).toBe(0);
  });

  test('others see nothing of it while it runs', async () => {
    await rehearse(async () => {
      await add(1);
      expect(await count(database.superuser)).toBe(0);
    });
  });

  test('a transaction in it that fails takes back itself alone', async () => {
    const seen = await rehearse(async () => {
      await add(1);
      const failing = inTransaction(own.db, async (tx) => {
        await add(2, tx);
        await add(2, tx);
      });
      await expect(failing).rejects.toThrow('duplicate key');
      await inTransaction(own.db, async (tx) => add(3, tx));
      return count();
    });
    expect(seen).toBe(2);
    expect(await count()).toBe(0);
  });

  test('one that throws leaves nothing, and gives its connection back', async () => {
    const failing = rehearse(async () => {
      await add(1);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await count()).toBe(0);
    expect(own.pool.totalCount - own.pool.idleCount).toBe(0);
  });

  test('many at once, and writes that are meant beside them, do not meet', async () => {
    const seen = await Promise.all(
      [10, 11, 12, 13].map((id) =>
        id % 2 === 0
          ? rehearse(async () => {
              await add(id);
              return count();
            })
          : add(id).then(() => 0),
      ),
    );
    expect(seen.every((rows) => rows <= 3)).toBe(true);
    expect(await count()).toBe(2);
    await sql`delete from public.notes`.execute(own.db);
  });

  test('a connection that is lost in it is not given to others', async () => {
    const failing = rehearse(async () => {
      await add(1);
      await sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'rehearsed'`.execute(
        database.superuser,
      );
      await add(2);
    });
    expect(isDatabaseGone(await failing.catch((error: unknown) => error))).toBe(true);
    expect(await count()).toBe(0);
  });

  test('what of it is still under way after its end reaches no database', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let late: Promise<unknown> | undefined;
    await rehearse(async () => {
      await add(1);
      late = promise.then(() => add(2));
    });
    resolve();
    await expect(late).rejects.toThrow('after its end');
    expect(await count()).toBe(0);
  });

  test('effects that no rollback takes back refuse', async () => {
    await using pipeline = openPipeline(database.connection, { name: 'pipeline' });
    const write = { name: 'add', text: 'insert into public.notes values (1)', values: [] };
    await expect(rehearse(() => pipeline.query(write))).rejects.toThrow('a dry run must not');
    expect(() => assertReal('write a secret')).not.toThrow();
    expect(await count()).toBe(0);
  });

  test('notes what was written, and whether it depends on a backend', async () => {
    const id = newId('hold');
    const written = await rehearse(async (dryRun) => {
      noteWritten({ what: 'hold', id, ended: false });
      dryRun.assumes = { connector: 'bank', operation: 'capture' };
      noteWritten({ what: 'hold', id, ended: true });
      expect(currentDryRun()).toBe(dryRun);
      return dryRun.written;
    });
    expect(written).toEqual([
      { what: 'hold', id, ended: false, assumed: false },
      { what: 'hold', id, ended: true, assumed: true },
    ]);
    expect(currentDryRun()).toBeUndefined();
  });
});
