import { describe, expect, test } from 'vitest';
import { rows, type Row } from './plan.ts';
import {
  disturbance,
  jsonRowOf,
  markdownOf,
  resultOf,
  tableOf,
  withTable,
  type Result,
  type Series,
} from './report.ts';
import type { Sample } from './stage.ts';

const cpu = { node: 0.9, postgres: 0.7, load: 0.1, others: 0 };
const samples = (...values: number[]): Sample[] => values.map((value) => ({ value, cpu }));
const rowOf = (name: string): Row => {
  const row = rows.find((one) => one.name === name);
  if (!row) throw new Error(`there is no row ${name}`);
  return row;
};
const resultIn = (name: string, series: Series, extra?: boolean): Result => {
  const result = resultOf(rowOf(name), series, extra);
  if (!result) throw new Error(`${name} was not measured`);
  return result;
};

describe('what a row came to', () => {
  const series = { tpcb: samples(2000, 1000), spread: samples(5800, 3100) };

  test('is the median of the ratios of its rounds, held against the target', () => {
    const spread = resultIn('spread', series);
    expect(spread.figures).toEqual({ median: 4450, min: 3100, max: 5800 });
    expect(spread.ratios).toEqual({ median: 3, min: 2.9, max: 3.1 });
    expect(spread.reached).toBe(true);
    expect(spread.cpu).toEqual(cpu);
  });

  test('is a miss, and no error, below the target', () => {
    const missed = resultIn('spread', { ...series, spread: samples(5700, 2850) });
    expect(missed.reached).toBe(false);
  });

  test('is neither reached nor missed without its yardstick', () => {
    const alone = resultIn('spread', { spread: samples(5800) });
    expect(alone.ratios).toBeUndefined();
    expect(alone.reached).toBeUndefined();
  });

  test('is divided by what it measured itself where it did', () => {
    const lone = resultIn('lone_client', { lone_client: [{ value: 1.3, over: 1, cpu }] });
    expect(lone.ratios?.median).toBe(1.3);
    expect(lone.reached).toBe(true);
  });

  test('is at most the target for a latency, at every moment for memory', () => {
    expect(resultIn('p99_ms', { p99_ms: samples(10, 20, 90) }).reached).toBe(true);
    expect(resultIn('rss_mb', { rss_mb: samples(200, 220, 257) }).reached).toBe(false);
    expect(resultIn('rss_mb', { rss_mb: samples(200, 220, 240) }).reached).toBe(true);
  });

  test('is missed when what must hold besides does not', () => {
    expect(resultIn('rss_mb', { rss_mb: samples(100, 150, 200) }, false).reached).toBe(false);
  });

  test('is nothing for a row that was not measured', () => {
    expect(resultOf(rowOf('growth'), series)).toBeUndefined();
  });
});

describe('the report', () => {
  const results = ['tpcb', 'spread'].map((name) =>
    resultIn(name, { tpcb: samples(2000, 1000), spread: samples(5800, 3100) }),
  );

  test('shows median, range, ratio, target, verdict and shares of the processor', () => {
    const line = tableOf(results)
      .split('\n')
      .find((text) => text.startsWith('spread'));
    for (const part of ['4,450 payments/s', '3,100–5,800', '3.00 ÷ TPC-B', '≥ 3', 'reached', '90 %', '70 %'])
      expect(line).toContain(part);
  });

  test('is a table in Markdown too', () => {
    const lines = markdownOf(results, ['About.']).split('\n');
    const cells = lines.filter((line) => line.startsWith('|')).map((line) => line.split('|').length);
    expect(cells).toHaveLength(4);
    expect(new Set(cells).size).toBe(1);
  });

  test('in JSON has the row of every name, with nulls where nothing was measured', () => {
    const spread = jsonRowOf(rowOf('spread'), results[1]);
    expect(spread).toMatchObject({ name: 'spread', ratio: 3, median: 4450, min: 3100, max: 5800 });
    expect(spread).toMatchObject({ unit: 'payments/s', target: 3, bound: 'at least', skipped: false });
    const growth = jsonRowOf(rowOf('growth'), undefined);
    expect(growth).toMatchObject({ name: 'growth', ratio: null, median: null, target: 0.9, skipped: true });
  });

  test('says when the machine was not ours alone', () => {
    expect(disturbance(results)).toBeUndefined();
    const busy = resultIn('tpcb', { tpcb: [{ value: 1, cpu: { ...cpu, others: 0.5 } }] });
    expect(disturbance([...results, busy])).toContain('50 % of a core');
  });

  test('replaces what is between the marks of a page and nothing else', () => {
    const page = 'before\n<!-- bench -->\nold $1\n<!-- /bench -->\nafter\n';
    expect(withTable(page, 'new $1 $&')).toBe(
      'before\n<!-- bench -->\n\nnew $1 $&\n\n<!-- /bench -->\nafter\n',
    );
    expect(withTable('no marks', 'new')).toBe('new\n');
    expect(withTable(undefined, 'new')).toBe('new\n');
  });
});
