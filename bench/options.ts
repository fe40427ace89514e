import { parseArgs } from 'node:util';
import { rows } from './plan.ts';

export type Options = {
  rounds: number;
  seconds: number;
  /** Rows to measure, by name. */
  names: readonly string[];
  jsonFile: string | undefined;
  markdownFile: string | undefined;
  generator: Generator | undefined;
  vendors: number;
  stored: number;
  memorySeconds: number;
  /** No round is begun that would end later than this after the start: a plain `npm run bench` takes five minutes. */
  withinMs: number;
};

/** What sends the load: wrk costs the two cores the least. */
export type Generator = 'wrk' | 'autocannon';

export const help = `Usage: npm run bench [-- OPTIONS]

Payments per second and their latency over HTTP, beside pgbench TPC-B on the same PostgreSQL in the same run.
docs/performance.md says what each row means. A missed target is printed; only an error exits 1.

  --full              the long rows too: growth, list_growth, rss_mb (about half an hour)
  --only NAME,NAME    these rows only, long or not
  --rounds N          rounds in which the rows take turns (5, or as many as five minutes allow)
  --seconds N         how long one row is measured in one round (4)
  --json FILE         writes the figures: {rows: [{name, ratio, median, min, max, unit, target}]}
  --markdown FILE     writes the table; into a page between <!-- bench --> and <!-- /bench -->, if it has them
  --generator NAME    wrk or autocannon; wrk where it is installed
  --vendors N         vendors of spread (10000)
  --stored N          payments stored for growth and list_growth (5000000)
  --memory-seconds N  how long rss_mb is under load (600)
  --help

Rows: ${rows.map(({ name, long }) => (long ? `${name} (long)` : name)).join(', ')}

Examples:
  npm run bench
  npm run bench -- --only spread,p99_ms --rounds 3 --seconds 8
  npm run bench -- --full --json bench.json --markdown docs/performance.md`;

/** The command line can't be understood; the message says what is wrong with it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Reads the command line; undefined when only help is wanted.
 * @throws UsageError
 */
export const readOptions = (args: readonly string[]): Options | undefined => {
  const values = parse(args);
  if (values.help) return undefined;
  return {
    rounds: count('rounds', values.rounds ?? '5'),
    seconds: count('seconds', values.seconds ?? '4'),
    names: namesOf(values.only, values.full),
    jsonFile: values.json,
    markdownFile: values.markdown,
    generator: generatorOf(values.generator),
    vendors: count('vendors', values.vendors),
    stored: count('stored', values.stored),
    memorySeconds: count('memory-seconds', values['memory-seconds']),
    withinMs: isPlain(values) ? 285_000 : Number.POSITIVE_INFINITY,
  };
};

const parse = (args: readonly string[]) => {
  try {
    return parseArgs({ args: [...args], options: flags }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
};

/** Whoever chooses what or how long is measured has the time for it. */
const isPlain = ({ full, only, rounds, seconds }: ReturnType<typeof parse>): boolean =>
  !full && only === undefined && rounds === undefined && seconds === undefined;

const flags = {
  full: { type: 'boolean', default: false },
  only: { type: 'string' },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  json: { type: 'string' },
  markdown: { type: 'string' },
  generator: { type: 'string' },
  vendors: { type: 'string', default: '10000' },
  stored: { type: 'string', default: '5000000' },
  'memory-seconds': { type: 'string', default: '600' },
  help: { type: 'boolean', default: false },
} as const;

const count = (name: string, text: string): number => {
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new UsageError(`--${name} must be a whole number above 0, got "${text}"`);
  return Number(text);
};

const namesOf = (only: string | undefined, full: boolean): string[] => {
  if (only === undefined) return rows.filter(({ long }) => full || !long).map(({ name }) => name);
  const names = only.split(',').map((name) => name.trim());
  const known = rows.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new UsageError(`there is no row ${unknown.join(', ')}; there are ${known.join(', ')}`);
  return names;
};

const generatorOf = (text: string | undefined): Generator | undefined => {
  if (text === undefined || text === 'wrk' || text === 'autocannon') return text;
  throw new UsageError(`--generator must be wrk or autocannon, got "${text}"`);
};
