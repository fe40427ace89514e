import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { clientConfig, sqlStateOf, type ConnectionOptions } from './database.ts';

/** The PostgreSQL schemas that are ours, in the order in which an unqualified name is looked up. */
export const schemas = [
  'audit',
  'events',
  'webhooks',
  'reconciliation',
  'payments',
  'customers',
  'vendors',
  'access',
  'ledger',
  'journal',
  'operations',
] as const;

/** Where the bookkeeping of the migrations lives. */
export const migrationsSchema = 'florin';

export const migrationsDirectory = fileURLToPath(new URL('../../migrations/', import.meta.url));
export const functionsDirectory = fileURLToPath(new URL('../../functions/', import.meta.url));

type MigrateOptions = {
  connection: ConnectionOptions;
  /** Told one line per step. */
  log?: ((line: string) => void) | undefined;
};

type Migrated = {
  /** Names of the migrations that were run, `0002_journal`; empty when the database was up to date. */
  migrations: string[];
  /** How many files of functions were applied. */
  functions: number;
};

// A migration that waits for a lock makes everybody queue behind it: better to fail and be started again.
const lockTimeoutMs = 10_000;
const advisoryLock = 7_305_812_209_451;

/**
 * Brings a database to the state of this release: runs the migrations it lacks, each in a transaction of its own, then
 * re-applies all functions in one. Safe to run at any time and by several processes at once: they take turns.
 * Throws an `Error` that names the file and, where it can, the line.
 */
export const migrate = async ({ connection, log = () => undefined }: MigrateOptions): Promise<Migrated> => {
  const client = new pg.Client(clientConfig(connection, 'florin-migrate'));
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(`set lock_timeout = ${String(lockTimeoutMs)}`);
    await takeTurn(client);
    await setSearchPath(client, log);
    await actAsOwner(client);
    const migrations = await runMigrations(client, log);
    await actAsOwner(client);
    const functions = await applyFunctions(client);
    log(`${String(migrations.length)} migrations run, ${String(functions)} function files applied`);
    return { migrations, functions };
  } finally {
    await client.end();
  }
};

/** Waits until no other process migrates this database; the lock ends with the connection. */
const takeTurn = async (client: pg.Client): Promise<void> => {
  try {
    await client.query('select pg_advisory_lock($1)', [advisoryLock]);
  } catch (error) {
    if (sqlStateOf(error) !== '55P03') throw error;
    throw new Error('Another process is migrating this database; try again when it is done.', {
      cause: error,
    });
  }
};

/** Makes `select * from audit_log` work in any client; a convenience, since our own SQL names its schemas. */
const setSearchPath = async (client: pg.Client, log: (line: string) => void): Promise<void> => {
  const path = ['public', ...schemas].join(', ');
  const { rows } = await client.query<{ name: string; is_owner: boolean; is_set: boolean }>(
    `select datname as name, pg_has_role(datdba, 'member') as is_owner,
            exists (select from pg_db_role_setting s
                     where s.setdatabase = d.oid and s.setrole = 0 and $1 = any (s.setconfig)) as is_set
       from pg_database d where datname = current_database()`,
    [`search_path=${path}`],
  );
  const [database] = rows;
  if (database === undefined || database.is_set) return;
  if (database.is_owner)
    await client.query(`alter database ${pg.escapeIdentifier(database.name)} set search_path = ${path}`);
  else
    log(
      `Only its owner may set the search_path of database ${database.name}; name schemas in queries: audit.audit_log`,
    );
};

/** Everything belongs to one role, whoever runs the migrations; see `0001_roles.sql`. */
const actAsOwner = async (client: pg.Client): Promise<void> => {
  const { rows } = await client.query<{ owner: string; is_owner: boolean; is_member: boolean }>(
    `select r.rolname as owner, r.rolname = current_user as is_owner,
            pg_has_role(r.oid, case when current_setting('server_version_num')::integer >= 160000
                                    then 'set' else 'member' end) as is_member
       from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = $1`,
    [migrationsSchema],
  );
  const [schema] = rows;
  if (schema === undefined || schema.is_owner) return;
  if (!schema.is_member)
    throw new Error(`The tables belong to ${schema.owner}: migrate as ${schema.owner} or a member of it.`);
  await client.query(`set role ${pg.escapeIdentifier(schema.owner)}`);
};

const runMigrations = async (client: pg.Client, log: (line: string) => void): Promise<string[]> => {
  let current = '';
  const info = (line: string): void => {
    const name = /MIGRATION (\S+) /.exec(line)?.[1];
    if (name === undefined) return;
    current = name;
    log(`migrations/${name}.sql`);
  };
  const run = runner({
    dbClient: client,
    dir: migrationsDirectory,
    ignorePattern: String.raw`(?!.*\.sql$).*`,
    direction: 'up',
    migrationsTable: 'migrations',
    migrationsSchema,
    createMigrationsSchema: true,
    singleTransaction: false,
    // `takeTurn` waits instead.
    noLock: true,
    // Its warnings and errors arrive as the exception, too.
    logger: { debug: () => undefined, info, warn: () => undefined, error: () => undefined },
  });
  const migrations = await run.catch((error: unknown) => {
    throw current === ''
      ? error
      : new Error(`migrations/${current}.sql: ${messageOf(error)}`, { cause: error });
  });
  return migrations.map(({ name }) => name);
};

/** Re-applies `functions/**`: a function is reviewed as a diff of its file, not as a migration. */
const applyFunctions = async (client: pg.Client): Promise<number> => {
  const entries = await readdir(functionsDirectory, { recursive: true });
  const files = entries.filter((entry) => entry.endsWith('.sql')).sort();
  await client.query('begin');
  // A function may call one that a later file creates.
  await client.query('set local check_function_bodies = off');
  for (const file of files) await applyFile(client, join(functionsDirectory, file));
  await grantFunctions(client);
  await client.query('commit');
  return files.length;
};

const applyFile = async (client: pg.Client, file: string): Promise<void> => {
  const text = await readFile(file, 'utf8');
  try {
    await client.query(text);
  } catch (error) {
    const position = error instanceof pg.DatabaseError ? Number(error.position) : Number.NaN;
    const line = Number.isNaN(position) ? '' : `:${String(text.slice(0, position).split('\n').length)}`;
    const where = `functions/${relative(functionsDirectory, file)}${line}`;
    const remedy =
      sqlStateOf(error) === '42P13'
        ? ' (drop the old one in a migration: its result or parameters changed)'
        : '';
    throw new Error(`${where}: ${messageOf(error)}${remedy}`, { cause: error });
  }
};

/** Whoever may use a schema may call its functions, and nobody else: they run with the rights of the caller. */
const grantFunctions = async (client: pg.Client): Promise<void> => {
  const { rows } = await client.query<{ name: string }>(
    'select nspname as name from pg_namespace where nspname = any ($1) order by nspname',
    [schemas],
  );
  for (const { name } of rows) {
    await client.query(`revoke execute on all functions in schema ${name} from public`);
    await client.query(
      `grant execute on all functions in schema ${name} to florin_service, florin_maintenance`,
    );
  }
};

/** With the hint that PostgreSQL gives. */
const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error instanceof pg.DatabaseError && error.hint !== undefined
    ? `${error.message} ${error.hint}`
    : error.message;
};
