import type { Cpu } from './machine.ts';
import type { Row, Target } from './plan.ts';
import type { Sample } from './stage.ts';
import { median, ratiosOf, spreadOf, type Spread } from './statistics.ts';

/** What a row came to. */
export type Result = {
  row: Row;
  figures: Spread;
  /** Undefined for a row that is held against its target as it is, and where the yardstick is missing. */
  ratios: Spread | undefined;
  /** Undefined without a target or without the yardstick. */
  reached: boolean | undefined;
  /** Of one core; undefined where the system does not tell. */
  cpu: Cpu | undefined;
  note: string | undefined;
};

export type Series = Readonly<Record<string, readonly Sample[]>>;

/**
 * What the samples of a row came to.
 * @param extra a condition besides the target, such as memory that stays flat
 */
export const resultOf = (row: Row, series: Series, extra = true): Result | undefined => {
  const samples = series[row.name];
  if (!samples || samples.length === 0) return undefined;
  const values = samples.map(({ value }) => value);
  const others = row.overRow ? series[row.overRow]?.map(({ value }) => value) : undefined;
  const over = others ?? samples.map((sample) => sample.over);
  const figures = spreadOf(values);
  const ratios = row.over === undefined ? undefined : ratiosOf(values, over);
  const judged = row.over === undefined ? worst(row, figures) : ratios?.median;
  return {
    row,
    figures,
    ratios,
    reached: judged === undefined || !row.target ? undefined : meets(judged, row.target) && extra,
    cpu: meanCpu(samples),
    note: samples[Math.floor(samples.length / 2)]?.note,
  };
};

/** The table as a terminal shows it, with the notes below it. */
export const tableOf = (results: readonly Result[]): string => {
  const lines = [headings, ...results.map(cellsOf)];
  const widths = headings.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  const printed = lines.map((cells) =>
    cells
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  const notes = results.flatMap(({ row, note }) => (note === undefined ? [] : [`${row.name}: ${note}`]));
  return [...printed, '', ...notes].join('\n');
};

/** The table in Markdown, with the notes below it. */
export const markdownOf = (results: readonly Result[], about: readonly string[]): string => {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = headings.map((_, column) => (column < 2 ? '---' : '---:'));
  const notes = results.flatMap(({ row, note }) =>
    note === undefined ? [] : [`- \`${row.name}\`: ${note}`],
  );
  const table = [line(headings), line(rule), ...results.map((result) => line(cellsOf(result)))];
  return [...about, '', ...table, '', ...notes].join('\n');
};

/** A sentence about rows that had to share the machine; undefined when it was theirs. */
export const disturbance = (results: readonly Result[]): string | undefined => {
  const others = Math.max(0, ...results.map(({ cpu }) => cpu?.others ?? 0));
  if (others < 0.1) return undefined;
  return `Other programs used up to ${Math.round(others * 100)} % of a core meanwhile: run it again on a quiet machine.`;
};

/** One row as a program reads it; the figures of a skipped row are null. */
export type JsonRow = {
  name: string;
  ratio: number | null;
  median: number | null;
  min: number | null;
  max: number | null;
  unit: string;
  target: number | null;
  bound: 'at least' | 'at most' | null;
  reached: boolean | null;
  skipped: boolean;
  ratio_min: number | null;
  ratio_max: number | null;
  cpu: Result['cpu'] | null;
  note: string | null;
};

export const jsonRowOf = (row: Row, result: Result | undefined): JsonRow => ({
  name: row.name,
  ratio: result?.ratios?.median ?? null,
  median: result?.figures.median ?? null,
  min: result?.figures.min ?? null,
  max: result?.figures.max ?? null,
  unit: row.unit,
  target: row.target ? boundOf(row.target) : null,
  bound: row.target ? ('atLeast' in row.target ? 'at least' : 'at most') : null,
  reached: result?.reached ?? null,
  skipped: result === undefined,
  ratio_min: result?.ratios?.min ?? null,
  ratio_max: result?.ratios?.max ?? null,
  cpu: result?.cpu ?? null,
  note: result?.note ?? null,
});

/** A page with the table between its marks, or the table alone where the page has none. */
export const withTable = (page: string | undefined, table: string): string => {
  const marks = /(<!-- bench -->\n)[\s\S]*?(<!-- \/bench -->)/;
  if (page === undefined || !marks.test(page)) return `${table}\n`;
  return page.replace(marks, (_, start: string, end: string) => `${start}\n${table}\n\n${end}`);
};

const headings = [
  'row',
  'what',
  'median',
  'range',
  'ratio',
  'range',
  'target',
  '',
  'Node',
  'PostgreSQL',
  'load',
];

const cellsOf = ({ row, figures, ratios, reached, cpu }: Result): string[] => [
  row.name,
  row.what,
  `${figure(figures.median)} ${row.unit}`,
  `${figure(figures.min)}–${figure(figures.max)}`,
  ratios ? `${ratios.median.toFixed(2)} ÷ ${row.over}` : '',
  ratios ? `${ratios.min.toFixed(2)}–${ratios.max.toFixed(2)}` : '',
  row.target ? `${'atLeast' in row.target ? '≥' : '≤'} ${boundOf(row.target)}` : '',
  reached === undefined ? '' : reached ? 'reached' : 'missed',
  ...(cpu ? [cpu.node, cpu.postgres, cpu.load].map((share) => `${Math.round(share * 100)} %`) : ['', '', '']),
];

const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 10 ? 1 : 2);

const boundOf = (target: Target): number => ('atLeast' in target ? target.atLeast : target.atMost);

const meets = (value: number, target: Target): boolean =>
  'atLeast' in target ? value >= target.atLeast : value <= target.atMost;

/** Memory may at no moment be over its bound; of latencies and times to start the middle one counts. */
const worst = ({ unit }: Row, { median, max }: Spread): number => (unit === 'MB' ? max : median);

const meanCpu = (samples: readonly Sample[]): Result['cpu'] => {
  const known = samples.flatMap(({ cpu }) => cpu ?? []);
  if (known.length === 0) return undefined;
  const middle = (share: keyof Cpu): number => median(known.map((cpu) => cpu[share]));
  return {
    node: middle('node'),
    postgres: middle('postgres'),
    load: middle('load'),
    others: middle('others'),
  };
};
