import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Generator } from '../options.ts';
import { newRun } from './body.ts';

/** What a generator reports: answers, over how long, how many were not 2xx or never came, and the median latency. */
export type LoadReport = { requests: number; seconds: number; failures: number; p50Ms: number };

export type LoadOptions = {
  generator: Generator;
  /** The service, without a path. */
  url: string;
  /** One bearer token a line; each payment is of one at random. */
  tokensFile: string;
  clients: number;
  seconds: number;
};

/** wrk where it is installed: it takes a fifth of the processor time that autocannon takes. */
export const findGenerator = (): Generator =>
  spawnSync('wrk', ['--version'], { stdio: 'ignore' }).error === undefined ? 'wrk' : 'autocannon';

/**
 * Sends payments from a process of its own, each client the next one when the last is answered.
 * @throws Error when an answer was not 2xx, did not come, or a connection failed
 */
export const sendPayments = async (options: LoadOptions): Promise<LoadReport> => {
  const report = (await runForJson(...commandOf(options))) as LoadReport; // what both generators print
  if (report.failures > 0)
    throw new Error(
      `${report.failures} of ${report.requests} payments were not answered 2xx by ${options.url}`,
    );
  if (report.requests === 0) throw new Error(`no payment was answered by ${options.url}`);
  return report;
};

/** Runs a program to its end and gives the JSON of the last line that it prints. @throws Error when it fails */
export const runForJson = async (
  command: string,
  args: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<unknown> => {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${command} ${args[0] ?? ''} failed: ${errors || output}`);
  return JSON.parse(output.trim().split('\n').at(-1) ?? '');
};

/** The path of a script beside this one, as an argument of Node.js. */
export const scriptOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const commandOf = (options: LoadOptions): [command: string, args: string[]] => {
  const { generator, url, tokensFile, clients, seconds } = options;
  if (generator === 'autocannon')
    return [
      process.execPath,
      [scriptOf('autocannon.ts'), url, tokensFile, String(clients), String(seconds), newRun()],
    ];
  const seed = String(Math.floor(Math.random() * 2 ** 31));
  const wrk = ['--threads=1', `--connections=${clients}`, `--duration=${seconds}s`, '--timeout=10s'];
  return ['wrk', [...wrk, `--script=${scriptOf('payments.lua')}`, url, '--', tokensFile, newRun(), seed]];
};
