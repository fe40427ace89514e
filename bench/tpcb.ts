import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { ConnectionOptions } from '../server/src/lib/database.ts';
import type { Postgres } from './postgres.ts';

/** The database of the yardstick. */
const tpcbDatabase = 'tpcb';

const places = ['/usr/lib/postgresql/15/bin/pgbench', '/usr/bin/pgbench', '/usr/local/bin/pgbench'];

/** Where pgbench is; the embedded PostgreSQL does not bring it. */
export const findPgbench = (): string | undefined => places.find((path) => existsSync(path));

/** Fills the yardstick's database: scale 10. */
export const prepareTpcb = async (pgbench: string, postgres: Postgres): Promise<void> => {
  await postgres.create(tpcbDatabase);
  await run(pgbench, postgres.superuser(tpcbDatabase), ['--initialize', '--scale=10', '--quiet']);
};

/** Transactions per second of TPC-B: 16 clients, 1 thread, scale 10, fsync and synchronous_commit as they are. */
export const tpcbPerSecond = async (
  pgbench: string,
  postgres: Postgres,
  seconds: number,
): Promise<number> => {
  const args = ['--client=16', '--jobs=1', `--time=${seconds}`, '--no-vacuum'];
  const output = await run(pgbench, postgres.superuser(tpcbDatabase), args);
  return Number(/tps = ([\d.]+)/.exec(output)?.[1]);
};

const run = async (
  pgbench: string,
  { host, port, user, database, password }: ConnectionOptions,
  args: readonly string[],
): Promise<string> => {
  const target = [`--host=${host}`, `--port=${port}`, `--username=${user}`, database];
  const child = spawn(pgbench, [...args, ...target], {
    env: { PGPASSWORD: password?.reveal() ?? '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`pgbench failed: ${errors}`);
  return output;
};
