import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/** One test as it went. */
type Ran = { file: string; name: string; passed: boolean; message: string };

/** How a run of tests went; `fault` where it was none: a file that could not be read, no result in time. */
export type SuiteRun = { tests: Ran[]; fault: string | undefined; seconds: number };

type Report = {
  testResults: {
    name: string;
    status: string;
    message: string;
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
};

type Options = {
  files: readonly string[];
  /** Parts of the names of the tests that are meant; all tests of the files unless given. */
  filters?: readonly string[];
  /** Stops at the first test that fails. */
  bail?: boolean;
  workers: number;
  timeoutMs: number;
  signal: AbortSignal;
};

/** Runs test files of a copy of the sources with Vitest, in a process of its own. */
export const runSuite = async (folder: string, options: Options): Promise<SuiteRun> => {
  const results = join(folder, 'results.json');
  await rm(results, { force: true });
  const startedAt = performance.now();
  const output = await vitest(folder, argumentsOf(options, results), options);
  const text = await readFile(results, 'utf8').catch(() => undefined);
  const seconds = (performance.now() - startedAt) / 1000;
  if (text === undefined) return { tests: [], fault: `no result: ${output}`, seconds };
  return { ...read(JSON.parse(text) as Report, folder), seconds };
};

const argumentsOf = ({ files, filters, bail, workers }: Options, results: string): string[] => [
  'run',
  '--reporter=json',
  `--outputFile=${results}`,
  `--maxWorkers=${workers}`,
  ...(bail ? ['--bail=1'] : []),
  ...(filters ? ['--testNamePattern', filters.map(patternOf).join('|')] : []),
  ...files,
];

/** Vitest compares with `describe > test`, but reports `describe test`, which is how a bug names its tests. */
const patternOf = (filter: string): string => filter.split(' ').map(RegExp.escape).join('(?: > | )');

/** Gives the end of what Vitest said, whether its tests passed or not. */
const vitest = (folder: string, args: readonly string[], { timeoutMs, signal }: Options): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = '';
    // A group of its own, so that what the tests started ends with it.
    const child = spawn('vitest', args, { cwd: folder, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const end = (why: string): void => {
      said += why;
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    };
    const stop = (): void => end('stopped');
    const timer = setTimeout(() => end(`took longer than ${timeoutMs / 1000} s`), timeoutMs);
    signal.addEventListener('abort', stop, { once: true });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => (said = `${said}${data.toString()}`.slice(-2_000)));
    child.once('error', reject);
    child.once('close', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      resolve(said.trim());
    });
  });

const read = ({ testResults }: Report, folder: string): Pick<SuiteRun, 'tests' | 'fault'> => {
  const tests = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'passed' || status === 'failed')
      .map(({ fullName, status, failureMessages }) => ({
        file: relative(folder, name),
        name: fullName,
        passed: status === 'passed',
        message: firstLine(failureMessages[0] ?? ''),
      })),
  );
  const broken = testResults.find(({ status, message }) => status === 'failed' && message !== '');
  return { tests, fault: broken && `${relative(folder, broken.name)}: ${firstLine(broken.message)}` };
};

const firstLine = (text: string): string => stripVTControlCharacters(text).split('\n', 1)[0] ?? '';
