import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** A process that can be recognised later: numbers are reused, a number with its start time is not. */
export type ProcessMark = { pid: number; startedAt: string };

/** What marks a running process; `undefined` when there is none of that number, or only its unreaped remains. */
export const markOf = (pid: number): ProcessMark | undefined => {
  const startedAt = process.platform === 'linux' ? startOnLinux(pid) : startElsewhere(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
};

/** Whether the marked process still runs. */
export const isRunning = (mark: ProcessMark): boolean => markOf(mark.pid)?.startedAt === mark.startedAt;

/** The command line of a process, or nothing when it has ended. */
export const commandOf = (pid: number): string => {
  if (process.platform !== 'linux') return ps(pid, 'command=') ?? '';
  return readOrNothing(`/proc/${String(pid)}/cmdline`)?.replaceAll('\0', ' ') ?? '';
};

/** Waits until a process has ended; says whether it did within the time. */
export const hasEnded = async (mark: ProcessMark, timeoutMs: number): Promise<boolean> => {
  const deadline = performance.now() + timeoutMs;
  while (isRunning(mark)) {
    if (performance.now() > deadline) return false;
    await delay(10);
  }
  return true;
};

/** Sends a signal to a process that may have ended meanwhile. */
export const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};

const startOnLinux = (pid: number): string | undefined => {
  const stat = readOrNothing(`/proc/${String(pid)}/stat`);
  if (stat === undefined) return undefined;
  // The name in parentheses may hold anything; state is the 3rd field, the start time the 22nd (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
};

const startElsewhere = (pid: number): string | undefined => {
  const line = ps(pid, 'state=,lstart=');
  return line === undefined || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '');
};

const ps = (pid: number, columns: string): string | undefined => {
  const { status, stdout } = spawnSync('ps', ['-o', columns, '-p', String(pid)], {
    encoding: 'utf8',
    env: { PATH: '/bin:/usr/bin', LC_ALL: 'C' },
  });
  return status === 0 ? stdout.trim() : undefined;
};

const readOrNothing = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};
