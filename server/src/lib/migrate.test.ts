import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyDatabase, testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { testBinaries } from '../../test/setup/global.ts';
import { clientConfig, type ConnectionOptions } from './database.ts';
import { migrate } from './migrate.ts';
import { initialise, startServer, type Server } from './postgres/server.ts';
import { unprivilegedUser } from './postgres/user.ts';
import { Secret } from './secret.ts';

const answers = async (connection: ConnectionOptions, ...statements: string[]): Promise<unknown[]> => {
  const client = new pg.Client(clientConfig(connection, 'test'));
  await client.connect();
  try {
    let rows: unknown[] = [];
    for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
};

describe('a migrated database', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database[Symbol.asyncDispose]());

  test('is not migrated again, and its functions are re-applied', async () => {
    const again = await migrate({ connection: database.connectionAs('florin_migrate') });
    expect(again.migrations).toEqual([]);
    expect(again.functions).toBeGreaterThan(0);
  });

  test('belongs to florin_migrate, whoever migrates', async () => {
    await migrate({ connection: database.superuserConnection });
    const others = `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('florin', 'ledger', 'journal') and pg_get_userbyid(c.relowner) <> 'florin_migrate'
      union all
      select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where n.nspname in ('ledger', 'journal', 'payments') and pg_get_userbyid(p.proowner) <> 'florin_migrate'`;
    expect(await answers(database.superuserConnection, others)).toEqual([]);
  });

  test('finds unqualified names in our schemas', async () => {
    const [row] = await answers(database.connection, 'show search_path');
    expect(row).toEqual({ search_path: expect.stringMatching(/^public, audit, events, /) as string });
  });

  test('lets the services call its functions and nobody else, and lets them change no table', async () => {
    const [first] = await answers(
      database.superuserConnection,
      `select bool_and(has_function_privilege('florin_service', p.oid, 'execute')) as service,
              bool_or(acl.grantee = 0) as everybody
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) acl where n.nspname = 'ledger'`,
    );
    expect(first).toEqual({ service: true, everybody: false });
    for (const statement of [
      'create table ledger.more ()',
      'drop table ledger.entries',
      'create schema more',
      'create table public.more ()',
    ]) {
      await expect(answers(database.connection, statement)).rejects.toMatchObject({
        code: '42501',
      });
    }
  });

  test('says who must migrate it when another user tries', async () => {
    await expect(migrate({ connection: database.connection })).rejects.toThrow('migrate as florin_migrate');
  });
});

test('two processes that migrate one database at once take turns', async () => {
  await using empty = await emptyDatabase();
  const connection = empty.connectionAs('florin_migrate');
  const both = await Promise.all([migrate({ connection }), migrate({ connection })]);
  expect(both.filter(({ migrations }) => migrations.length > 0)).toHaveLength(1);
});

/** Roles belong to a whole cluster, so these tests need one in which nobody has made them. */
describe('on a server without our roles', () => {
  const password = new Secret(randomBytes(12).toString('hex'));
  let home: string;
  let server: Server;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'florin-roles-'));
    await chmod(home, 0o711);
    const user = unprivilegedUser();
    const cluster = {
      binaries: await testBinaries(user, home),
      user,
      data: join(home, 'data'),
      logFile: join(home, 'log'),
    };
    await initialise(cluster, password);
    server = await startServer(cluster, { settings: { fsync: 'off', shared_buffers: '32MB' } });
  });
  afterAll(async () => {
    await server.stop();
    await rm(home, { recursive: true, force: true });
  });

  const connection = (database: string, user = 'postgres'): ConnectionOptions => ({
    host: '127.0.0.1',
    port: server.port,
    database,
    user,
    password,
  });

  test('who may not create them is told what the administrator has to run', async () => {
    const create = `create role tenant login password '${password.reveal()}'`;
    await answers(connection('postgres'), create, 'create database managed owner tenant');
    const run = migrate({ connection: connection('managed', 'tenant') });
    await expect(run).rejects.toThrow(
      /0001_roles.sql: The role florin_service does not exist.*create role florin_service login/s,
    );
  });

  test('several databases that create them at once all succeed', async () => {
    const names = ['one', 'two', 'three', 'four'];
    for (const name of names) await answers(connection('postgres'), `create database ${name}`);
    const all = await Promise.all(names.map((name) => migrate({ connection: connection(name) })));
    expect(all.every(({ migrations }) => migrations[0] === '0001_roles')).toBe(true);
  });

  test('an owner who may create nothing migrates once the administrator has made them, as owner or as member', async () => {
    await migrate({ connection: connection('managed', 'tenant') });
    await answers(
      connection('postgres'),
      'grant florin_migrate to tenant',
      'create database managed_too owner tenant',
    );
    await migrate({ connection: connection('managed_too', 'tenant') });
    const owner = `select pg_get_userbyid(relowner) as owner from pg_class where oid = 'ledger.entries'::regclass`;
    expect(await answers(connection('managed'), owner)).toEqual([{ owner: 'tenant' }]);
    expect(await answers(connection('managed_too'), owner)).toEqual([{ owner: 'florin_migrate' }]);
  });

  test('a user that may create roles needs no superuser', async () => {
    await answers(
      connection('postgres'),
      'drop database if exists one',
      'drop database if exists two',
      'drop database if exists three',
      'drop database if exists four',
      'drop database managed',
      'drop database managed_too',
      'drop role florin_service, florin_maintenance, florin_migrate',
      `create role creator login createrole password '${password.reveal()}'`,
      'create database created owner creator',
    );
    for (let time = 0; time < 2; time += 1) await migrate({ connection: connection('created', 'creator') });
    const owner = `select pg_get_userbyid(relowner) as owner from pg_class where oid = 'ledger.entries'::regclass`;
    expect(await answers(connection('created'), owner)).toEqual([{ owner: 'florin_migrate' }]);
  });
});
