import { subscribe } from 'node:diagnostics_channel';
import { flushCompileCache } from 'node:module';
import { signal } from '../../src/lib/postgres/processes.ts';
import { stepChannel, type StepName } from '../../src/lib/step.ts';

/*
 * Loaded with `--import` before a service: kills the process, or one of PostgreSQL, when it comes to a step that it was
 * told of, at once and from within, so that nothing happens in between. A process is started early, loads all its code,
 * and begins only when it is told to: the next one stands ready when one is killed.
 */

/** When to strike: at the how-manieth time that a step is reached. At another process than itself where that is given. */
export type At = { step: StepName; occurrence: number; pid?: number | undefined };

/** What a process is told by the run that started it. */
export type Order = { begin: true } | { killAt: At } | { spare: true };

/** What it says: all its code is read; another process was killed; it will kill nobody any more. */
export type Word = 'loaded' | 'struck' | 'spared';

const say = (word: Word): void => void process.send?.(word);

let killAt: At | undefined;
const begun = Promise.withResolvers<void>();

process.on('message', (order: Order) => {
  if ('begin' in order) begun.resolve();
  killAt = 'killAt' in order ? order.killAt : undefined;
  if ('spare' in order) say('spared');
});

// Whoever started it is gone: nobody would end it any more.
process.on('disconnect', () => process.exit());

subscribe(stepChannel, (message) => {
  const { name } = message as { name: StepName }; // `lib/step.ts` is the only publisher
  if (name !== killAt?.step) return;
  killAt.occurrence -= 1;
  if (killAt.occurrence > 0) return;
  signal(killAt.pid ?? process.pid, 'SIGKILL');
  killAt = undefined;
  say('struck');
});

await import('../../src/services/run.ts');
flushCompileCache();
say('loaded');
await begun.promise;
