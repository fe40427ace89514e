import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { sqlStateOf } from '../database.ts';
import { isRunning, markOf, type ProcessMark } from './processes.ts';

/** Held by the one process that a folder belongs to. */
export type Lock = { release(): Promise<void> };

/** Thrown when a living process holds the lock. */
export class LockedError extends Error {
  override readonly name = 'LockedError';
  readonly holder: ProcessMark;

  constructor(file: string, holder: ProcessMark) {
    super(`${file} is held by process ${String(holder.pid)}.`);
    this.holder = holder;
  }
}

/**
 * Takes a lock file. One left by a process that was killed does not count, also when its number has been given to
 * another process since. Throws `LockedError`.
 */
export const takeLock = async (file: string): Promise<Lock> => {
  const own = markOf(process.pid);
  if (own === undefined) throw new Error('This process can not be told from others: /proc or ps is missing.');
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    while (!(await linked(draft, file))) await removeStale(file);
  } finally {
    await rm(draft, { force: true });
  }
  return { release: () => rm(file, { force: true }) };
};

/** Who holds a lock file, if anybody alive does. */
export const holderOf = async (file: string): Promise<ProcessMark | undefined> => {
  const mark = await readMark(file);
  return mark !== undefined && isRunning(mark) ? mark : undefined;
};

/** Linking a written file creates it whole or not at all. */
const linked = async (draft: string, file: string): Promise<boolean> => {
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (sqlStateOf(error) === 'EEXIST') return false;
    throw error;
  }
};

const removeStale = async (file: string): Promise<void> => {
  const holder = await holderOf(file);
  if (holder !== undefined) throw new LockedError(file, holder);
  // Moved aside and looked at again: another starter may have replaced the stale one meanwhile, then it gets it back.
  const aside = `${file}.${randomUUID()}`;
  await rename(file, aside).catch(() => undefined);
  if ((await holderOf(aside)) !== undefined) await linked(aside, file);
  await rm(aside, { force: true });
};

const readMark = (file: string): Promise<ProcessMark | undefined> =>
  readFile(file, 'utf8').then(
    (text) => JSON.parse(text) as ProcessMark,
    () => undefined,
  );
