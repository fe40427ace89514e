import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientConfig, openDatabase, type ConnectionOptions } from '../database.ts';
import { Secret } from '../secret.ts';
import { embeddedHolder, findEmbedded, startEmbedded } from './embedded.ts';
import { isRunning, markOf, signal, type ProcessMark } from './processes.ts';
import { asUser, isRoot, mayEnter, unprivilegedUser } from './user.ts';

const fixture = fileURLToPath(new URL('../../../test/setup/start-embedded.ts', import.meta.url));
const options = (directory: string) => ({ directory, log: () => undefined });

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'florin-embedded-'));
  await chmod(home, 0o755);
});
afterAll(() => rm(home, { recursive: true, force: true }));

const startElsewhere = async (
  directory: string,
  user?: { uid?: number; gid?: number },
): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [fixture, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
    ...user,
  });
  await once(child.stdout, 'data');
  return child;
};

const answer = async (connection: ConnectionOptions, text: string): Promise<unknown> => {
  const client = new pg.Client(clientConfig(connection, 'test'));
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(text);
    return rows[0];
  } finally {
    await client.end();
  }
};

const serverMark = async (directory: string): Promise<ProcessMark> =>
  (JSON.parse(await readFile(join(directory, 'postgres', 'server.json'), 'utf8')) as { mark: ProcessMark })
    .mark;

describe('the embedded database', () => {
  const directory = (): string => join(home, '.florin');

  test('keeps its data and its port from one start to the next', async () => {
    const first = await startEmbedded(options(directory()));
    await answer(first.connections.migrate, 'create table public.kept as select 42 as answer');
    await first.stop();
    await using second = await startEmbedded(options(directory()));
    expect(await answer(second.connections.migrate, 'select answer from public.kept')).toEqual({
      answer: 42,
    });
    expect(second.port).toBe(first.port);
  });

  test('keeps passwords and data to itself, and asks for the password', async () => {
    await using embedded = await startEmbedded(options(directory()));
    const notes = join(directory(), 'postgres');
    for (const name of ['passwords.json', 'server.json', 'server.log', 'lock']) {
      expect((await stat(join(notes, name))).mode & 0o777).toBe(0o600);
    }
    expect((await stat(join(notes, 'data'))).mode & 0o777).toBe(0o700);
    expect(await readdir(notes)).not.toContain('data.password');
    const { service, superuser } = embedded.connections;
    await expect(answer({ ...service, password: new Secret('guess') }, 'select 1')).rejects.toMatchObject({
      code: '28P01',
    });
    await expect(answer({ ...service, password: undefined }, 'select 1')).rejects.toThrow('password');
    const shown = await answer(
      superuser,
      `select current_setting('listen_addresses') as listen, current_setting('fsync') as fsync,
      current_setting('unix_socket_directories') as sockets, current_setting('TimeZone') as zone`,
    );
    expect(shown).toEqual({ listen: '127.0.0.1', fsync: 'on', sockets: '', zone: 'UTC' });
  });

  test('runs once: a second start is refused and told who runs it', async () => {
    const other = await startElsewhere(directory());
    await expect(startEmbedded(options(directory()))).rejects.toMatchObject({
      name: 'LockedError',
      holder: { pid: other.pid },
    });
    expect(await embeddedHolder(directory())).toMatchObject({ pid: other.pid });
    other.kill('SIGTERM');
    await once(other, 'exit');
    expect(await embeddedHolder(directory())).toBeUndefined();
    expect(await findEmbedded(directory())).toBeUndefined();
  });

  test('outlives a killed parent, is still found, and the next start takes over with all that was committed', async () => {
    const parent = await startElsewhere(directory());
    const found = await findEmbedded(directory());
    if (found === undefined) throw new Error('not found');
    await answer(found.migrate, 'create table public.committed as select 1 as one');
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    const orphan = await serverMark(directory());
    expect(isRunning(orphan)).toBe(true);
    expect(await findEmbedded(directory())).toEqual(found);
    await using next = await startEmbedded(options(directory()));
    expect(isRunning(orphan)).toBe(false);
    expect(await answer(next.connections.migrate, 'select one from public.committed')).toEqual({ one: 1 });
  });

  test('starts after it was killed itself, also when its number belongs to another process now', async () => {
    const embedded = await startEmbedded(options(directory()));
    const { pid } = await serverMark(directory());
    signal(pid, 'SIGKILL');
    await embedded.stop();
    const [note, lock] = [
      join(directory(), 'postgres', 'data', 'postmaster.pid'),
      join(directory(), 'postgres', 'lock'),
    ];
    await writeFile(note, (await readFile(note, 'utf8')).replace(/^\d+/, String(process.ppid)));
    await writeFile(lock, JSON.stringify({ ...markOf(process.ppid), startedAt: '1' }));
    await using next = await startEmbedded(options(directory()));
    expect(await answer(next.connections.service, 'select 1 as one')).toEqual({ one: 1 });
  });

  test('stops at once, though a connection is in a transaction', async () => {
    const embedded = await startEmbedded(options(directory()));
    await using database = openDatabase({
      connection: embedded.connections.service,
      poolMax: 1,
      applicationName: 'open',
    });
    const open = sql`select pg_sleep(60)`.execute(database.db).catch((error: unknown) => error);
    const active = `select count(*)::int as n from pg_stat_activity where application_name = 'open' and state = 'active'`;
    await expect.poll(() => answer(embedded.connections.superuser, active)).toEqual({ n: 1 });
    const mark = await serverMark(directory());
    await embedded.stop();
    expect(isRunning(mark)).toBe(false);
    expect(await open).toBeInstanceOf(Error);
  });

  test('says what is missing when the passwords were deleted and the data was not', async () => {
    await rm(join(directory(), 'postgres', 'passwords.json'));
    await expect(startEmbedded(options(directory()))).rejects.toThrow('passwords.json is missing');
    expect(await embeddedHolder(directory())).toBeUndefined();
  });
});

