import { randomBytes } from 'node:crypto';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { clientConfig, sqlStateOf, type ConnectionOptions } from '../database.ts';
import { Secret } from '../secret.ts';
import { findBinaries } from './binaries.ts';
import { openHome, systemFolder, type Home } from './home.ts';
import { holderOf, takeLock } from './lock.ts';
import { isRunning, type ProcessMark } from './processes.ts';
import { initialise, startServer, type Cluster } from './server.ts';
import { isRoot } from './user.ts';

/** How to connect to the embedded database, as each of those who do. */
export type EmbeddedConnections = Record<keyof Passwords, ConnectionOptions>;

/** The embedded database, started by this process, which must stop it. */
export type Embedded = AsyncDisposable & {
  port: number;
  connections: EmbeddedConnections;
  stop(): Promise<void>;
};

type StartOptions = {
  /** Florin's own folder, `.florin`; the database lives in its `postgres`. */
  directory: string;
  /** Told one line per step that takes a moment. */
  log: (line: string) => void;
};

/**
 * Starts the embedded PostgreSQL, making it first when there is none: for development and for trying Florin out, on
 * loopback, with random passwords. A server that a killed process left behind is stopped and started anew.
 * Throws `LockedError` while another process runs it, and an `Error` that says what to do where it can't run.
 */
export const startEmbedded = async ({ directory, log }: StartOptions): Promise<Embedded> => {
  const home = await openHome(directory);
  const lock = await takeLock(lockFile(home.notes));
  try {
    const passwords = await ownPasswords(home);
    const cluster = await clusterOf(home);
    const isNew = !(await exists(cluster.data));
    if (isNew) log('Making an embedded PostgreSQL in .florin/postgres');
    await initialise(cluster, new Secret(passwords.superuser));
    const noted = await readNote<ServerNote>(serverFile(home.notes));
    const server = await startServer(cluster, { port: noted?.port, settings });
    const connections = connectionsTo(server.port, passwords);
    const stop = async (): Promise<void> => {
      await server.stop();
      await lock.release();
    };
    await prepare(connections).catch(async (error: unknown) => {
      await server.stop();
      throw error;
    });
    await writeNote(serverFile(home.notes), { port: server.port, mark: server.mark } satisfies ServerNote);
    return { port: server.port, connections, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await lock.release();
    throw error;
  }
};

/** The connections of the embedded database of `directory` if it runs now, whoever started it. */
export const findEmbedded = async (directory: string): Promise<EmbeddedConnections | undefined> => {
  const notes = resolve(directory, 'postgres');
  const [server, passwords] = await Promise.all([
    readNote<ServerNote>(serverFile(notes)),
    readNote<Passwords>(passwordFile(notes)),
  ]);
  if (server === undefined || passwords === undefined || !isRunning(server.mark)) return undefined;
  return connectionsTo(server.port, passwords);
};

/** The process that started the embedded database of `directory`, if it runs now. */
export const embeddedHolder = (directory: string): Promise<ProcessMark | undefined> =>
  holderOf(lockFile(resolve(directory, 'postgres')));

type Passwords = { superuser: string; migrate: string; service: string; maintenance: string };
type ServerNote = { port: number; mark: ProcessMark };

const databaseName = 'florin';

const settings = {
  max_connections: '200',
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  // Short statements by the thousand: compiling them costs more than it saves.
  jit: 'off',
  log_line_prefix: '%m [%p] %q%u@%d ',
};

const lockFile = (notes: string): string => join(notes, 'lock');
const serverFile = (notes: string): string => join(notes, 'server.json');
const passwordFile = (notes: string): string => join(notes, 'passwords.json');

const clusterOf = async ({ notes, folder, user }: Home): Promise<Cluster> => {
  const binaries = await findBinaries({ user, copyTo: isRoot() ? systemFolder : notes });
  const logFile = join(notes, 'server.log');
  const { size } = await stat(logFile).catch(() => ({ size: 0 }));
  if (size > logBytesMax) await rename(logFile, `${logFile}.1`);
  return { binaries, user, data: join(folder, 'data'), logFile };
};

const logBytesMax = 10 * 1024 * 1024;

/** Made once. They must be there before the data is, which can't be opened without them. */
const ownPasswords = async ({ notes, folder }: Home): Promise<Passwords> => {
  const existing = await readNote<Passwords>(passwordFile(notes));
  if (existing !== undefined) return existing;
  if (await exists(join(folder, 'data'))) {
    throw new Error(
      `${passwordFile(notes)} is missing, and without it ${folder}/data can't be opened. Put it back, or move the data away.`,
    );
  }
  const random = (): string => randomBytes(24).toString('base64url');
  const passwords = { superuser: random(), migrate: random(), service: random(), maintenance: random() };
  await writeNote(passwordFile(notes), passwords);
  return passwords;
};

/** The database and the users that sign in to it. */
const prepare = async ({ superuser, migrate, service, maintenance }: EmbeddedConnections): Promise<void> => {
  const client = new pg.Client(clientConfig({ ...superuser, database: 'postgres' }, 'florin-embedded'));
  await client.connect();
  try {
    for (const { user, password } of [migrate, service, maintenance]) {
      const { rowCount } = await client.query('select from pg_roles where rolname = $1', [user]);
      if (rowCount === 0)
        await client.query(`create role ${user} login password '${password?.reveal() ?? ''}'`);
    }
    const { rowCount } = await client.query('select from pg_database where datname = $1', [databaseName]);
    if (rowCount === 0) await client.query(`create database ${databaseName} owner ${migrate.user}`);
  } finally {
    await client.end();
  }
};

const connectionsTo = (port: number, passwords: Passwords): EmbeddedConnections => {
  const connect = (user: string, password: string): ConnectionOptions => ({
    host: '127.0.0.1',
    port,
    database: databaseName,
    user,
    password: new Secret(password),
  });
  return {
    service: connect('florin_service', passwords.service),
    migrate: connect('florin_migrate', passwords.migrate),
    maintenance: connect('florin_maintenance', passwords.maintenance),
    superuser: connect('postgres', passwords.superuser),
  };
};

/** Replaced as a whole, so that a reader never sees half of one. */
const writeNote = async (file: string, note: object): Promise<void> => {
  const draft = `${file}.${String(process.pid)}`;
  await writeFile(draft, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  await rename(draft, file);
};

const readNote = async <T>(file: string): Promise<T | undefined> => {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch (error) {
    if (sqlStateOf(error) === 'ENOENT') return undefined;
    throw new Error(`${file} can't be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
};

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
