import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { findBinaries } from '../../src/lib/postgres/binaries.ts';
import { isRunning, markOf, type ProcessMark } from '../../src/lib/postgres/processes.ts';
import { initialise, startServer, stopOrphan, type Cluster } from '../../src/lib/postgres/server.ts';
import { unprivilegedUser, type SystemUser } from '../../src/lib/postgres/user.ts';
import { Secret } from '../../src/lib/secret.ts';

/** The test run's server, as `inject('postgres')` gives it to the tests. */
export type TestServer = { host: string; port: number; superuser: string; password: string };

declare module 'vitest' {
  // Merged into Vitest's own interface, which a type can't be.
  interface ProvidedContext {
    postgres: TestServer;
  }
}

const prefix = 'florin-test-';
const loginRoles = ['florin_service', 'florin_maintenance', 'florin_migrate'];

// Nothing that a test looks at survives a crash; a test that wants a durable server starts its own.
const settings = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  max_connections: '300',
  shared_buffers: '64MB',
};

/** Starts one PostgreSQL for the run: the embedded one, or the one in `FLORIN_TEST_POSTGRES_BIN`. */
const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  await removeLeftovers();
  const home = await mkdtemp(join(tmpdir(), prefix));
  await chmod(home, 0o711);
  await writeFile(join(home, 'owner.json'), JSON.stringify(markOf(process.pid)));
  const cluster = await clusterIn(home);
  const password = randomBytes(18).toString('base64url');
  await initialise(cluster, new Secret(password));
  const server = await startServer(cluster, { settings });
  const provided = { host: '127.0.0.1', port: server.port, superuser: 'postgres', password };
  await createRoles(provided);
  project.provide('postgres', provided);
  return async () => {
    await server.stop();
    await rm(home, { recursive: true, force: true });
  };
};

export default setup;

/** The PostgreSQL that the run tests with. */
export const testBinaries = async (user: SystemUser | undefined, copyTo: string): Promise<string> =>
  process.env['FLORIN_TEST_POSTGRES_BIN'] ?? findBinaries({ user, copyTo });

const clusterIn = async (home: string): Promise<Cluster> => {
  const user = unprivilegedUser();
  const binaries = await testBinaries(user, home);
  return { binaries, user, data: join(home, 'data'), logFile: join(home, 'server.log') };
};

const createRoles = async ({ host, port, superuser, password }: TestServer): Promise<void> => {
  const client = new pg.Client({ host, port, user: superuser, password, database: 'postgres' });
  await client.connect();
  for (const role of loginRoles) await client.query(`create role ${role} login password '${password}'`);
  await client.end();
};

/** A run that was killed leaves its server behind. */
const removeLeftovers = async (): Promise<void> => {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(prefix)) continue;
    const home = join(tmpdir(), name);
    const owner = await readFile(join(home, 'owner.json'), 'utf8').then(
      (text) => JSON.parse(text) as ProcessMark,
      () => undefined,
    );
    if (owner === undefined || isRunning(owner)) continue;
    await stopOrphan({ binaries: '', user: undefined, data: join(home, 'data'), logFile: '' });
    // Where it had mounted a disk of its own.
    spawnSync('umount', ['--lazy', home]);
    await rm(home, { recursive: true, force: true });
  }
};
