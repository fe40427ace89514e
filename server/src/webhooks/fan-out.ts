import { inTransaction, type ConnectionOptions, type Db } from '../lib/database.ts';
import type { Clock } from '../lib/clock.ts';
import type { Job } from '../lib/jobs.ts';
import { lead } from '../lib/leader.ts';
import type { Log } from '../lib/log.ts';
import type { Id } from '../lib/ids.ts';
import type { Metrics } from '../lib/metrics.ts';
import { step } from '../lib/step.ts';
import type { Wake } from '../lib/wake.ts';
import { measureQueue } from './measure.ts';
import { advance, enqueue, takeNextEvents } from './queue-store.ts';
import { replaySome } from './replay-work.ts';

/** An endpoint that something was queued for, for whoever sends. */
export type Offer = { tenantId: number; endpointId: Id<'webhook_endpoint'> };

/** What the fan-out works with. */
export type FanOut = {
  connection: ConnectionOptions;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** Rings when entries of the journal got their positions. */
  sealed: Wake;
  /** Told of what was queued, once it is committed. */
  offer(offers: readonly Offer[]): void;
};

/** So many places of the journal become deliveries in one transaction, at most. */
const spanMax = 1_000;

/** How often to look when nobody says that there is something new. */
const pollMs = 200;
const standbyMs = 1_000;
const measureEveryMs = 15_000;
const replayEveryMs = 500;

const fanOutLock = ['florin.webhooks', 'fan-out'] as const;

/**
 * Makes deliveries of events, in the order of the journal: for each event one a fitting endpoint, exactly once, since how far it
 * came is written in the same transaction. One worker does, the others wait to take over.
 */
export const fanOutJob = (parts: FanOut): Job => ({
  name: 'webhooks-fan-out',
  run: (signal) => {
    const { connection, log } = parts;
    const leading = { connection, applicationName: 'florin-fan-out', lock: fanOutLock, standbyMs, signal };
    return lead(leading, async (session) => {
      log.info('This process makes webhook deliveries of events now');
      await work(parts, session, signal);
    });
  },
});

const work = async (parts: FanOut, session: Db, signal: AbortSignal): Promise<void> => {
  let measuredAtMs = Number.NEGATIVE_INFINITY;
  let replayedAtMs = Number.NEGATIVE_INFINITY;
  let isReplaying = false;
  while (!signal.aborted) {
    const isBehind = (await fanOut(parts, session)) === 'more';
    // What happens now comes first, and asks nothing else of the database than it has to.
    if (isReplaying || performance.now() - replayedAtMs >= replayEveryMs) {
      replayedAtMs = performance.now();
      isReplaying = (await replaySome(parts, session)) === 'more';
    }
    if (performance.now() - measuredAtMs >= measureEveryMs) {
      measuredAtMs = performance.now();
      await measureQueue(session, parts);
    }
    if (!isBehind && !isReplaying) await parts.sealed.next(pollMs, signal);
  }
};

/** One step: the next places, as many as there are. */
export const fanOut = async (
  { clock, metrics, offer }: Pick<FanOut, 'clock' | 'metrics' | 'offer'>,
  session: Db,
): Promise<'more' | 'idle'> => {
  const { end, first, matches } = await inTransaction(session, async (tx) => {
    const span = await takeNextEvents(tx, spanMax);
    if (span.matches.length > 0) await enqueue(tx, span.matches, { replay: 0, now: clock.now() });
    if (span.end > span.first) await advance(tx, span.end);
    if (span.matches.length > 0) step('fan-out.commit');
    return span;
  });
  if (matches.length > 0) {
    metrics.webhooks.queued.inc(matches.length);
    offer(offersOf(matches));
  }
  return end - first === BigInt(spanMax) ? 'more' : 'idle';
};

/** Each endpoint once. */
const offersOf = (matches: readonly Offer[]): Offer[] => [
  ...new Map(matches.map(({ endpointId, tenantId }) => [endpointId, { endpointId, tenantId }])).values(),
];
