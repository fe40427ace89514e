import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * `npm test`: every test on the embedded PostgreSQL, then what touches the database again on Debian's PostgreSQL 15
 * where that is installed. With arguments, Vitest alone: `npm test -- server/src/ledger`.
 */
const debian = '/usr/lib/postgresql/15/bin';
const databaseTests = [
  'ledger',
  'journal',
  'payments',
  'customers',
  'events',
  'reconciliation',
  'webhooks',
  'vendors',
  'audit',
  'lib/migrate',
  'lib/schema-dump',
];

/** Redis for the tests of the shared cache: the one on this machine, else Debian's package where root may install it. */
const ensureRedis = (): void => {
  const has = (program: string): boolean => spawnSync('which', [program]).status === 0;
  if (has('redis-server')) return;
  if (process.getuid?.() === 0 && has('apt-get')) {
    console.log('Installing redis-server for the tests of the shared cache (apt-get).');
    const options = { timeout: 180_000, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
    spawnSync('apt-get', ['update', '-qq'], options);
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], options);
  }
  if (!has('redis-server'))
    console.log('Left out: tests of the shared cache, since there is no redis-server.');
};

type Counts = { passed: number; failed: number; skipped: number };

const runTests = (name: string, args: readonly string[], env: Record<string, string> = {}): Counts => {
  console.log(`\n${name}`);
  const folder = mkdtempSync(join(tmpdir(), 'florin-results-'));
  const results = join(folder, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  const { status } = spawnSync('vitest', ['run', ...reporters, ...args], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  const counts = existsSync(results)
    ? countsOf(readFileSync(results, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0 };
  rmSync(folder, { recursive: true });
  // A run can fail although no test did: in its set-up, or by an error that nobody caught.
  return { ...counts, failed: status === 0 ? counts.failed : Math.max(1, counts.failed) };
};

const countsOf = (text: string): Counts => {
  const results = JSON.parse(text) as {
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
  };
  return { passed: results.numPassedTests, failed: results.numFailedTests, skipped: results.numPendingTests };
};

ensureRedis();
const given = process.argv.slice(2);
const runs = [runTests('Tests on the embedded PostgreSQL 18', given)];
if (given.length === 0 && existsSync(debian)) {
  const paths = databaseTests.map((path) => `server/src/${path}`);
  runs.push(runTests('Database tests on PostgreSQL 15', paths, { FLORIN_TEST_POSTGRES_BIN: debian }));
} else if (given.length === 0) {
  console.log(`\nLeft out: database tests on PostgreSQL 15, which is not installed (${debian}).`);
}

const sum = (count: keyof Counts): number => runs.reduce((total, run) => total + run[count], 0);
console.log(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
process.exitCode = sum('failed') === 0 ? 0 : 1;
