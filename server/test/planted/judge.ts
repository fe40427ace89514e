import { availableParallelism } from 'node:os';
import { plantedBugs } from './bugs.ts';
import type { Bug } from './bug.ts';
import { runSuite, type SuiteRun } from './suite.ts';
import type { Tree } from './tree.ts';

/** What became of a bug: the test that found it, or why none did. */
export type Verdict = { bug: Bug; caught: boolean; by: string; saw: string; seconds: number };

/** A copy's tests with a bug in it take seconds; this is for one that makes them hang. */
const timeoutMs = 180_000;

/** The bugs with these names, all of them without any. @throws Error for a name that none has */
export const bugsNamed = (names: readonly string[]): readonly Bug[] => {
  const known = plantedBugs.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`There is no bug ${unknown.join(', ')}; see --list.`);
  return plantedBugs.filter(({ name }) => names.length === 0 || names.includes(name));
};

/**
 * Runs every test that is meant to find a bug without any: those of files that are wanted whole, then the named ones.
 * @returns what passed
 * @throws Error that names what did not, or a bug that no test is meant for
 */
export const proveGreen = async (
  { folder }: Tree,
  bugs: readonly Bug[],
  signal: AbortSignal,
): Promise<SuiteRun['tests']> => {
  const options = { workers: availableParallelism(), timeoutMs: 4 * timeoutMs, signal };
  const whole = new Set(
    bugs.filter(({ filter }) => filter === undefined).flatMap(({ caughtBy }) => caughtBy),
  );
  const named = bugs.filter(({ caughtBy }) => caughtBy.some((file) => !whole.has(file)));
  const inPart = new Set(named.flatMap(({ caughtBy }) => caughtBy).filter((file) => !whole.has(file)));
  const parts = [
    { files: [...whole] },
    { files: [...inPart], filters: named.flatMap(({ filter }) => filter ?? []) },
  ];
  const runs: SuiteRun[] = [];
  for (const part of parts)
    if (part.files.length > 0) runs.push(await runSuite(folder, { ...options, ...part }));
  signal.throwIfAborted();
  const tests = runs.flatMap((run) => run.tests);
  const faults = [
    ...runs.flatMap(({ fault }) => fault ?? []),
    ...tests.filter(({ passed }) => !passed).map((test) => `${test.file}: ${test.name}: ${test.message}`),
    ...bugs
      .filter((bug) => meantFor(bug, tests).length === 0)
      .map(({ name }) => `${name}: no test is meant for it`),
  ];
  if (faults.length > 0) throw new Error(`Without a bug the tests are red:\n${faults.join('\n')}`);
  return tests;
};

/** The tests that are meant to find a bug. */
const meantFor = ({ caughtBy, filter = '' }: Bug, tests: SuiteRun['tests']): SuiteRun['tests'] =>
  tests.filter(({ file, name }) => caughtBy.includes(file) && name.includes(filter));

/** Plants a bug and runs its tests. Caught is what a test finds that passed without it: a file that can't run says nothing. */
export const judge = async (
  tree: Tree,
  bug: Bug,
  green: SuiteRun['tests'],
  signal: AbortSignal,
): Promise<Verdict> => {
  const { tests, fault, seconds } = await tree.planted(bug, () =>
    runSuite(tree.folder, {
      files: bug.caughtBy,
      ...(bug.filter === undefined ? {} : { filters: [bug.filter] }),
      bail: true,
      workers: 1,
      timeoutMs,
      signal,
    }),
  );
  const passedBefore = new Set(green.map(({ file, name }) => `${file} ${name}`));
  const found = tests.find(({ file, name, passed }) => !passed && passedBefore.has(`${file} ${name}`));
  if (found) return { bug, caught: true, by: `${found.file}: ${found.name}`, saw: found.message, seconds };
  const saw = fault ?? `${tests.length} tests passed`;
  return { bug, caught: false, by: '', saw, seconds };
};
