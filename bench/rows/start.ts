import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { rootDirectory } from '../../server/src/lib/config/config.ts';
import { freePort } from '../services.ts';
import type { Sample, Stage } from '../stage.ts';

/** What `npm start` needs of a checkout; its state, `.florin`, is made in the copy. */
const needed = ['bin', 'config', 'server', 'package.json', 'package-lock.json', '.npmrc'];
const starts = 3;
const withinMs = 120_000;

/**
 * Seconds from typing `npm start`, in a checkout that was started before, to the first payment that is answered 201.
 * The first start, which makes the database, is not counted.
 */
export const secondStart = async ({ postgres, cleanup }: Stage): Promise<Sample[]> => {
  const checkout = join(postgres.home, 'checkout');
  cleanup.defer(() => removeState(checkout));
  await mkdir(checkout);
  for (const name of needed)
    await cp(join(rootDirectory, name), join(checkout, name), { recursive: true, filter: isProduct });
  await symlink(join(rootDirectory, 'node_modules'), join(checkout, 'node_modules'));
  const first = await startOnce(checkout, cleanup);
  const note = `the first start took ${first.toFixed(1)} s`;
  const samples: Sample[] = [];
  for (let start = 0; start < starts; start += 1)
    samples.push({ value: await startOnce(checkout, cleanup), cpu: undefined, note });
  return samples;
};

const isProduct = (path: string): boolean => !/\/server\/(node_modules|test)(\/|$)/.test(path);

/** Starts, pays, stops; the seconds to the payment. */
const startOnce = async (checkout: string, cleanup: AsyncDisposableStack): Promise<number> => {
  const port = await freePort();
  const startedAt = performance.now();
  if (cleanup.disposed) throw new Error('the run is ending');
  // A process group of its own, as a terminal makes one: what stops it must reach npm, its shell and Node.js.
  const child = spawn('npm', ['start'], {
    cwd: checkout,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: String(port) },
  });
  cleanup.defer(() => stop(child));
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  try {
    await firstPayment(child, `http://127.0.0.1:${port}/api/v1/payments`);
    return (performance.now() - startedAt) / 1000;
  } catch (error) {
    throw new Error(`npm start took no payment:\n${output.slice(-2000)}`, { cause: error });
  } finally {
    await stop(child);
  }
};

const firstPayment = async (child: ChildProcess, url: string): Promise<void> => {
  const headers = { 'x-api-key': 'test-key', 'content-type': 'application/json' };
  const body = JSON.stringify({ amount: '10.00', currency: 'USD', reference: 'first' });
  const deadline = performance.now() + withinMs;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    const status = await fetch(url, { method: 'POST', headers, body }).then(
      async (response) => (await response.arrayBuffer(), response.status),
      () => 0,
    );
    if (status === 201) return;
    await delay(10);
  }
  throw new Error(`nothing within ${withinMs / 1000} s`);
};

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'close');
  process.kill(-child.pid, 'SIGTERM');
  await ended;
};

/** Its data may lie elsewhere, where PostgreSQL's user can get to it. */
const removeState = async (checkout: string): Promise<void> => {
  const elsewhere = await readlink(join(checkout, '.florin', 'postgres', 'elsewhere')).catch(() => undefined);
  if (elsewhere !== undefined) await rm(elsewhere, { recursive: true, force: true });
  await rm(checkout, { recursive: true, force: true });
};
