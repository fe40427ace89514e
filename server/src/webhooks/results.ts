import { setTimeout as wait } from 'node:timers/promises';
import { createBatcher } from '../lib/batch.ts';
import { inTransaction, isPassing, sqlStateOf, type Db } from '../lib/database.ts';
import type { Clock } from '../lib/clock.ts';
import type { Id } from '../lib/ids.ts';
import type { Log } from '../lib/log.ts';
import { step } from '../lib/step.ts';
import type { Made } from './deliver.ts';
import { disableEndpoint } from './endpoints.ts';
import { countFailures, record, type FailingEndpoint, type Tally } from './queue-store.ts';

type EndpointId = Id<'webhook_endpoint'>;

/** What results are written with. */
export type Recording = {
  db: Db;
  clock: Clock;
  log: Log;
  disableAfterDays: number;
};

/** So many failures in a row open a circuit, for this long at first and at most. */
const circuit = { openAfter: 10, pauseMinMs: 5_000, pauseMaxMs: 300_000 };

const dayMs = 86_400_000;

const limits = { batchMax: 256, queueMax: 100_000, groupMax: 100_000, inFlightMax: 1 };

/** How often a batch that could not be written for a passing reason is tried, and how long it waits in between. */
const tries = { max: 8, pauseMs: 500 };

/** Writes down what came of attempts: what arrives while one statement is under way is the next one. */
export const createRecorder = (parts: Recording) =>
  createBatcher<Made, boolean>({
    ...limits,
    run: async (made) => {
      step('delivery.answered');
      const released = await persistently(() => record(parts.db, made));
      step('delivery.recorded');
      await judge(parts, made);
      return made.map(() => released > 0);
    },
    // Classes 22 (data) and 23 (integrity) are about one row.
    isPoison: (error) => /^2[23]/.test(sqlStateOf(error) ?? ''),
    groupOf: () => 0,
  });

/** A database that is away for a moment does not cost the answers of receivers: they would be asked again. */
const persistently = async <T>(run: () => Promise<T>, triesLeft = tries.max): Promise<T> => {
  try {
    return await run();
  } catch (error) {
    if (triesLeft <= 1 || !isPassing(error)) throw error;
    await wait(tries.pauseMs);
    return persistently(run, triesLeft - 1);
  }
};

/** Opens and closes circuits, and disables endpoints that are gone or have been failing for days. */
const judge = async (parts: Recording, made: readonly Made[]): Promise<void> => {
  const { db, clock, disableAfterDays, log } = parts;
  const now = clock.now();
  const tallies = made.every(isUneventful) ? [] : talliesOf(made);
  const failing = tallies.length === 0 ? [] : await countFailures(db, tallies, circuit, now);
  const gone = new Set(made.flatMap(({ isGone, claim }) => (isGone ? [claim.endpointId] : [])));
  for (const endpoint of failing) {
    if (gone.has(endpoint.id)) await disable(parts, endpoint, 'gone');
    else if (now.getTime() - endpoint.failingSince.getTime() >= disableAfterDays * dayMs)
      await disable(parts, endpoint, 'failing');
    else if (endpoint.pausedUntil)
      log.info(
        { endpoint: endpoint.id, failures: endpoint.failures, paused_until: endpoint.pausedUntil },
        'A webhook endpoint accepts nothing: its circuit is open',
      );
  }
};

/** Most endpoints accept what they are sent, as they did before. */
const isUneventful = ({ state, claim }: Made): boolean => state === 'delivered' && !claim.isFailing;

/** In the order in which they were answered. */
const talliesOf = (made: readonly Made[]): Tally[] => {
  const tallies = new Map<EndpointId, Tally>();
  for (const { claim, state } of made.filter(({ isSent }) => isSent)) {
    const tally = tallies.get(claim.endpointId) ?? {
      endpointId: claim.endpointId,
      failed: 0,
      accepted: false,
    };
    tallies.set(
      claim.endpointId,
      state === 'delivered'
        ? { ...tally, failed: 0, accepted: true }
        : { ...tally, failed: tally.failed + 1 },
    );
  }
  return [...tallies.values()];
};

const disable = async (
  { db, clock, log }: Recording,
  { tenantId, id, failures, failingSince }: FailingEndpoint,
  reason: 'gone' | 'failing',
): Promise<void> => {
  const context = {
    tenantId,
    actor: 'system:worker',
    origin: undefined,
    requestId: undefined,
    now: clock.now(),
  };
  const entry = await inTransaction(db, (tx) => disableEndpoint(tx, context, { tenantId, id }, reason));
  if (entry)
    log.warn(
      { endpoint: id, reason, failures, failing_since: failingSince },
      'A webhook endpoint was disabled',
    );
};
