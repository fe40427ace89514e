import { spawn, spawnSync } from 'node:child_process';
import { chown, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Secret } from '../secret.ts';
import { commandOf, hasEnded, isRunning, markOf, signal, type ProcessMark } from './processes.ts';
import { asUser, type SystemUser } from './user.ts';

/** One database cluster on disk and what runs it. */
export type Cluster = {
  /** The folder of `postgres` and `initdb`. */
  binaries: string;
  /** Who runs them; ourselves when absent. */
  user: SystemUser | undefined;
  /** The data folder, of mode 0700. */
  data: string;
  logFile: string;
};

export type Server = {
  port: number;
  mark: ProcessMark;
  /** Ends open connections, writes everything to disk and waits until the server is gone. */
  stop(): Promise<void>;
};

const environment = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
const startTimeoutMs = 120_000;
const stopTimeoutMs = 30_000;

/** Makes the cluster with one superuser, `postgres`, unless it is there. A cluster is whole or not there. */
export const initialise = async (cluster: Cluster, password: Secret): Promise<void> => {
  const { binaries, user, data } = cluster;
  if (await isFolder(data)) return;
  const [draft, passwordFile] = [`${data}.new`, `${data}.password`];
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(passwordFile, `${password.reveal()}\n`, { mode: 0o600 });
  try {
    if (user !== undefined) for (const path of [draft, passwordFile]) await chown(path, user.uid, user.gid);
    const login = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    const args = [
      `--pgdata=${draft}`,
      ...login,
      ...localeArgs(binaries),
      '--data-checksums',
      '--no-instructions',
    ];
    await run(join(binaries, 'initdb'), args, user);
    await rename(draft, data);
  } finally {
    await rm(passwordFile, { force: true });
  }
};

type StartOptions = {
  /** Taken when it is free, else another. */
  port?: number | undefined;
  /** Settings of `postgresql.conf`. */
  settings: Record<string, string>;
};

/** Starts the server on loopback only and waits until it takes connections. */
export const startServer = async (cluster: Cluster, { port, settings }: StartOptions): Promise<Server> => {
  await stopOrphan(cluster);
  for (let attempt = 1; ; attempt += 1) {
    const chosen = await freePort(attempt === 1 ? port : undefined);
    const started = await launch(cluster, { ...settings, port: String(chosen) });
    if (typeof started !== 'string') return { port: chosen, mark: started, stop: () => stopServer(started) };
    // Somebody took the port between our look and the server's.
    if (attempt === 5 || !started.includes('could not bind'))
      throw new Error(`PostgreSQL did not start:\n${started}`);
  }
};

/** Stops the server of a cluster whose parent was killed, and clears the note of one that was killed itself. */
export const stopOrphan = async ({ data }: Cluster): Promise<void> => {
  const note = join(data, 'postmaster.pid');
  const pid = Number((await readFile(note, 'utf8').catch(() => '')).split('\n')[0]);
  if (!(pid > 0)) return;
  const mark = markOf(pid);
  if (mark !== undefined && commandOf(pid).includes(data)) await stopServer(mark);
  // The number may meanwhile belong to anybody, and PostgreSQL would take that for a running server.
  else await rm(note, { force: true });
};

/** Fast shutdown: transactions under way are rolled back. The immediate one follows when it takes too long. */
const stopServer = async (mark: ProcessMark): Promise<void> => {
  for (const name of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    if (isRunning(mark)) signal(mark.pid, name);
    if (await hasEnded(mark, stopTimeoutMs)) return;
  }
};

/** The mark of the running server, or the end of its log when it did not start. */
const launch = async (cluster: Cluster, settings: Record<string, string>): Promise<ProcessMark | string> => {
  const { binaries, user, data, logFile } = cluster;
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...settings,
  };
  const args = ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  const log = await open(logFile, 'a', 0o600);
  const { size } = await log.stat();
  // In a session of its own: Ctrl-C in a terminal reaches us only, and we stop it when nobody needs it any more.
  const stdio = ['ignore', log.fd, log.fd] as ('ignore' | number)[];
  const child = spawn(join(binaries, 'postgres'), args, {
    cwd: '/',
    detached: true,
    stdio,
    env: environment,
    ...asUser(user),
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once(
      'exit',
      () => void readFile(logFile, 'utf8').then((text) => resolve(text.slice(size)), String),
    );
  });
  child.unref();
  await log.close();
  const mark = child.pid === undefined ? undefined : markOf(child.pid);
  return (mark === undefined ? undefined : await readyMark(mark, data)) ?? ended;
};

/** Waits for the server's own word in `postmaster.pid`, as pg_ctl does: line 1 is its number, line 8 its state. */
const readyMark = async (mark: ProcessMark, data: string): Promise<ProcessMark | undefined> => {
  const deadline = performance.now() + startTimeoutMs;
  while (isRunning(mark)) {
    const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    if (lines[0] === String(mark.pid) && lines[7]?.trim() === 'ready') return mark;
    if (performance.now() > deadline) await stopServer(mark);
    await delay(5);
  }
  return undefined;
};

/** Sorted by code point, the same on every platform: the C locale, with Unicode's upper and lower case where PostgreSQL has it (17). */
const localeArgs = (binaries: string): string[] => {
  const { stdout } = spawnSync(join(binaries, 'postgres'), ['--version'], {
    encoding: 'utf8',
    cwd: '/',
    env: environment,
  });
  const major = Number(/(\d+)/.exec(stdout)?.[1]);
  const provider = major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : [];
  return ['--encoding=UTF8', '--no-locale', ...provider];
};

const run = (command: string, args: string[], user: SystemUser | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
      env: environment,
      ...asUser(user),
    });
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} failed: ${output.trim()}`)),
    );
  });

const freePort = (wanted = 0): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => (wanted === 0 ? reject(error) : resolve(freePort())));
    probe.listen({ host: '127.0.0.1', port: wanted }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : wanted));
    });
  });

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
