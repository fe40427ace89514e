import { createHash, randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import { clientConfig, openDatabase, type ConnectionOptions, type Db } from '../../src/lib/database.ts';
import { functionsDirectory, migrate, migrationsDirectory } from '../../src/lib/migrate.ts';
import { Secret } from '../../src/lib/secret.ts';

export type TestDatabase = AsyncDisposable & {
  /** Connected as `florin_service`, like the services. */
  db: Db;
  /** Connected as superuser: to arrange and to tamper. */
  superuser: Db;
  connection: ConnectionOptions;
  superuserConnection: ConnectionOptions;
  /** As another role: `florin_maintenance`, `florin_migrate`. */
  connectionAs(role: string): ConnectionOptions;
};

/**
 * A migrated database of its own for a test file, cloned from a template in a few milliseconds.
 *
 * @example
 * const database = await testDatabase();
 * afterAll(() => database[Symbol.asyncDispose]());
 */
export const testDatabase = async (): Promise<TestDatabase> => {
  const template = await migratedTemplate();
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer((client) =>
    client.query(`create database ${name} owner florin_migrate template ${template} strategy file_copy`),
  );
  await administer((client) => copySearchPath(client, { from: template, to: name }));
  const connectionAs = (user: string): ConnectionOptions => connectionTo(name, user);
  const [connection, superuserConnection] = [
    connectionAs('florin_service'),
    connectionAs(inject('postgres').superuser),
  ];
  const service = openDatabase({ connection, poolMax: 20, applicationName: 'test' });
  const superuser = openDatabase({
    connection: superuserConnection,
    poolMax: 4,
    applicationName: 'test-superuser',
  });
  const dispose = async (): Promise<void> => {
    await Promise.all([service.close(), superuser.close()]);
    await administer((client) => client.query(`drop database ${name} with (force)`));
  };
  return {
    db: service.db,
    superuser: superuser.db,
    connection,
    superuserConnection,
    connectionAs,
    [Symbol.asyncDispose]: dispose,
  };
};

/** An empty database that no migration has seen, owned by `florin_migrate`. */
export const emptyDatabase = async (): Promise<
  AsyncDisposable & { name: string; connectionAs(role: string): ConnectionOptions }
> => {
  const name = `empty_${randomBytes(6).toString('hex')}`;
  await administer((client) => client.query(`create database ${name} owner florin_migrate`));
  const dispose = async (): Promise<void> => {
    await administer((client) => client.query(`drop database ${name} with (force)`));
  };
  return { name, connectionAs: (role) => connectionTo(name, role), [Symbol.asyncDispose]: dispose };
};

const templateLock = 20_261_122;
let template: Promise<string> | undefined;

/** Named after the migrations and functions it was made of, so that watch mode makes another one when they change. */
const migratedTemplate = (): Promise<string> =>
  (template ??= administer(async (client) => {
    const name = `template_${await fingerprint()}`;
    await client.query('select pg_advisory_lock($1)', [templateLock]);
    const { rowCount } = await client.query(
      'select from pg_database where datname = $1 and not datallowconn',
      [name],
    );
    if (rowCount === 1) return name;
    await client.query(`drop database if exists ${name}`);
    await client.query(`create database ${name} owner florin_migrate`);
    await migrate({ connection: connectionTo(name, 'florin_migrate') });
    // Nobody can connect any more, so that cloning it never waits; and only a whole one is marked so.
    await client.query(`alter database ${name} with allow_connections false`);
    return name;
  }));

/** A clone has the tables of its template but not the settings of the database itself. */
const copySearchPath = async (
  client: pg.Client,
  { from, to }: { from: string; to: string },
): Promise<void> => {
  const { rows } = await client.query<{ setting: string }>(
    `select unnest(s.setconfig) as setting from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
      where d.datname = $1 and s.setrole = 0`,
    [from],
  );
  for (const { setting } of rows) {
    const [key = '', value = ''] = setting.split('=');
    await client.query(`alter database ${to} set ${key} = ${value}`);
  }
};

const fingerprint = async (): Promise<string> => {
  const hash = createHash('sha256');
  for (const directory of [migrationsDirectory, functionsDirectory]) {
    const files = (await readdir(directory, { recursive: true }))
      .filter((file) => file.endsWith('.sql'))
      .sort();
    for (const file of files) hash.update(file).update(await readFile(join(directory, file)));
  }
  return hash.digest('hex').slice(0, 16);
};

const administer = async <T>(run: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client(
    clientConfig(connectionTo('postgres', inject('postgres').superuser), 'test-setup'),
  );
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
};

const connectionTo = (database: string, user: string): ConnectionOptions => {
  const { host, port, password } = inject('postgres');
  return { host, port, database, user, password: new Secret(password) };
};
