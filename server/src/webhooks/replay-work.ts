import type { Clock } from '../lib/clock.ts';
import { inTransaction, type Db } from '../lib/database.ts';
import type { Id } from '../lib/ids.ts';
import type { Metrics } from '../lib/metrics.ts';
import { enqueue } from './queue-store.ts';
import { matchesOf, nextReplay, updateReplay, type Replay } from './replay-store.ts';

/** So many places of the journal are looked at in one transaction. */
const placesMax = 500;

/** While so much is queued for an endpoint, nothing is queued again: what happens now must not wait for all of what happened. */
const queuedMax = 1_000;

type Parts = {
  clock: Clock;
  metrics: Pick<Metrics, 'webhooks'>;
  offer(offers: readonly { tenantId: number; endpointId: Id<'webhook_endpoint'> }[]): void;
};

/** One step of every replay that is running; `more` while one of them could go on at once. */
export const replaySome = async (parts: Parts, session: Db): Promise<'more' | 'idle'> => {
  let result: 'more' | 'idle' = 'idle';
  let after: Id<'webhook_endpoint'> | undefined;
  for (;;) {
    const next = await nextReplay(session, { after, countMax: queuedMax });
    if (!next) return result;
    const { replay, endpointState, queued } = next;
    after = replay.endpointId;
    if (endpointState === 'deleted') await cancel(parts, session, replay);
    else if (endpointState === 'enabled' && queued < queuedMax && (await replayNext(parts, session, replay)))
      result = 'more';
  }
};

/** Gives whether there is more to do. */
const replayNext = async (
  { clock, metrics, offer }: Parts,
  session: Db,
  replay: Replay,
): Promise<boolean> => {
  const { number, endpointId, tenantId, endPosition } = replay;
  const { queued, next } = await inTransaction(session, async (tx) => {
    const { matches, next } = await matchesOf(tx, replay, placesMax);
    const now = clock.now();
    const queued = matches.length === 0 ? 0 : await enqueue(tx, matches, { replay: number, now });
    const state = next === undefined ? 'done' : 'running';
    await updateReplay(tx, replay, { position: next ?? endPosition, found: queued, state, now });
    return { queued, next };
  });
  if (queued > 0) {
    metrics.webhooks.queued.inc(queued);
    offer([{ tenantId, endpointId }]);
  }
  return next !== undefined;
};

const cancel = ({ clock }: Parts, session: Db, replay: Replay): Promise<void> =>
  inTransaction(session, (tx) =>
    updateReplay(tx, replay, { position: replay.position, found: 0, state: 'canceled', now: clock.now() }),
  );
