import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { systemClock, type Clock } from './clock.ts';

/** Work that goes on until its signal aborts. One that throws, or ends before, is started again. */
export type Job = { name: string; run(signal: AbortSignal): Promise<void> };

/** Jobs that run side by side; `stop` gives them the time to end what they are at. */
export type RunningJobs = { stop(): Promise<void> };

type Options = {
  log: Logger;
  /** How long a job may take to end after it was told to. */
  graceMs: number;
  clock?: Clock;
  /** The pause before a failed job starts again: `first` at first, doubled each time, at most `max`. */
  pauseMs?: { first: number; max: number };
  /** Told of every failure. */
  onFailure?: (job: string, error: unknown) => void;
};

const defaultPauseMs = { first: 1_000, max: 60_000 };

/** A job that ran so long has recovered: its next failure counts as the first. */
const recoveredAfterMs = 60_000;

/** Runs jobs side by side; one that fails does not touch the others. */
export const startJobs = (jobs: readonly Job[], options: Options): RunningJobs => {
  const { log, graceMs } = options;
  const stopping = new AbortController();
  const running = new Map<string, Promise<void>>();
  for (const job of jobs) {
    const ended = keepRunning(job, stopping.signal, options);
    running.set(
      job.name,
      ended.finally(() => running.delete(job.name)),
    );
  }
  const stop = async (): Promise<void> => {
    stopping.abort();
    const patience = new AbortController();
    const grace = wait(graceMs, undefined, { signal: patience.signal }).catch(() => undefined);
    await Promise.race([Promise.all(running.values()), grace]);
    patience.abort();
    for (const job of running.keys()) log.warn({ job }, 'A job did not end in time and is left behind');
  };
  return { stop };
};

const keepRunning = async (job: Job, signal: AbortSignal, options: Options): Promise<void> => {
  const { log, clock = systemClock, pauseMs = defaultPauseMs, onFailure } = options;
  for (let failures = 0; !signal.aborted;) {
    const startedAt = clock.now().getTime();
    const err = await failureOf(job, signal);
    if (signal.aborted) return;
    failures = clock.now().getTime() - startedAt >= recoveredAfterMs ? 1 : failures + 1;
    const restartInMs = Math.min(pauseMs.first * 2 ** (failures - 1), pauseMs.max);
    log.error({ err, job: job.name, failures, restart_in_ms: restartInMs }, 'A job failed and starts again');
    onFailure?.(job.name, err);
    await wait(restartInMs, undefined, { signal }).catch(() => undefined);
  }
};

/** Ends with the job, never by throwing. What a job throws because it was stopped is no failure. */
const failureOf = async (job: Job, signal: AbortSignal): Promise<unknown> => {
  try {
    await job.run(signal);
    return new Error(`the job ${job.name} ended by itself`);
  } catch (error) {
    return error;
  }
};

/** Calls `step` again and again until the signal aborts: at once while it says there is more, else after a pause. */
export const repeat = async (
  signal: AbortSignal,
  pauseMs: number,
  step: () => Promise<'more' | 'idle'>,
): Promise<void> => {
  while (!signal.aborted) {
    if ((await step()) === 'idle') await wait(pauseMs, undefined, { signal }).catch(() => undefined);
  }
};
