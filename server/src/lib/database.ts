import { readFileSync } from 'node:fs';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { Kysely, PostgresDialect, type Transaction } from 'kysely';
import pg from 'pg';
import { assertReal, rehearsable } from './dry-run.ts';
import type { Secret } from './secret.ts';
import { step } from './step.ts';
import { timedTransactions, type OnTransaction } from './transactions.ts';

/** Runs statements, each in a transaction of its own. SQL is written with Kysely's `sql` tag. */
export type Db = Kysely<unknown>;

/** Runs statements inside one open transaction. */
export type Tx = Transaction<unknown>;

/** Where a database is and who connects to it. */
export type ConnectionOptions = {
  host: string;
  port: number;
  database: string;
  user: string;
  password?: Secret | undefined;
  /** Absent: plain text. */
  tls?: TlsOptions | undefined;
  connectTimeoutMs?: number | undefined;
  /**
   * A statement that runs longer is cancelled by the server, and a transaction that is idle for longer is ended. A server
   * that does not even say so is taken for gone.
   */
  statementTimeoutMs?: number | undefined;
};

/** The part of the configuration that says where the database is: `Config['database']` fits it. */
export type DatabaseSettings = {
  host: string;
  port: number;
  name: string;
  user: string;
  password?: Secret | undefined;
  sslMode: 'disable' | 'require' | 'verify-ca' | 'verify-full';
  sslRootCertFile?: string | undefined;
  connectTimeoutMs: number;
  statementTimeoutMs: number;
  migrateUser?: string | undefined;
  migratePassword?: Secret | undefined;
};

export type Database = AsyncDisposable & { db: Db; pool: pg.Pool; close(): Promise<void> };

type OpenOptions = {
  connection: ConnectionOptions;
  /** Connections at most. */
  poolMax: number;
  /** Shown in `pg_stat_activity`. */
  applicationName: string;
  /** Told when an idle connection is lost; the pool replaces it by itself. */
  onConnectionLost?: ((error: Error) => void) | undefined;
  /** Told of every transaction that ended. */
  onTransaction?: OnTransaction | undefined;
};

/** Opens a pool and the query layer on it. Connects when the first statement runs. */
export const openDatabase = (options: OpenOptions): Database => {
  const { connection, poolMax, applicationName, onConnectionLost, onTransaction } = options;
  const pool = new pg.Pool({ ...clientConfig(connection, applicationName), max: poolMax });
  pool.on('error', (error) => onConnectionLost?.(error));
  // A connection lost while it is checked out reports twice: to the statement, which the caller sees, and as
  // an event, which would end the process if nobody listened.
  pool.on('connect', (client) => client.on('error', () => undefined));
  const dialect = new PostgresDialect({ pool: rehearsable(pool) });
  const db = new Kysely<unknown>({
    dialect: onTransaction ? timedTransactions(dialect, onTransaction) : dialect,
  });
  const close = (): Promise<void> => db.destroy();
  return { db, pool, close, [Symbol.asyncDispose]: close };
};

/** Where the services connect to, as configured. Reads the certificate file of `database.ssl_root_cert_file`. */
export const connectionOf = (settings: DatabaseSettings): ConnectionOptions => ({
  host: settings.host,
  port: settings.port,
  database: settings.name,
  user: settings.user,
  password: settings.password,
  tls: tlsOf(settings),
  connectTimeoutMs: settings.connectTimeoutMs,
  statementTimeoutMs: settings.statementTimeoutMs,
});

/** Where migrations connect to: as `migrateUser` where one is configured, else as the services' user; without a time limit. */
export const migrateConnectionOf = (settings: DatabaseSettings): ConnectionOptions => {
  const { migrateUser, migratePassword } = settings;
  const connection = { ...connectionOf(settings), statementTimeoutMs: undefined };
  return migrateUser === undefined
    ? connection
    : { ...connection, user: migrateUser, password: migratePassword };
};

/** Runs `run` in one transaction: commits when it resolves, rolls back when it throws. Never call the network in it. */
export const inTransaction = async <T>(db: Db, run: (tx: Tx) => Promise<T>): Promise<T> => {
  const result = await db.transaction().execute(async (tx) => {
    const written = await run(tx);
    step('transaction.commit');
    return written;
  });
  step('transaction.committed');
  return result;
};

/** A named statement: prepared once per connection, so `text` must always be the same for one `name`. */
export type Statement = { name: string; text: string; values: unknown[] };

/**
 * One connection on which a statement is sent before the last one has answered. Statements run and answer in the
 * order they were given, each in a transaction of its own: one that fails does not touch its neighbours.
 */
export type Pipeline = AsyncDisposable & {
  /**
   * Rejects what was in flight when the connection was lost; see `isDatabaseGone`. The next call connects again.
   */
  query<Row>(statement: Statement): Promise<Row[]>;
  /** Waits for what is in flight. */
  close(): Promise<void>;
};

type Connecting = { client: pg.Client; failure: unknown };