describe('started by root', () => {
  test.runIf(isRoot())('it runs as an unprivileged user', async () => {
    await using embedded = await startEmbedded(options(join(home, 'root')));
    const { uid } = await stat(`/proc/${String((await serverMark(join(home, 'root'))).pid)}`);
    expect(uid).toBe(unprivilegedUser()?.uid);
    expect(embedded.port).toBeGreaterThan(1023);
  });

  test.runIf(isRoot())(
    'below a folder that only root may enter, data lies elsewhere and is found again',
    async () => {
      await mkdir(join(home, 'closed'), { mode: 0o700 });
      const closed = join(home, 'closed', '.florin');
      const first = await startEmbedded(options(closed));
      await answer(first.connections.migrate, 'create table public.kept as select 1 as one');
      await first.stop();
      const elsewhere = await readlink(join(closed, 'postgres', 'elsewhere'));
      try {
        await using second = await startEmbedded(options(closed));
        expect(await answer(second.connections.migrate, 'select one from public.kept')).toEqual({ one: 1 });
        await expect(lstat(join(closed, 'postgres', 'data'))).rejects.toMatchObject({ code: 'ENOENT' });
      } finally {
        await rm(elsewhere, { recursive: true });
      }
    },
  );

  test.runIf(isRoot())('data moves along when its folder was closed after it was made', async () => {
    const moved = join(home, 'moved', '.florin');
    const first = await startEmbedded(options(moved));
    await answer(first.connections.migrate, 'create table public.kept as select 1 as one');
    await first.stop();
    await chmod(join(home, 'moved'), 0o700);
    await using second = await startEmbedded(options(moved));
    expect(await answer(second.connections.migrate, 'select one from public.kept')).toEqual({ one: 1 });
    await second.stop();
    await rm(await readlink(join(moved, 'postgres', 'elsewhere')), { recursive: true });
  });
});

describe('started by another user', () => {
  const user = isRoot() ? unprivilegedUser() : undefined;

  test.runIf(user !== undefined && mayEnter(user, fileURLToPath(new URL('.', import.meta.url))))(
    'it runs as that user, and root may take over',
    async () => {
      const directory = join(home, 'user');
      await mkdir(directory, { mode: 0o700 });
      if (user !== undefined) await chown(directory, user.uid, user.gid);
      const child = await startElsewhere(directory, asUser(user));
      expect((await stat(`/proc/${String((await serverMark(directory)).pid)}`)).uid).toBe(user?.uid);
      child.kill('SIGTERM');
      await once(child, 'exit');
      await using embedded = await startEmbedded(options(directory));
      expect(await answer(embedded.connections.service, 'select 1 as one')).toEqual({ one: 1 });
    },
  );
});
