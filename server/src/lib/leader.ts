import { sql } from 'kysely';
import { openDatabase, type ConnectionOptions, type Db } from './database.ts';
import { repeat } from './jobs.ts';

type Options = {
  connection: ConnectionOptions;
  /** Shown in `pg_stat_activity`. */
  applicationName: string;
  /** Names what there is one of: two words, of which the database makes a lock. */
  lock: readonly [string, string];
  /** How often to try to take over from another process. */
  standbyMs: number;
  signal: AbortSignal;
};

/**
 * Runs `run` while this process is the one of its database that holds a lock; until then it waits. There is one connection for
 * all: as long as it lives the lock is held, and when it is lost nothing more is written.
 */
export const lead = async (options: Options, run: (session: Db) => Promise<void>): Promise<void> => {
  const { connection, applicationName, lock, standbyMs, signal } = options;
  await using database = openDatabase({
    connection: { ...connection, statementTimeoutMs: undefined },
    poolMax: 1,
    applicationName,
  });
  await database.db.connection().execute(async (session) => {
    await prepare(session);
    if (await waitForLock(session, { lock, signal, standbyMs })) await run(session);
  });
};

/**
 * The session as its holder needs it. A few new rows are looked up, whatever old statistics of a growing table say; and the
 * server notices within seconds when the machine of the holder is gone, which frees the lock.
 */
const prepare = async (session: Db): Promise<void> => {
  const settings = {
    enable_seqscan: 'off',
    enable_hashjoin: 'off',
    enable_mergejoin: 'off',
    jit: 'off',
    tcp_keepalives_idle: '5',
    tcp_keepalives_interval: '2',
    tcp_keepalives_count: '3',
  };
  for (const [name, value] of Object.entries(settings))
    await sql`select set_config(${name}, ${value}, false)`.execute(session);
};

/** True once the lock is ours, false when it is time to stop. Asking again and again keeps no snapshot open, as waiting would. */
const waitForLock = async (
  session: Db,
  { lock: [what, who], signal, standbyMs }: Pick<Options, 'lock' | 'signal' | 'standbyMs'>,
): Promise<boolean> => {
  const got = new AbortController();
  await repeat(AbortSignal.any([signal, got.signal]), standbyMs, async () => {
    const { rows } = await sql<{ taken: boolean }>`
      select pg_try_advisory_lock(hashtext(${what}), hashtext(${who})) as taken
    `.execute(session);
    if (rows[0]?.taken) got.abort();
    return 'idle';
  });
  return got.signal.aborted;
};