/** Opens a pipeline. Connects when the first statement is given, and again after the connection was lost. */
export const openPipeline = (connection: ConnectionOptions, options: { name: string }): Pipeline => {
  let current: Connecting | undefined;
  let isClosed = false;

  const connect = (): Connecting => {
    const client = new pg.Client({ ...clientConfig(connection, options.name), pipeline: true });
    const connecting: Connecting = { client, failure: undefined };
    const forget = (): void => {
      if (current === connecting) current = undefined;
    };
    client.on('error', forget);
    client.on('end', forget);
    // Statements given meanwhile wait inside the client, which rejects them when it can't connect, but without the reason.
    client.connect().catch((error: unknown) => {
      connecting.failure = error;
      forget();
    });
    return connecting;
  };

  const query = async <Row>({ name, text, values }: Statement): Promise<Row[]> => {
    if (isClosed) throw new Error(`The pipeline ${options.name} is closed.`);
    // Its connection is shared with requests that are meant.
    assertReal('write through a pipeline');
    const connecting = (current ??= connect());
    try {
      const result = await connecting.client.query({ name, text, values });
      // The caller wrote the statement and names what its rows are.
      return result.rows as Row[];
    } catch (error) {
      // One whose answer does not come is ended a moment later.
      if (isDatabaseGone(error) && current === connecting) current = undefined;
      throw connecting.failure ?? error;
    }
  };

  const close = async (): Promise<void> => {
    isClosed = true;
    await current?.client.end();
  };

  return { query, close, [Symbol.asyncDispose]: close };
};

/** Options for a client of one's own, with the same types as the pool. */
export const clientConfig = (connection: ConnectionOptions, applicationName: string): pg.ClientConfig => ({
  host: connection.host,
  port: connection.port,
  database: connection.database,
  user: connection.user,
  // A function, so that a printed client shows no password.
  password: () => connection.password?.reveal() ?? '',
  ssl: connection.tls ?? false,
  application_name: applicationName,
  connectionTimeoutMillis: connection.connectTimeoutMs ?? 10_000,
  ...timeLimits(connection.statementTimeoutMs),
  keepAlive: true,
  types: { getTypeParser },
});

/** How much longer than the server may work on a statement we wait for its answer. */
const answerGraceMs = 2_000;

const timeLimits = (statementTimeoutMs: number | undefined): pg.ClientConfig =>
  statementTimeoutMs === undefined
    ? {}
    : {
        statement_timeout: statementTimeoutMs,
        // What was cut off from us holds its locks until then.
        idle_in_transaction_session_timeout: statementTimeoutMs,
        query_timeout: statementTimeoutMs + answerGraceMs,
        // Only so does pg end a connection whose answer did not come, instead of using it on.
        pipeline: true,
      };

/**
 * Whether an error says nothing against the statement: the database is gone, or could not do it just now, and may later.
 */
export const isPassing = (error: unknown): boolean =>
  isDatabaseGone(error) || passingStates.test(sqlStateOf(error) ?? '');

/**
 * SQLSTATE classes 53 insufficient resources (a full disk) and 58 system error, 57014 cancelled, 25006 read-only while
 * another server takes over, 40001 and 40P01 lost to another transaction, 55P03 a lock that was not to be had.
 */
const passingStates = /^(53...|58...|57014|25006|40001|40P01|55P03)$/;

/**
 * Whether an error says that the database could not be reached or went away. Of a statement that was under way
 * the outcome is then unknown: it may have been committed.
 */
export const isDatabaseGone = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  const code = sqlStateOf(error) ?? '';
  // SQLSTATE class 08 connection exception, 57P01–57P05 shutdown and dropped, 53300 too many connections, 25P03 idle for too long.
  if (/^(08...|57P0\d|53300|25P03)$/.test(code)) return true;
  if (error instanceof pg.DatabaseError) return false;
  return (
    /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_)/.test(code) ||
    /connection (terminated|error|timeout)|timeout (expired|exceeded)|read timeout|not queryable/i.test(
      error.message,
    )
  );
};

/** The SQLSTATE (PostgreSQL, appendix A) or system error code of an error, e.g. `23505`. */
export const sqlStateOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

const tlsOf = ({ sslMode, sslRootCertFile, host }: DatabaseSettings): TlsOptions | undefined => {
  if (sslMode === 'disable') return undefined;
  if (sslMode === 'require') return { rejectUnauthorized: false };
  const ca = sslRootCertFile === undefined ? {} : { ca: readFileSync(sslRootCertFile) };
  // libpq's verify-ca trusts the issuer and ignores the name.
  if (sslMode === 'verify-ca')
    return { ...ca, rejectUnauthorized: true, checkServerIdentity: () => undefined };
  // `host` is what the certificate is compared with when it is an address, which is no server name (RFC 6066).
  return { ...ca, rejectUnauthorized: true, host };
};

type Parser = (value: string) => unknown;

// Types are numbers on the wire, and arrays are missing from the list of those that have names.
const parserOf = pg.types.getTypeParser as (oid: number, format: 'text' | 'binary') => Parser;
const oids: Record<'int8' | 'int8Array' | 'date' | 'textArray', number> = {
  int8: pg.types.builtins.INT8,
  int8Array: 1016,
  date: pg.types.builtins.DATE,
  textArray: 1009,
};
const parseTexts = parserOf(oids.textArray, 'text') as (value: string) => (string | null)[];

/** Amounts are `bigint`, dates are texts: neither a float nor a local midnight may touch money. */
const getTypeParser = ((oid: number, format: 'text' | 'binary' = 'text'): Parser => {
  if (format === 'binary') return parserOf(oid, 'binary');
  if (oid === oids.int8) return BigInt;
  if (oid === oids.int8Array)
    return (value) => parseTexts(value).map((item) => (item === null ? null : BigInt(item)));
  if (oid === oids.date) return (value) => value;
  return parserOf(oid, 'text');
  // It answers to all overloads of pg's function.
}) as typeof pg.types.getTypeParser;
