import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { rootDirectory } from '../server/src/lib/config/config.ts';
import { findGenerator } from './load/load.ts';
import { describeMachine } from './machine.ts';
import { measureRows, type Measured } from './measure.ts';
import { help, readOptions, UsageError, type Options } from './options.ts';
import { rows } from './plan.ts';
import { disturbance, jsonRowOf, markdownOf, resultOf, tableOf, withTable, type Result } from './report.ts';
import { checkHonesty, openStage } from './stage.ts';
import { findPgbench } from './tpcb.ts';

/**
 * `npm run bench`: durable payments per second over HTTP and their latency, beside pgbench TPC-B on the same server,
 * interleaved in one run. A figure without its yardstick means nothing: the same disk can be twice as fast an hour later.
 */
const main = async (): Promise<void> => {
  const options = readOptions(process.argv.slice(2));
  if (!options) return console.log(help);
  const startedAt = performance.now();
  const generator = options.generator ?? findGenerator();
  say(
    `load: ${generator}${generator === 'wrk' ? '' : ' (wrk costs the two cores less: apt-get install wrk)'}`,
  );
  if (!findPgbench()) say('pgbench is missing (apt-get install postgresql-15): no ratios to TPC-B');
  await using cleanup = new AsyncDisposableStack();
  endOnSignal(cleanup);
  const stage = await openStage({ options, generator, cleanup });
  say(`PostgreSQL ${stage.postgres.version} and ${options.vendors} vendors are ready`);
  const measured = await measureRows(stage, say);
  if (process.exitCode === interrupted) return;
  const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
  await publish(options, measured, [
    `${new Date().toISOString().slice(0, 10)}: ${describeMachine(rootDirectory)}, PostgreSQL ${stage.postgres.version},`,
    `load by ${generator}, ${options.vendors} vendors; ${roundsOf(measured)} rounds of ${options.seconds} s a row, ${minutes} minutes.`,
  ]);
  const errors = Object.entries(measured.errors).map(([name, reason]) => `${name}: ${reason}`);
  const exact = errors.length === 0;
  await checkHonesty(stage, { exact }).catch((error: unknown) => errors.push(String(error)));
  for (const error of errors) say(`Error: ${error}`);
  if (errors.length > 0) process.exitCode = 1;
};

/** How often the rows that take turns were measured. */
const roundsOf = ({ series }: Measured): number =>
  Math.max(0, ...Object.entries(series).map(([name, samples]) => (isOnce(name) ? 0 : samples.length)));

const isOnce = (name: string): boolean => name === 'rss_mb' || name === 'second_start_s';

const publish = async (
  options: Options,
  { series, holds, errors }: Measured,
  about: readonly string[],
): Promise<void> => {
  const all = rows.map((row) => ({ row, result: resultOf(row, series, holds[row.name]) }));
  const results = all.flatMap<Result>(({ result }) => result ?? []);
  if (results.length > 0) console.log(`\n${about.join('\n')}\n\n${tableOf(results)}`);
  const disturbed = disturbance(results);
  if (disturbed) console.log(`\n${disturbed}`);
  const left = all.filter(({ result }) => !result).map(({ row }) => row.name);
  if (left.length > 0) console.log(`\nNot measured: ${left.join(', ')}`);
  if (options.jsonFile !== undefined) {
    const json = {
      about: about.join(' '),
      errors,
      rows: all.map(({ row, result }) => jsonRowOf(row, result)),
    };
    await writeFile(options.jsonFile, `${JSON.stringify(json, undefined, 2)}\n`);
  }
  if (options.markdownFile !== undefined) {
    const file = options.markdownFile;
    const page = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
    await writeFile(file, withTable(page, markdownOf(results, about)));
  }
};

/** PostgreSQL is in a session of its own and services outlive us, so Ctrl-C would leave them behind. */
const endOnSignal = (cleanup: AsyncDisposableStack): void => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => {
      process.exitCode = interrupted;
      void cleanup.disposeAsync().finally(() => process.exit());
    });
};

/** As a shell says it of SIGINT. */
const interrupted = 130;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

await main().catch((error: unknown) => {
  // What was pulled away from under a measurement is no news.
  if (process.exitCode === interrupted) return;
  say(`Error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
});
