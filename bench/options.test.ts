import { describe, expect, test } from 'vitest';
import { help, readOptions, UsageError } from './options.ts';
import { rows } from './plan.ts';

describe('the command line of the bench', () => {
  test('without options all rows but the long ones are measured, within five minutes', () => {
    const options = readOptions([]);
    expect(options).toMatchObject({ rounds: 5, seconds: 4, vendors: 10_000 });
    expect(options?.names).toContain('spread');
    expect(options?.names).not.toContain('growth');
    expect(options?.withinMs).toBeLessThan(300_000);
  });

  test('--full adds the long rows and takes its time', () => {
    const options = readOptions(['--full']);
    expect(options?.names).toEqual(rows.map(({ name }) => name));
    expect(options?.withinMs).toBe(Infinity);
  });

  test('--only measures what it names, long or not', () => {
    expect(readOptions(['--only', 'spread, rss_mb'])?.names).toEqual(['spread', 'rss_mb']);
  });

  test.each([
    [['--only', 'spred'], 'there is no row spred'],
    [['--rounds', '0'], '--rounds must be a whole number above 0'],
    [['--seconds', '1.5'], '--seconds must be a whole number above 0'],
    [['--generator', 'hey'], '--generator must be wrk or autocannon'],
    [['--fast'], "Unknown option '--fast'"],
    [['spread'], 'Unexpected argument'],
  ])('%j is refused with a reason', (args, reason) => {
    expect(() => readOptions(args)).toThrow(UsageError);
    expect(() => readOptions(args)).toThrow(reason);
  });

  test('the help names every row', () => {
    expect(readOptions(['--help'])).toBeUndefined();
    expect(rows.filter(({ name }) => !help.includes(name))).toEqual([]);
  });
});
