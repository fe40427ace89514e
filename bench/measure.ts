import { rows } from './plan.ts';
import { copyForGrowth, growth, listGrowth, prepareGrowth } from './rows/growth.ts';
import { loneClient, openLoop } from './rows/latency.ts';
import { memory } from './rows/memory.ts';
import { sequenced } from './rows/sequencer.ts';
import { secondStart } from './rows/start.ts';
import { hot, spread, twoProcesses, twoSapi } from './rows/throughput.ts';
import { backlogMemory, bystanders, deliveries, lateness, paymentsTold } from './rows/webhooks.ts';
import { measured, type Sample, type Stage } from './stage.ts';
import { median } from './statistics.ts';
import { findPgbench, prepareTpcb, tpcbPerSecond } from './tpcb.ts';

export type Measured = {
  /** The samples of each row, one a round. */
  series: Record<string, Sample[]>;
  /** What had to hold besides the target. */
  holds: Record<string, boolean>;
  /** Why a row has no figures: an answer that was not 2xx, a deadlock. The other rows go on. */
  errors: Record<string, string>;
};

type Say = (line: string) => void;
type Take = () => Promise<Sample>;

/** Measures the rows that were asked for, and those that they are divided by. */
export const measureRows = async (stage: Stage, say: Say): Promise<Measured> => {
  const { options } = stage;
  const names = new Set(options.names.flatMap((name) => [name, ...yardsticksOf(name)]));
  const measured: Measured = { series: {}, holds: {}, errors: {} };
  const attempt = attemptFor(measured, say);
  const wantsGrowth = names.has('growth') || names.has('list_growth');
  if (wantsGrowth) await copyForGrowth(stage);
  if (names.has('second_start_s'))
    await attempt('second_start_s', async () => {
      measured.series['second_start_s'] = await secondStart(stage);
    });
  const pgbench = findPgbench();
  if (pgbench && names.has('tpcb')) await prepareTpcb(pgbench, stage.postgres);
  const takeTurns = turnsFor(measured, { stage, attempt, say });
  await takeTurns(chosen(names, commonRows(stage, measured.series, pgbench)));
  if (wantsGrowth)
    await attempt('growth', async () => {
      const grown = await prepareGrowth(stage, say);
      const takes = { growth: () => growth(stage, grown), list_growth: () => listGrowth(stage, grown) };
      await takeTurns(chosen(names, takes));
    });
  if (names.has('rss_mb'))
    await attempt('rss_mb', async () => {
      say(`rss_mb: ${options.memorySeconds} s under load`);
      const { samples, holds } = await memory(stage);
      measured.series['rss_mb'] = samples;
      measured.holds['rss_mb'] = holds;
    });
  if (names.has('worker_rss_mb'))
    await attempt('worker_rss_mb', async () => {
      measured.series['worker_rss_mb'] = await backlogMemory(stage);
    });
  return measured;
};

type Attempt = (name: string, run: () => Promise<void>) => Promise<void>;

/** A row that fails is given up, with its reason. */
const attemptFor =
  (measured: Measured, say: Say): Attempt =>
  async (name, run) => {
    try {
      await run();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      say(`${name} failed: ${reason}`);
      measured.errors[name] = reason;
      delete measured.series[name];
    }
  };

/** What the rows on the common database do in a round, in this order. */
const commonRows = (
  stage: Stage,
  series: Measured['series'],
  pgbench: string | undefined,
): Record<string, Take> => ({
  ...(pgbench === undefined ? {} : { tpcb: () => tpcb(stage, pgbench) }),
  spread: () => spread(stage, 64),
  hot_over_spread: () => hot(stage),
  clients_256: () => spread(stage, 256),
  two_processes: () => twoProcesses(stage),
  two_sapi: () => twoSapi(stage),
  sequencer: () => sequenced(stage),
  p99_ms: async () => openLoop(stage, await topRate(stage, series)),
  lone_client: () => loneClient(stage),
  deliveries: () => deliveries(stage),
  webhook_p50_ms: () => lateness(stage, 'p50Ms'),
  webhook_p99_ms: () => lateness(stage, 'p99Ms'),
  bystanders: () => bystanders(stage),
  payments_told: () => paymentsTold(stage),
});

const tpcb = (stage: Stage, pgbench: string): Promise<Sample> =>
  measured(stage, [], async () => ({
    value: await tpcbPerSecond(pgbench, stage.postgres, stage.options.seconds),
  }));

/** The most payments per second that this run has seen; measured now if none of the rows that would know was asked for. */
const topRate = async (stage: Stage, series: Measured['series']): Promise<number> => {
  const known = ['spread', 'clients_256'].flatMap((name) => {
    const values = series[name]?.map(({ value }) => value) ?? [];
    return values.length === 0 ? [] : [median(values)];
  });
  return known.length > 0 ? Math.max(...known) : (await spread(stage, 256)).value;
};

type Turns = (takes: readonly (readonly [name: string, take: Take])[]) => Promise<void>;

/** Rows take turns, so that a slow minute of the machine meets all of them; every other round backwards. */
const turnsFor =
  (measured: Measured, { stage, attempt, say }: { stage: Stage; attempt: Attempt; say: Say }): Turns =>
  async (takes) => {
    const { rounds, withinMs } = stage.options;
    for (let round = 0; takes.length > 0 && round < rounds; round += 1) {
      const startedAt = performance.now();
      const figures: string[] = [];
      for (const [name, take] of round % 2 === 0 ? takes : takes.toReversed()) {
        if (measured.errors[name] !== undefined) continue;
        await attempt(name, async () => {
          const sample = await take();
          (measured.series[name] ??= []).push(sample);
          figures.push(`${name} ${sample.value.toFixed(sample.value < 100 ? 2 : 0)}`);
        });
      }
      say(`round ${round + 1} of ${rounds}: ${figures.join(', ')}`);
      const tookMs = performance.now() - startedAt;
      if (performance.now() + tookMs > withinMs && round + 1 < rounds) {
        say('No time is left for another round.');
        return;
      }
    }
  };

const chosen = (names: ReadonlySet<string>, takes: Record<string, Take>): [name: string, take: Take][] =>
  Object.entries(takes).filter(([name]) => names.has(name));

const yardsticksOf = (name: string): string[] =>
  rows.flatMap((row) => (row.name === name && row.overRow ? [row.overRow] : []));
