import { describe, expect, test } from 'vitest';
import { manualClock } from './clock.ts';
import { memoryLog } from './http/testing.ts';
import { repeat, startJobs, type Job } from './jobs.ts';

const pauseMs = { first: 1, max: 4 };
const graceMs = 10_000;

/** Ends when it is told to. */
const untilStopped = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** A job that fails so often, then goes on. */
const failing = (times: number) => {
  const recovered = Promise.withResolvers<void>();
  let runs = 0;
  const run = (signal: AbortSignal): Promise<void> => {
    runs += 1;
    if (runs <= times) throw new Error(`failure ${String(runs)}`);
    recovered.resolve();
    return untilStopped(signal);
  };
  return { job: { name: 'failing', run } satisfies Job, recovered: recovered.promise, runs: () => runs };
};

describe('a job', () => {
  test('that throws starts again after a pause that doubles up to its limit, with a line for each', async () => {
    const { log, lines } = memoryLog();
    const { job, recovered } = failing(5);
    const failures: string[] = [];
    const jobs = startJobs([job], { log, graceMs, pauseMs, onFailure: (name) => void failures.push(name) });
    await recovered;
    await jobs.stop();
    expect(lines.map((line) => [line['job'], line['failures'], line['restart_in_ms']])).toEqual([
      ['failing', 1, 1],
      ['failing', 2, 2],
      ['failing', 3, 4],
      ['failing', 4, 4],
      ['failing', 5, 4],
    ]);
    expect(lines[0]).toMatchObject({ level: 50, err: { message: 'failure 1' } });
    expect(failures).toHaveLength(5);
  });

  test('that ends by itself starts again', async () => {
    const { log, lines } = memoryLog();
    const again = Promise.withResolvers<void>();
    let runs = 0;
    const run = async (signal: AbortSignal): Promise<void> => {
      runs += 1;
      if (runs === 1) return;
      again.resolve();
      await untilStopped(signal);
    };
    const jobs = startJobs([{ name: 'brief', run }], { log, graceMs, pauseMs });
    await again.promise;
    await jobs.stop();
    expect(lines).toHaveLength(1);
  });

  test('that ran for a minute has recovered: its next failure is the first', async () => {
    const { log, lines } = memoryLog();
    const clock = manualClock('2026-11-22T08:00:00Z');
    const { job, recovered } = failing(3);
    const run = (signal: AbortSignal): Promise<void> => {
      clock.advance(60_000);
      return job.run(signal);
    };
    const jobs = startJobs([{ name: 'late', run }], { log, graceMs, pauseMs, clock });
    await recovered;
    await jobs.stop();
    expect(lines.map((line) => line['failures'])).toEqual([1, 1, 1]);
  });

  test('that fails does not touch its neighbour', async () => {
    const { log } = memoryLog();
    const { job, recovered } = failing(2);
    const neighbour = failing(0);
    const jobs = startJobs([job, { ...neighbour.job, name: 'neighbour' }], { log, graceMs, pauseMs });
    await Promise.all([recovered, neighbour.recovered]);
    await jobs.stop();
    expect(neighbour.runs()).toBe(1);
  });

  test('that is stopped while it waits to start again ends at once', async () => {
    const { log, lines } = memoryLog();
    const failed = Promise.withResolvers<void>();
    const { job } = failing(1);
    const hour = { first: 3_600_000, max: 3_600_000 };
    const jobs = startJobs([job], { log, graceMs, pauseMs: hour, onFailure: () => failed.resolve() });
    await failed.promise;
    await jobs.stop();
    expect(lines).toMatchObject([{ restart_in_ms: 3_600_000 }]);
  });

  test('that does not end is left behind after the grace time, with a line', async () => {
    const { log, lines } = memoryLog();
    const run = (): Promise<void> => new Promise(() => undefined);
    await startJobs([{ name: 'deaf', run }], { log, graceMs: 1 }).stop();
    expect(lines).toMatchObject([{ job: 'deaf', level: 40 }]);
  });
});

test('a step that says there is more is repeated at once, else after the pause, until it is stopped', async () => {
  const stopping = new AbortController();
  let steps = 0;
  await repeat(stopping.signal, 3_600_000, async () => {
    steps += 1;
    if (steps < 3) return 'more';
    setImmediate(() => stopping.abort());
    return 'idle';
  });
  expect(steps).toBe(3);
});
