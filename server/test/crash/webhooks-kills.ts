import { setTimeout as wait } from 'node:timers/promises';
import { signal } from '../../src/lib/postgres/processes.ts';
import type { Postgres } from './postgres.ts';
import { chosen, randomFrom } from './schedule.ts';
import type { At } from './killer.ts';
import type { Service } from './service.ts';
import type { Receiver } from './webhooks-seen.ts';

/**
 * Every kind of kill: at a random moment one of the services, one connection's process of PostgreSQL (`backend`) or the
 * server itself (`postmaster`); and at a step of a delivery whoever came to it, or PostgreSQL at that moment. At
 * `batch.committed` sapi has committed what happened, and has told nobody.
 */
export const killKinds = [
  'worker',
  'both workers',
  'sapi',
  'eapi',
  'backend',
  'postmaster',
  'fan-out.commit',
  'fan-out.commit, postmaster',
  'delivery.claimed',
  'delivery.claimed, backend',
  'delivery.answered',
  'delivery.answered, postmaster',
  'delivery.recorded',
  'delivery.recorded, backend',
  'batch.committed',
] as const;

export type KillKind = (typeof killKinds)[number];

export type Kill = { kind: KillKind; occurrence: number; afterMs: number; which: number };

/** Every kill of a run, by its seed: all kinds in turn, in another order each time. */
export const killsOf = (seed: number, count: number): Kill[] => {
  const random = randomFrom(seed);
  let turn: KillKind[] = [];
  return Array.from({ length: count }, () => {
    if (turn.length === 0) turn = [...killKinds];
    const kind = chosen(random, turn);
    turn = turn.filter((other) => other !== kind);
    const occurrence = 1 + Math.floor(random() * 3);
    return { kind, occurrence, afterMs: random() * 60, which: Math.floor(random() * 2) };
  });
};

/** Everything that is killed, and the receiver, which is not. */
export type Victims = {
  postgres: Postgres;
  sapi: Service;
  eapi: Service;
  workers: readonly [Service, Service];
  receiver: Receiver;
};

/** Strikes, and says whether it did: a step may not come. */
export const strike = async (
  victims: Victims,
  { kind, occurrence, afterMs, which }: Kill,
): Promise<boolean> => {
  const [name = '', whom = 'itself'] = kind.split(', ');
  if (!name.includes('.')) {
    await wait(afterMs);
    return strikeAtRandom(victims, kind, which);
  }
  const { postgres, sapi, workers } = victims;
  const pid = whom === 'itself' ? undefined : whom === 'backend' ? await backendOf(postgres) : postgres.pid();
  // Names of kinds are names of steps.
  const at = { step: name as At['step'], occurrence, pid };
  const isHit = await strikeAt(name === 'batch.committed' ? [sapi] : workers, at);
  if (isHit && whom === 'postmaster') await postgres.killServer();
  return isHit;
};

/** How long a step is waited for: a worker that takes over begins by waiting for what the one before held. */
const stepPatienceMs = 30_000;

/** Whoever comes to the step first is struck, or strikes. */
const strikeAt = async (services: readonly Service[], at: At): Promise<boolean> => {
  const over = Promise.withResolvers<void>();
  const patience = setTimeout(over.resolve, stepPatienceMs);
  const hits = await Promise.all(
    services.map(async (service) => {
      const isHit = await service.killAt(at, over.promise);
      over.resolve();
      return isHit;
    }),
  );
  clearTimeout(patience);
  return hits.includes(true);
};

const strikeAtRandom = async (victims: Victims, kind: KillKind, which: number): Promise<boolean> => {
  const { postgres, sapi, eapi, workers } = victims;
  const [first, second] = workers;
  if (kind === 'sapi') await sapi.kill();
  if (kind === 'eapi') await eapi.kill();
  if (kind === 'worker') await (which === 0 ? first : second).kill();
  if (kind === 'both workers') await Promise.all([first.kill(), second.kill()]);
  if (kind === 'postmaster') await postgres.killServer();
  if (kind === 'backend') signal(await backendOf(postgres), 'SIGKILL');
  return true;
};

const backendPatienceMs = 30_000;

/** While PostgreSQL recovers it has no connections. @throws Error when it does not come back */
const backendOf = async (postgres: Postgres): Promise<number> => {
  for (const deadline = performance.now() + backendPatienceMs; performance.now() < deadline;) {
    const pid = postgres.backendPid();
    if (pid !== undefined) return pid;
    await wait(50);
  }
  throw new Error('PostgreSQL has no connections');
};
