import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { rootDirectory } from '../server/src/lib/config/config.ts';
import { clientConfig, type ConnectionOptions } from '../server/src/lib/database.ts';
import { startEmbedded } from '../server/src/lib/postgres/embedded.ts';

/**
 * `npm run bench`: durable payments per second over HTTP, as a ratio to pgbench TPC-B on the same server, interleaved in
 * one run. A figure without its yardstick means nothing: the same disk can be twice as fast an hour later.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '8' } },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const port = 3055;

const pgbench = ['/usr/lib/postgresql/15/bin/pgbench', '/usr/bin/pgbench'].find((path) => existsSync(path));

const main = async (): Promise<void> => {
  const home = await mkdtemp(join(tmpdir(), 'florin-bench-'));
  const embedded = await startEmbedded({ directory: home, log: () => undefined });
  const { superuser } = embedded.connections;
  try {
    const api = await startApi(embedded.connections.service, embedded.connections.migrate, home);
    if (pgbench) await prepareYardstick(superuser);
    else console.log('pgbench is missing (Debian: apt-get install postgresql-15): rates without a ratio.');
    const samples = { tpcb: [] as number[], hot: [] as number[], lone: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      samples.tpcb.push(pgbench ? yardstick(superuser) : Number.NaN);
      samples.hot.push(await payments(64));
      samples.lone.push(await payments(1));
    }
    report(samples);
    api.kill('SIGTERM');
    await once(api, 'exit');
  } finally {
    await embedded.stop();
    await rm(home, { recursive: true, force: true });
  }
};

/** `florin start` on the bench's own database: edge and core in one process, logs on. */
const startApi = async (
  service: ConnectionOptions,
  migrate: ConnectionOptions,
  home: string,
): Promise<ChildProcess> => {
  const env = {
    ...process.env,
    PAYMENTS_DATABASE_HOST: service.host,
    PAYMENTS_DATABASE_PORT: String(service.port),
    PAYMENTS_DATABASE_NAME: service.database,
    PAYMENTS_DATABASE_USER: service.user,
    PAYMENTS_DATABASE_PASSWORD: service.password?.reveal() ?? '',
    PAYMENTS_DATABASE_MIGRATE_USER: migrate.user,
    PAYMENTS_DATABASE_MIGRATE_PASSWORD: migrate.password?.reveal() ?? '',
    PAYMENTS_SECRETS_FILE: join(home, 'client-secrets'),
    PAYMENTS_RATE_LIMIT_MAX: '1000000000',
    PAYMENTS_LOG_FORMAT: 'json',
    PORT: String(port),
  };
  const main = join(rootDirectory, 'server', 'src', 'cli', 'main.ts');
  const api = spawn(process.execPath, [main, 'start'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const chunk of api.stdout) if (String(chunk).includes('Florin is running')) break;
  api.stdout.resume();
  return api;
};

const prepareYardstick = async (connection: ConnectionOptions): Promise<void> => {
  const client = new pg.Client(clientConfig(connection, 'bench'));
  await client.connect();
  await client.query('create database tpcb');
  await client.end();
  run(connection, ['--initialize', '--scale=10', '--quiet']);
};

/** Transactions per second of TPC-B: 16 clients, 1 thread, scale 10, fsync and synchronous_commit as they are. */
const yardstick = (connection: ConnectionOptions): number => {
  const output = run(connection, ['--client=16', '--jobs=1', `--time=${seconds}`, '--no-vacuum']);
  return Number(/tps = ([\d.]+)/.exec(output)?.[1]);
};

const run = (connection: ConnectionOptions, args: readonly string[]): string => {
  const target = [
    `--host=${connection.host}`,
    `--port=${connection.port}`,
    `--username=${connection.user}`,
    'tpcb',
  ];
  const env = { ...process.env, PGPASSWORD: connection.password?.reveal() ?? '' };
  const { stdout, stderr, status } = spawnSync(pgbench ?? '', [...args, ...target], {
    encoding: 'utf8',
    env,
  });
  if (status !== 0) throw new Error(`pgbench failed: ${stderr}`);
  return stdout;
};

/** Payments per second of one vendor, from a load generator in a process of its own. */
const payments = async (clients: number): Promise<number> => {
  const load = join(rootDirectory, 'bench', 'load.ts');
  const child = spawn(
    process.execPath,
    [load, `http://127.0.0.1:${port}`, String(clients), String(seconds)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let output = '';
  for await (const chunk of child.stdout) output += String(chunk);
  const { rate, failures } = JSON.parse(output) as { rate: number; failures: number };
  if (failures > 0) throw new Error(`${failures} payments were not answered 201`);
  return rate;
};

const report = ({ tpcb, hot, lone }: Record<'tpcb' | 'hot' | 'lone', number[]>): void => {
  const row = (name: string, rates: readonly number[]): string => {
    const ratio = (median(rates) / median(tpcb)).toFixed(2);
    const range = `${Math.round(Math.min(...rates))}–${Math.round(Math.max(...rates))}`;
    return `${name.padEnd(34)}${String(Math.round(median(rates))).padStart(7)}/s  ${range.padEnd(14)}${ratio}`;
  };
  console.log(
    `${'median of ' + rounds + ' rounds'.padEnd(24)}${'rate'.padStart(9)}  ${'range'.padEnd(14)}÷ TPC-B`,
  );
  console.log(row('pgbench TPC-B -c 16 -j 1, scale 10', tpcb));
  console.log(row('payments, one vendor, 64 clients', hot));
  console.log(row('payments, one vendor, 1 client', lone));
};

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

await main();
