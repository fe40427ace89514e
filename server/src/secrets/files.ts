import { randomUUID } from 'node:crypto';
import { mkdir, open as openFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { deriveKey, open, seal, type Key } from '../lib/crypto.ts';
import { assertReal } from '../lib/dry-run.ts';
import { AppError } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';
import { hasCode, withFileLock } from './lock.ts';
import { checkPath, checkValue, pageOf, type SecretSource } from './source.ts';

type FileOptions = {
  /** Where it lies; made with mode 0600 by the first write. */
  file: string;
  /**
   * The master keys: `previous` opens a file that was written before the key was changed; the next write uses
   * `current`.
   */
  master: { current: Key; previous?: Key | undefined };
  clock: Clock;
  /** How many versions of each secret are kept, 10 unless told. */
  versionsMax?: number;
};

/**
 * Secrets in one file, encrypted and authenticated as a whole (AES-256-GCM) under a key derived from the
 * master key. For one machine: several processes may share it, each sees what another wrote at its next read.
 * A write replaces the file atomically and is on disk when it returns. A file that was altered, cut off or
 * written under another master key is refused by reads and writes alike, so that no write ever replaces what
 * can't be read.
 */
export const fileSecrets = ({ file, master, clock, versionsMax = 10 }: FileOptions): SecretSource => {
  const { load, change } = openStore({ file, master });
  const versionsOf = async (path: string): Promise<readonly Stored[]> => {
    checkPath(path);
    return (await load()).secrets.get(path) ?? [];
  };

  return {
    name: 'file',
    writable: true,
    read: async (path, version) => {
      const kept = await versionsOf(path);
      const stored = version === undefined ? kept[0] : kept.find((one) => one.version === version);
      return stored && { ...infoOf(stored), value: new Secret(stored.value) };
    },
    versions: async (path) => (await versionsOf(path)).map(infoOf),
    write: async (path, value) => {
      assertReal('write a secret');
      checkPath(path);
      checkValue(value);
      return change((store) => {
        const [sequence, createdAt] = [store.sequence + 1, clock.now().toISOString()];
        const added = { version: String(sequence), value: value.reveal(), createdAt };
        const kept = [added, ...(store.secrets.get(path) ?? [])].slice(0, versionsMax);
        return {
          store: { sequence, secrets: new Map(store.secrets).set(path, kept) },
          result: added.version,
        };
      });
    },
    list: async (prefix, page) => pageOf((await load()).secrets.keys(), prefix, page),
    remove: async (path) => {
      assertReal('remove a secret');
      checkPath(path);
      await change((store) => {
        const secrets = new Map(store.secrets);
        secrets.delete(path);
        return { store: { ...store, secrets }, result: undefined };
      });
    },
  };
};

/**
 * Versions of a path, newest first. The sequence is the file's, so that a removed secret's versions never
 * return.
 */
type Store = { sequence: number; secrets: ReadonlyMap<string, readonly Stored[]> };
type Stored = { version: string; value: string; createdAt: string };

const emptyStore: Store = { sequence: 0, secrets: new Map() };
const infoOf = (stored: Stored) => ({ version: stored.version, createdAt: new Date(stored.createdAt) });

/** The file as this process last knew it, and the one way to change it. */
const openStore = ({ file, master }: Pick<FileOptions, 'file' | 'master'>) => {
  const masters = master.previous ? [master.current, master.previous] : [master.current];
  const keys = masters.map((key) => deriveKey(key, 'secrets.file'));
  let cached: { stamp: string; store: Store } | undefined;
  let writing: Promise<unknown> = Promise.resolve();

  const load = async (): Promise<Store> => {
    const contents = await readChanged(file, cached?.stamp);
    if (contents === 'unchanged' && cached) return cached.store;
    // A file that was here and is gone is a loss, not a beginning.
    if (contents === 'missing' && cached) throw unreadable(file, 'it is gone.');
    if (contents === 'missing' || contents === 'unchanged') return emptyStore;
    cached = { stamp: contents.stamp, store: decode(contents.bytes, { keys, file }) };
    return cached.store;
  };

  /** Writers of this process queue here, those of others at the lock. */
  const change = async <T>(edit: (store: Store) => { store: Store; result: T }): Promise<T> => {
    const run = async (): Promise<T> => {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      return withFileLock(file, async (assertHeld) => {
        const { store, result } = edit(await load());
        await replace(file, encode(store, keys), assertHeld);
        return result;
      });
    };
    const turn = writing.then(run, run);
    writing = turn.catch(() => undefined);
    return turn;
  };

  return { load, change };
};

/** The file begins with this line; the envelope of `seal` follows. */
const magic = Buffer.from('florin-secrets-1\n');
const context = 'secrets.file';

const encode = (store: Store, keys: readonly Key[]): Buffer => {
  const [current] = keys;
  if (current === undefined) throw new Error('A secrets file needs a master key.');
  const text = JSON.stringify({ sequence: store.sequence, secrets: Object.fromEntries(store.secrets) });
  return Buffer.concat([magic, seal(current, text, context)]);
};

const decode = (bytes: Buffer, { keys, file }: { keys: readonly Key[]; file: string }): Store => {
  if (!bytes.subarray(0, magic.length).equals(magic)) {
    throw unreadable(file, 'it does not begin like a secrets file.');
  }
  const text = opened(bytes.subarray(magic.length), { keys, file });
  // It opened, so this module wrote it.
  const { sequence, secrets } = JSON.parse(text) as { sequence: number; secrets: Record<string, Stored[]> };
  return { sequence, secrets: new Map(Object.entries(secrets)) };
};

const opened = (sealed: Buffer, { keys, file }: { keys: readonly Key[]; file: string }): string => {
  try {
    return open(keys, sealed, context).toString('utf8');
  } catch (error) {
    throw unreadable(file, error instanceof Error ? error.message : 'it does not open.');
  }
};

/** The caller of an API learns that something is wrong; the log, by the cause, which file and what to do. */
const unreadable = (file: string, reason: string): AppError =>
  new AppError(
    'unavailable',
    'The secrets file was altered, cut off, removed, or written under another master key.',
    {
      cause: new Error(
        `${file}: ${reason} Restore it from a backup, or configure the master key that wrote it.`,
      ),
    },
  );

/**
 * Reads the file unless it is the one already known. Size and time tell most changes; the random IV in the
 * first bytes tells two versions apart that were written within one tick of the file system's clock.
 */
const readChanged = async (
  file: string,
  knownStamp: string | undefined,
): Promise<{ stamp: string; bytes: Buffer } | 'unchanged' | 'missing'> => {
  const handle = await openFile(file, 'r').catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (handle === undefined) return 'missing';
  try {
    const { size, mtimeNs, ino } = await handle.stat({ bigint: true });
    const head = Buffer.alloc(64);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    const stamp = `${ino} ${size} ${mtimeNs} ${head.toString('hex', 0, bytesRead)}`;
    if (stamp === knownStamp) return 'unchanged';
    return { stamp, bytes: await readWhole(handle, Number(size)) };
  } finally {
    await handle.close();
  }
};

type Handle = Awaited<ReturnType<typeof openFile>>;

/** Reads by position: after the head was read, `readFile` of the handle would begin behind it. */
const readWhole = async (handle: Handle, size: number): Promise<Buffer> => {
  const bytes = Buffer.alloc(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await handle.read(bytes, length, size - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
};

/**
 * Whoever reads sees the old file or the new one, whole; when this returns, the new one survives a power cut.
 */
const replace = async (file: string, bytes: Buffer, assertHeld: () => Promise<void>): Promise<void> => {
  const draft = `${file}.${randomUUID()}.tmp`;
  try {
    const handle = await openFile(draft, 'wx', 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await assertHeld();
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  const folder = await openFile(dirname(file), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};
