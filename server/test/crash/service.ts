import { fork, type ChildProcess } from 'node:child_process';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rootDirectory } from '../../src/lib/config/config.ts';
import type { At, Order, Word } from './killer.ts';

/** A service that is killed and comes back, always with the next process standing by. */
export type Service = {
  /** Kills it at once. */
  kill(): Promise<void>;
  /** Lets it kill itself, or another process, at a step; false when patience ended before it came there. */
  killAt(at: At, patience: Promise<unknown>): Promise<boolean>;
  stop(): Promise<void>;
};

type Options = {
  name: string;
  env: Record<string, string>;
  logFile: string;
  /** Told when it ended by itself, which no service may. */
  onOwnEnd(what: string): void;
};

/** A process, and when it has read all its code. */
type Process = { child: ChildProcess; loaded: Promise<void> };

const killer = pathToFileURL(join(import.meta.dirname, 'killer.ts')).href;
const main = join(rootDirectory, 'server/src/cli/main.ts');

/** One that ends by itself so often will not run. */
const ownEndsMax = 5;

/** Resolves when a process says this word. */
const said = (child: ChildProcess, awaited: Word): Promise<void> =>
  new Promise((resolve) => {
    const listen = (word: unknown): void => {
      if (word !== awaited) return;
      child.off('message', listen);
      resolve();
    };
    child.on('message', listen);
  });

/** Starts a service as a process of its own: `florin serve NAME`. */
export const startService = ({ name, env, logFile, onOwnEnd }: Options): Service => {
  const log = openSync(logFile, 'a');
  let isStopping = false;
  let ended = Promise.withResolvers<void>();
  let standby: Process | undefined;
  let ownEnds = 0;

  const spawn = (): Process => {
    const child = fork(main, ['serve', name], {
      cwd: rootDirectory,
      env,
      execArgv: ['--import', killer],
      stdio: ['ignore', log, log, 'ipc'],
    });
    const loaded = said(child, 'loaded');
    child.once('exit', (code, signal) => {
      if (signal !== 'SIGKILL') {
        onOwnEnd(`${name} ended by itself: ${signal ?? `exit ${code}`}`);
        ownEnds += 1;
      }
      if (child === standby?.child) standby = undefined;
      if (child !== running) return;
      ended.resolve();
      if (!isStopping && ownEnds < ownEndsMax) replace();
    });
    return { child, loaded };
  };
  const begin = ({ child, loaded }: Process): ChildProcess => {
    tell(child, { begin: true });
    // Not both at once: whoever is waited for comes first.
    void standBy(child, loaded);
    return child;
  };
  const standBy = async (child: ChildProcess, loaded: Promise<void>): Promise<void> => {
    await loaded;
    if (!isStopping && child === running) standby ??= spawn();
  };
  const replace = (): void => {
    ended = Promise.withResolvers<void>();
    const next = standby ?? spawn();
    standby = undefined;
    running = begin(next);
  };
  const tell = (child: ChildProcess, order: Order): void => void child.send(order, () => undefined);
  let running = begin(spawn());

  const kill = async (): Promise<void> => {
    const end = ended.promise;
    running.kill('SIGKILL');
    await end;
  };
  const killAt: Service['killAt'] = async (at, patience) => {
    const end = ended.promise;
    const murderer = running;
    const struck = at.pid === undefined ? end : said(murderer, 'struck');
    tell(murderer, { killAt: at });
    // Should it end by itself meanwhile, nobody is struck.
    const isHit = await Promise.race([
      struck.then(() => true),
      ...(at.pid === undefined ? [] : [end.then(() => false)]),
      patience.then(() => false),
    ]);
    if (isHit) return true;
    // It may have come to the step this moment: not before it is known whether it lives can the next strike count on it.
    const spared = said(murderer, 'spared');
    tell(murderer, { spare: true });
    await Promise.race([spared, end]);
    return false;
  };
  const stop = async (): Promise<void> => {
    isStopping = true;
    const end = ended.promise;
    standby?.child.kill('SIGKILL');
    running.kill('SIGKILL');
    await end;
  };
  return { kill, killAt, stop };
};
