import { sql } from 'kysely';
import type { Clock } from './clock.ts';
import type { Db } from './database.ts';
import { repeat, type Job } from './jobs.ts';
import type { Log } from './log.ts';

/** Work that is due again and again, by one worker at a time. */
export type Schedule = {
  name: string;
  everyMs: number;
  /** How long a run may take; after that another worker may begin. */
  limitMs: number;
  /** Does it and gives how many rows it removed. Ends early, and well, when the signal aborts. */
  run(signal: AbortSignal): Promise<number>;
};

type Parts = {
  db: Db;
  clock: Clock;
  log: Log;
  onRun(name: string, result: 'done' | 'failed'): void;
  /** How often to look whether something is due. */
  pollMs?: number;
};

const pollMs = 5_000;

/** Runs schedules when they are due: who runs one, and when next, is in `operations.schedules`. */
export const schedulesJob = (schedules: readonly Schedule[], parts: Parts): Job => ({
  name: 'schedules',
  run: async (signal) => {
    await introduce(parts, schedules);
    await repeat(signal, parts.pollMs ?? pollMs, async () => {
      for (const schedule of schedules) if (!signal.aborted) await runIfDue(parts, schedule, signal);
      return 'idle';
    });
  },
});

/** What is new is due at once. */
export const introduce = async (
  { db, clock }: Pick<Parts, 'db' | 'clock'>,
  schedules: readonly Schedule[],
): Promise<void> => {
  await sql`
    insert into operations.schedules (name, next_run_at)
    select name, ${clock.now()} from unnest(${schedules.map(({ name }) => name)}::text[]) as name
    on conflict do nothing
  `.execute(db);
};

/** Runs a schedule if it is due and nobody else does; gives whether it ran. */
export const runIfDue = async (parts: Parts, schedule: Schedule, signal: AbortSignal): Promise<boolean> => {
  const { db, clock, log, onRun } = parts;
  const { name, limitMs } = schedule;
  const now = clock.now();
  const mineUntil = new Date(now.getTime() + limitMs);
  const { numAffectedRows } = await sql`
    update operations.schedules set next_run_at = ${mineUntil}, started_at = ${now}
    where name = ${name} and next_run_at <= ${now}
  `.execute(db);
  if (numAffectedRows !== 1n) return false;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
  try {
    const removed = await schedule.run(limit);
    await end(parts, schedule, mineUntil, { removed, error: null });
    if (removed > 0) log.info({ schedule: name, removed }, 'A schedule removed what is too old');
    onRun(name, 'done');
  } catch (err) {
    log.error({ err, schedule: name }, 'A schedule failed; it is run again when it is due');
    const error = err instanceof Error ? err.message : String(err);
    await end(parts, schedule, mineUntil, { removed: null, error });
    onRun(name, 'failed');
  }
  return true;
};

/** Whoever was too slow, so that another one began, says nothing. */
const end = async (
  { db, clock }: Parts,
  { name, everyMs }: Schedule,
  mineUntil: Date,
  { removed, error }: { removed: number | null; error: string | null },
): Promise<void> => {
  const now = clock.now();
  const next = new Date(now.getTime() + everyMs);
  await sql`
    update operations.schedules
    set next_run_at = ${next}, ended_at = ${now}, runs = runs + 1, error = ${error}, removed = ${removed},
        failures = case when ${error === null} then 0 else failures + 1 end
    where name = ${name} and next_run_at = ${mineUntil}
  `.execute(db);
};

/** A schedule as it stands, for operators. */
export type ScheduleState = {
  name: string;
  nextRunAt: Date;
  endedAt: Date | null;
  runs: bigint;
  failures: number;
  error: string | null;
  removed: bigint | null;
};

export const listSchedules = async (db: Db): Promise<ScheduleState[]> => {
  const { rows } = await sql<ScheduleState>`
    select name, next_run_at as "nextRunAt", ended_at as "endedAt", runs, failures, error, removed
    from operations.schedules order by name
  `.execute(db);
  return rows;
};
