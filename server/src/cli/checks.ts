import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import pg from 'pg';
import { ConfigError, errorLines, inspectConfig, rootDirectory } from '../lib/config/config.ts';
import { previewDevelopmentSecrets } from '../lib/config/development.ts';
import type { Env } from '../lib/config/environment.ts';
import { clientConfig } from '../lib/database.ts';
import { embeddedPackage } from '../lib/postgres/binaries.ts';
import { embeddedHolder } from '../lib/postgres/embedded.ts';
import { isRoot } from '../lib/postgres/user.ts';
import { findTarget, stateDirectory, usesEmbedded } from './target.ts';

/** One thing that Florin needs (`missing` without it) or can make use of (`optional` without it). */
export type Finding = {
  name: string;
  state: 'ok' | 'missing' | 'optional';
  detail: string;
  /** The command that mends it. */
  remedy?: string;
};

const nodeMajorMin = 26;
const postgresVersionMin = 150_000;
const diskBytesMin = 1024 ** 3;

export const checkNode = (version: string): Finding => ({
  name: 'node',
  state: Number(version.split('.')[0]) >= nodeMajorMin ? 'ok' : 'missing',
  detail: version,
  remedy: 'npm install --no-save --include=optional',
});

export const checkNpm = (env: Env): Finding => {
  const { status, stdout } = spawnSync('npm', ['--version'], {
    encoding: 'utf8',
    env: { PATH: env['PATH'], HOME: env['HOME'] },
  });
  const remedy = 'apt-get install npm';
  return status === 0
    ? { name: 'npm', state: 'ok', detail: stdout.trim() }
    : { name: 'npm', state: 'missing', detail: 'not found', remedy };
};

type Lock = { packages: Record<string, { version?: string; dev?: true; optional?: true; link?: true }> };

/** Whether what is installed is what the lock file names; development tools aside. */
export const checkPackages = (directory: string): Finding => {
  const remedy = 'npm install --no-save';
  const [lock, installedLock] = [
    join(directory, 'package-lock.json'),
    join(directory, 'node_modules', '.package-lock.json'),
  ];
  if (!existsSync(installedLock))
    return { name: 'packages', state: 'missing', detail: 'not installed', remedy };
  const [wanted, installed] = [lock, installedLock].map(
    (file) => (JSON.parse(readFileSync(file, 'utf8')) as Lock).packages,
  );
  const needed = Object.entries(wanted ?? {}).filter(
    ([path, { dev, optional, link }]) => path.includes('node_modules/') && !dev && !optional && !link,
  );
  const stale = needed
    .filter(([path, { version }]) => installed?.[path]?.version !== version)
    .map(([path]) => path.replace('node_modules/', ''));
  if (stale.length === 0)
    return { name: 'packages', state: 'ok', detail: `${String(needed.length)} as in package-lock.json` };
  const some = stale.slice(0, 3).join(', ');
  return {
    name: 'packages',
    state: 'missing',
    detail: `${String(stale.length)} are not as in package-lock.json: ${some}`,
    remedy,
  };
};

export const checkConfiguration = (env: Env): Finding => {
  const { config, faults } = inspectConfig({
    service: 'all',
    env,
    overrides: previewDevelopmentSecrets(rootDirectory, env),
  });
  if (faults.length === 0) return { name: 'configuration', state: 'ok', detail: `valid in ${config.env}` };
  return {
    name: 'configuration',
    state: 'missing',
    detail: faults.join('; '),
    remedy: 'bin/florin validate',
  };
};

export const checkEmbedded = (env: Env): Finding => {
  const { name, native } = embeddedPackage();
  if (native !== undefined) return { name: 'embedded PostgreSQL', state: 'ok', detail: name };
  const remedy =
    'npm install --no-save --include=optional, or set DATABASE_URL to use a PostgreSQL of your own';
  const state = usesEmbedded(env) ? 'missing' : 'optional';
  return { name: 'embedded PostgreSQL', state, detail: `${name} is not installed`, remedy };
};

