import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { clientConfig, type ConnectionOptions } from '../../src/lib/database.ts';
import { migrate } from '../../src/lib/migrate.ts';
import { hasEnded, isRunning, markOf, signal } from '../../src/lib/postgres/processes.ts';
import { initialise, startServer, type Cluster, type Server } from '../../src/lib/postgres/server.ts';
import { unprivilegedUser } from '../../src/lib/postgres/user.ts';
import { Secret } from '../../src/lib/secret.ts';
import { testBinaries } from '../setup/global.ts';

/** A PostgreSQL of one's own that may be killed. */
export type Postgres = {
  connectionAs(role: string): ConnectionOptions;
  /** Kills the server as a whole, waits until nothing of it is left, and starts it again. */
  killServer(): Promise<void>;
  /** The process that a kill of the server strikes. */
  pid(): number;
  /** A connection's process, a busy one if there is one. When it is killed the server ends all others and recovers by itself. */
  backendPid(): number | undefined;
  /** Ends the server as an operator would, unless it has ended by itself, and starts it again. */
  restart(shutdown: 'fast' | 'immediate'): Promise<void>;
  /** Whether the server is there at all; it ends by itself when it can't write its log. */
  isRunning(): boolean;
  stop(): Promise<void>;
};

// A commit is acknowledged when the kernel has it, which a killed process does not change; only a loss of power needs
// it on the disk.
const settings = { fsync: 'off', max_connections: '60', shared_buffers: '64MB', restart_after_crash: 'on' };

const roles = ['florin_service', 'florin_maintenance', 'florin_migrate'];

/** Makes and starts a server in a folder, with a migrated database `florin`. */
export const startPostgres = async (home: string): Promise<Postgres> => {
  const user = unprivilegedUser();
  const cluster: Cluster = {
    binaries: await testBinaries(user, home),
    user,
    data: join(home, 'data'),
    logFile: join(home, 'postgres.log'),
  };
  const password = new Secret(randomBytes(18).toString('base64url'));
  await initialise(cluster, password);
  let server = await startServer(cluster, { settings });
  const { port } = server;
  const connectionAs = (role: string, database = 'florin'): ConnectionOptions => ({
    host: '127.0.0.1',
    port,
    database,
    user: role,
    password,
  });
  await prepare(connectionAs('postgres', 'postgres'), password);
  await migrate({ connection: connectionAs('florin_migrate') });

  const killServer = async (): Promise<void> => {
    await killWhole(server);
    await startAgain();
  };
  const restart = async (shutdown: 'fast' | 'immediate'): Promise<void> => {
    if (isRunning(server.mark)) signal(server.mark.pid, shutdown === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await hasEnded(server.mark, shutdownPatienceMs);
    await startAgain();
  };
  const startAgain = async (): Promise<void> => {
    server = await startWhenGone(() => startServer(cluster, { port, settings }));
    if (server.port !== port) throw new Error(`port ${port} of the ended PostgreSQL was taken`);
  };
  const backendPid = (): number | undefined =>
    childrenOf(server)
      .filter(({ title }) => title.includes('florin_service'))
      .sort(busyFirst)[0]?.pid;
  return {
    connectionAs,
    killServer,
    pid: () => server.mark.pid,
    backendPid,
    restart,
    isRunning: () => isRunning(server.mark),
    stop: () => server.stop(),
  };
};

const prepare = async (connection: ConnectionOptions, password: Secret): Promise<void> => {
  const client = new pg.Client(clientConfig(connection, 'crash-setup'));
  await client.connect();
  for (const role of roles) await client.query(`create role ${role} login password '${password.reveal()}'`);
  await client.query('create database florin owner florin_migrate');
  await client.end();
};

const shutdownPatienceMs = 30_000;
const childPatienceMs = 10_000;

/** The server's processes share memory: a new one must not start before the last of them is gone. */
const killWhole = async (server: Server): Promise<void> => {
  const children = childrenOf(server).flatMap(({ pid }) => markOf(pid) ?? []);
  signal(server.mark.pid, 'SIGKILL');
  await hasEnded(server.mark, childPatienceMs);
  for (const child of children) {
    // They end by themselves when they see that their parent did; one that works finishes first.
    if (await hasEnded(child, childPatienceMs)) continue;
    signal(child.pid, 'SIGKILL');
    await hasEnded(child, childPatienceMs);
  }
};

/** Somebody else may have killed the server: then its processes are known only by the memory that they share. */
const startWhenGone = async (start: () => Promise<Server>): Promise<Server> => {
  for (const deadline = performance.now() + childPatienceMs; ;) {
    try {
      return await start();
    } catch (error) {
      const isLeft = error instanceof Error && error.message.includes('pre-existing shared memory block');
      if (!isLeft || performance.now() > deadline) throw error;
      await wait(20);
    }
  }
};

type Child = { pid: number; title: string };

/** The processes of a server with what they say they do: `postgres: florin_service florin 127.0.0.1(5000) COMMIT`. */
const childrenOf = ({ mark }: Server): Child[] => {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, title = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return Number(parent) === mark.pid ? [{ pid: Number(pid), title }] : [];
  });
};

const busyFirst = (a: Child, b: Child): number => Number(isIdle(a)) - Number(isIdle(b));
const isIdle = ({ title }: Child): boolean => title.endsWith(' idle');
