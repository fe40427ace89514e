import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { clientConfig, type ConnectionOptions } from '../server/src/lib/database.ts';
import { migrate } from '../server/src/lib/migrate.ts';
import { startEmbedded } from '../server/src/lib/postgres/embedded.ts';
import { parentOf } from './machine.ts';

/** The embedded PostgreSQL of a run, in a folder of its own, with its settings as `npm start` has them. */
export type Postgres = AsyncDisposable & {
  /** Where logs and the like of the run may lie; removed at the end. */
  home: string;
  version: string;
  /** Its first process; 0 where there is no /proc. */
  pid: number;
  service(database: string): ConnectionOptions;
  superuser(database: string): ConnectionOptions;
  /** A database with the schema of this checkout. */
  create(database: string): Promise<void>;
  /** A database that is a copy of another, to which nobody is connected. */
  copy(from: string, to: string): Promise<void>;
  /** Deadlocks since the server started, in all databases. */
  deadlocks(): Promise<number>;
};

export const startPostgres = async (): Promise<Postgres> => {
  const home = await mkdtemp(join(tmpdir(), 'florin-bench-'));
  const embedded = await startEmbedded({ directory: home, log: () => undefined });
  const { connections } = embedded;
  const superuser = (database: string): ConnectionOptions => ({ ...connections.superuser, database });
  const { version, pid } = await withClient(superuser('postgres'), identify);
  return {
    home,
    version,
    pid,
    service: (database) => ({ ...connections.service, database }),
    superuser,
    create: async (database) => {
      await run(superuser('postgres'), `create database ${database} owner ${connections.migrate.user}`);
      await migrate({ connection: { ...connections.migrate, database } });
    },
    copy: (from, to) =>
      run(
        superuser('postgres'),
        `create database ${to} template ${from} strategy file_copy owner ${connections.migrate.user}`,
      ),
    deadlocks: () => withClient(superuser('postgres'), countDeadlocks),
    [Symbol.asyncDispose]: async () => {
      await embedded.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
};

/** Runs `use` with a connection of its own. */
export const withClient = async <T>(
  connection: ConnectionOptions,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> => {
  const client = new pg.Client(clientConfig(connection, 'florin-bench'));
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
};

const run = (connection: ConnectionOptions, statement: string): Promise<void> =>
  withClient(connection, async (client) => void (await client.query(statement)));

/** The process that serves a connection is a child of the server's first one. */
const identify = async (client: pg.Client): Promise<{ version: string; pid: number }> => {
  const { rows } = await client.query<{ version: string; pid: number }>(
    `select current_setting('server_version') as version, pg_backend_pid() as pid`,
  );
  return { version: rows[0]?.version ?? 'unknown', pid: parentOf(rows[0]?.pid ?? 0) ?? 0 };
};

const countDeadlocks = async (client: pg.Client): Promise<number> => {
  const { rows } = await client.query<{ deadlocks: number }>(
    'select coalesce(sum(deadlocks), 0)::integer as deadlocks from pg_stat_database',
  );
  return rows[0]?.deadlocks ?? 0;
};