/** Only root needs another user, since PostgreSQL refuses to run as root; `npm start` makes it. */
export const checkUser = (env: Env): Finding => {
  const name = 'user for PostgreSQL';
  if (!usesEmbedded(env) || !isRoot()) return { name, state: 'ok', detail: 'this user' };
  const exists = (user: string): boolean => spawnSync('id', [user]).status === 0;
  if (exists('florin')) return { name, state: 'ok', detail: 'florin' };
  if (isFound('useradd', env)) return { name, state: 'ok', detail: 'florin, which the first start makes' };
  const other = ['postgres', 'nobody'].find(exists);
  if (other !== undefined) return { name, state: 'ok', detail: other };
  return { name, state: 'missing', detail: 'none', remedy: 'start Florin as a user that is not root' };
};

/** The configured database, or the embedded one if it runs. */
export const checkDatabase = async (env: Env): Promise<Finding> => {
  const name = 'database';
  const remedy = 'check PAYMENTS_DATABASE_* or DATABASE_URL with: bin/florin config print';
  try {
    if (usesEmbedded(env) && (await embeddedHolder(stateDirectory)) === undefined) {
      return { name, state: 'ok', detail: 'the embedded one, not running; npm start starts it' };
    }
    const { connections } = await findTarget('cli', env);
    const { host, port } = connections.service;
    const client = new pg.Client(clientConfig(connections.service, 'florin-doctor'));
    await client.connect();
    const { rows } = await client.query<{ number: number; version: string }>(
      `select current_setting('server_version_num')::integer as number, current_setting('server_version') as version`,
    );
    await client.end();
    const detail = `PostgreSQL ${rows[0]?.version ?? ''} on ${host}:${String(port)}`;
    return {
      name,
      state: (rows[0]?.number ?? 0) >= postgresVersionMin ? 'ok' : 'missing',
      detail,
      remedy: 'use PostgreSQL 15 or newer',
    };
  } catch (error) {
    return { name, state: 'missing', detail: reasonOf(error), remedy };
  }
};

/** The ports that `npm start` listens on. Those that a running Florin has taken are as they should be. */
export const checkPorts = async (env: Env): Promise<Finding[]> => {
  const overrides = previewDevelopmentSecrets(rootDirectory, env);
  const { server } = inspectConfig({ service: 'all', env, overrides }).config;
  const holder = await embeddedHolder(stateDirectory);
  const ports = [
    { port: server.port, host: server.host, variable: 'PAYMENTS_SERVER_PORT' },
    { port: server.sapiPort, host: server.sapiHost, variable: 'PAYMENTS_SERVER_SAPI_PORT' },
  ];
  const check = async ({ port, host, variable }: (typeof ports)[number]): Promise<Finding> => {
    const name = `port ${String(port)}`;
    if (await isFree(port, host)) return { name, state: 'ok', detail: 'free' };
    if (holder !== undefined)
      return { name, state: 'ok', detail: `taken, and Florin runs as process ${String(holder.pid)}` };
    return {
      name,
      state: 'missing',
      detail: 'taken by another program',
      remedy: `${variable}=${String(port + 5000)} npm start`,
    };
  };
  return Promise.all(ports.map(check));
};

export const checkDisk = async (directory: string): Promise<Finding> => {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const detail = `${(free / 1024 ** 3).toFixed(1)} GiB free`;
  return {
    name: 'disk',
    state: free >= diskBytesMin ? 'ok' : 'missing',
    detail,
    remedy: `free 1 GiB at ${directory}`,
  };
};

const tools = [
  { name: 'redis-server', files: ['redis-server'], use: 'tests of the Redis path' },
  { name: 'postgresql-15', files: ['/usr/lib/postgresql/15/bin/postgres'], use: 'tests on PostgreSQL 15' },
  { name: 'chromium', files: ['chromium', 'chromium-browser', 'google-chrome'], use: 'tests in a browser' },
  { name: 'hey', files: ['hey'], use: 'load by hand' },
] as const;

/** What only tests and experiments use. */
export const checkTools = (env: Env): Finding[] =>
  tools.map(({ name, files, use }) => {
    const found = files.find((file) => isFound(file, env));
    if (found !== undefined) return { name, state: 'ok', detail: `for ${use}` };
    return { name, state: 'optional', detail: `not found; for ${use}`, remedy: `apt-get install ${name}` };
  });

const isFound = (file: string, env: Env): boolean =>
  file.startsWith('/')
    ? existsSync(file)
    : (env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, file)));

const isFree = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host }, () => probe.close(() => resolve(true)));
  });

const reasonOf = (error: unknown): string => {
  if (error instanceof ConfigError) return errorLines(error.faults).join('; ');
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message : String(error);
};
