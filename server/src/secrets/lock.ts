import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../lib/clock.ts';
import { AppError } from '../lib/errors.ts';

type LockOptions = {
  /** How long to wait for another writer before giving up. */
  timeoutMs?: number;
};

/**
 * Runs `change` while no other process holds the lock of this file (`<file>.lock` beside it). A lock whose
 * process is gone is taken over. `change` gets a check to call before it commits: it throws when the lock was
 * lost meanwhile, say because this process was stopped for longer than a lock lives.
 * @throws AppError `unavailable` when another writer does not finish in time
 */
export const withFileLock = async <T>(
  file: string,
  change: (assertHeld: () => Promise<void>) => Promise<T>,
  { timeoutMs = 10_000 }: LockOptions = {},
): Promise<T> => {
  const lock = `${file}.lock`;
  const content = JSON.stringify({ pid: process.pid, host: hostname(), token: randomUUID() });
  const assertHeld = async (): Promise<void> => {
    if ((await contentOf(lock)) !== content) throw busy();
  };
  await take(lock, content, timeoutMs);
  try {
    return await change(assertHeld);
  } finally {
    if ((await contentOf(lock)) === content) await rm(lock, { force: true });
  }
};

/**
 * A change takes milliseconds; whoever holds the lock for longer was stopped or sits on another machine that
 * died.
 */
const lifetimeMs = 30_000;

const take = async (lock: string, content: string, timeoutMs: number): Promise<void> => {
  const startedAt = performance.now();
  for (;;) {
    try {
      await writeFile(lock, content, { flag: 'wx', mode: 0o600 });
      return;
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    await removeStale(lock);
    if (performance.now() - startedAt > timeoutMs) throw busy();
    await wait(5 + Math.random() * 20);
  }
};

/**
 * Two processes may find the same stale lock; by renaming it, one of them takes it away and sees what it
 * took.
 */
const removeStale = async (lock: string): Promise<void> => {
  const seen = await contentOf(lock);
  if (seen === undefined || !(await isStale(lock, seen))) return;
  const taken = `${lock}.${randomUUID()}`;
  try {
    await rename(lock, taken);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  // It was replaced by a live one in between: put that back, unless a third has come.
  if ((await contentOf(taken)) !== seen) await link(taken, lock).catch(() => undefined);
  await rm(taken, { force: true });
};

const isStale = async (lock: string, content: string): Promise<boolean> => {
  const { pid, host } = holderOf(content);
  if (pid !== undefined && host === hostname() && !isAlive(pid)) return true;
  try {
    // File times come from the machine's clock, so that is what they are compared with.
    return systemClock.now().getTime() - (await stat(lock)).mtimeMs > lifetimeMs;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
};

/** The holder may not have written its name yet. */
const holderOf = (content: string): { pid?: number; host?: string } => {
  try {
    // This module wrote it; anything else fails to parse or has no such members.
    return JSON.parse(content) as { pid?: number; host?: string };
  } catch {
    return {};
  }
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
};

const contentOf = async (file: string): Promise<string | undefined> => {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
};

const busy = (): AppError =>
  new AppError('unavailable', 'Another process is writing the secrets file. Try again.', { retryAfterS: 1 });

/** Whether a failed system call failed with this code, e.g. `ENOENT`. */
export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;
