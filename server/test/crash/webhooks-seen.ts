import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Arrival, Question, Word } from './webhooks-receiver.ts';

/** A process that webhooks are sent to, and what it has seen. */
export type Receiver = AsyncDisposable & {
  url: string;
  /** Tells it what the messages to its paths are signed with. */
  expect(secrets: Readonly<Record<string, string>>): void;
  /** How many different messages came so far. */
  seen(): number;
  /** Resolves when so many different messages came; false when nothing new came for too long. */
  reached(count: number, patienceMs: number): Promise<boolean>;
  arrivals(): Promise<readonly Arrival[]>;
};

/** Starts the receiver in a process of its own. */
export const startReceiver = async (): Promise<Receiver> => {
  const child = fork(join(import.meta.dirname, 'webhooks-receiver.ts'), {
    // What came is one long message.
    serialization: 'advanced',
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  let seen = 0;
  const port = Promise.withResolvers<number>();
  const arrivals = Promise.withResolvers<readonly Arrival[]>();
  const watchers = new Set<() => void>();
  child.once('exit', (code, signal) => {
    const ended = new Error(`the receiver ended: ${signal ?? `exit ${code}`}`);
    port.reject(ended);
    arrivals.reject(ended);
  });
  // Nobody may be waiting for it when it ends.
  arrivals.promise.catch(() => undefined);
  child.on('message', (word: Word) => {
    if ('port' in word) port.resolve(word.port);
    if ('arrivals' in word) arrivals.resolve(word.arrivals);
    if (!('seen' in word)) return;
    seen = word.seen;
    for (const watcher of watchers) watcher();
  });
  const ask = (question: Question): void => void child.send(question);

  const reached = async (count: number, patienceMs: number): Promise<boolean> => {
    if (seen >= count) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const patience = setTimeout(() => resolve(false), patienceMs);
    const watcher = (): void => {
      patience.refresh();
      if (seen >= count) resolve(true);
    };
    watchers.add(watcher);
    const isReached = await promise;
    watchers.delete(watcher);
    clearTimeout(patience);
    return isReached;
  };

  return {
    url: `http://127.0.0.1:${await port.promise}`,
    expect: (secrets) => ask({ secrets }),
    seen: () => seen,
    reached,
    arrivals: () => {
      ask({ arrivals: true });
      return arrivals.promise;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
};
