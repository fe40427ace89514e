import { basename } from 'node:path';
import { textTable } from '../../src/cli/table.ts';
import type { Bug } from './bug.ts';
import type { Verdict } from './judge.ts';

/** Each bug with what it breaks and the test that found it, or what was seen instead. */
export const tableText = (verdicts: readonly Verdict[]): string =>
  textTable(
    ['bug', 'what it breaks', 'caught by', 'seconds'],
    verdicts.map(({ bug, caught, by, saw, seconds }) => [
      bug.name,
      bug.breaks,
      caught ? shortened(by) : `MISSED: ${saw}`,
      seconds.toFixed(1),
    ]),
    new Set([3]),
  );

export const listText = (bugs: readonly Bug[]): string =>
  textTable(
    ['bug', 'what it breaks', 'in', 'has to be caught by'],
    bugs.map(({ name, breaks, file, caughtBy, filter }) => [
      name,
      breaks,
      file,
      [caughtBy.join(' or '), ...(filter === undefined ? [] : [`"${filter}"`])].join(' '),
    ]),
  );

/** What `--json` writes. */
export const summaryOf = (verdicts: readonly Verdict[]) => ({
  planted: verdicts.length,
  caught: verdicts.filter(({ caught }) => caught).length,
  bugs: verdicts.map(({ bug: { name, breaks, file }, caught, by, saw, seconds }) => ({
    name,
    breaks,
    file,
    caught,
    by,
    saw,
    seconds,
  })),
});

/** `server/src/ledger/ledger.test.ts: holds a hold ends once` as `ledger.test.ts: holds a hold ends once`. */
const shortened = (by: string): string => {
  const [file = '', ...name] = by.split(': ');
  const text = `${basename(file)}: ${name.join(': ')}`;
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
};
