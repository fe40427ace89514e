import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append } from '../journal/journal.ts';
import type { Json } from '../lib/canonical.ts';
import type { Db } from '../lib/database.ts';
import { AppError, invalidField } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { parseTime } from '../lib/time.ts';
import { shownSince } from '../events/events.ts';
import {
  retriesMax,
  type Delivery,
  type DeliveryWithAttempts,
  type ReplayAnswer,
  type ReplayBody,
  type RetriedDeliveries,
} from './delivery-schema.ts';
import {
  getDelivery,
  listEarlierAttempts,
  resetDelivery,
  resetFailed,
  type StoredAttempt,
  type StoredDelivery,
} from './delivery-store.ts';
import { fixedHeaders } from './deliver.ts';
import { getEndpoint, lockEndpoint } from './endpoint-store.ts';
import type { Write } from './endpoint.ts';
import { findRunningReplay, insertReplay, type Replay } from './replay-store.ts';

/** Attempts that are shown. */
const attemptsMax = 100;

/** A delivery with its attempts. @throws AppError `not_found` */
export const describeDelivery = async (
  db: Db,
  key: { tenantId: number; id: Id<'delivery'> },
): Promise<DeliveryWithAttempts> => {
  const delivery = await getDelivery(db, key);
  const { lastAttempt, eventId } = delivery;
  const earlier = await listEarlierAttempts(db, key, attemptsMax);
  // One that came too late to count may have a higher number.
  const attempts = [...(lastAttempt ? [lastAttempt] : []), ...earlier].sort((a, b) => b.number - a.number);
  return {
    ...deliveryJson(delivery),
    tries: attempts.slice(0, attemptsMax).map((attempt) => attemptJson(eventId, attempt)),
  };
};

/**
 * Sends a delivery again, whatever became of it: at once, and then as often as a new one.
 * @throws AppError `not_found`, `invalid_state` when its endpoint was deleted
 */
export const retryDelivery = (db: Db, { context, key }: Write, id: Id<'delivery'>): Promise<GivenAnswer> =>
  answerOnce(db, { context, operation: 'deliveries.retry', key, request: { id } }, async (tx) => {
    const { tenantId, now } = context;
    const found = await getDelivery(tx, { tenantId, id });
    await getEndpoint(tx, { tenantId, id: found.endpointId }).catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      throw new AppError('invalid_state', 'The endpoint of this delivery was deleted.', { cause: error });
    });
    const delivery = await resetDelivery(tx, { tenantId, id }, now);
    const snapshot = deliveryJson(delivery);
    const object = { type: 'delivery', id };
    return {
      status: 200,
      entry: await append(tx, context, { kind: 'webhook_delivery.retried', object, snapshot }),
    };
  });

/** Sends dead letters of an endpoint again, the oldest first, so many at most. @throws AppError `not_found` */
export const retryFailed = (
  db: Db,
  { context, key }: Write,
  id: Id<'webhook_endpoint'>,
): Promise<GivenAnswer> =>
  answerOnce(
    db,
    { context, operation: 'webhook_endpoints.retry_failed', key, request: { id } },
    async (tx) => {
      const { tenantId, now } = context;
      await getEndpoint(tx, { tenantId, id });
      const retried = await resetFailed(tx, { tenantId, endpointId: id }, { now, limit: retriesMax });
      const snapshot: RetriedDeliveries = {
        object: 'deliveries_retry',
        endpoint_id: id,
        retried,
        has_more: retried === retriesMax,
      };
      const object = { type: 'webhook_endpoint', id };
      return {
        status: 200,
        entry: await append(tx, context, { kind: 'webhook_delivery.all_retried', object, snapshot }),
      };
    },
  );

/**
 * Has an endpoint told again what happened in a range of time. The worker does it, some at a time.
 * @throws AppError `not_found`; `invalid_request` for a time before which events are not kept; `limit_reached` while another
 *   replay of the endpoint is running
 */
export const requestReplay = async (
  { db, retention }: { db: Db; retention: { eventsDays: number } },
  { context, key }: Write,
  id: Id<'webhook_endpoint'>,
  body: ReplayBody,
): Promise<GivenAnswer> => {
  const { tenantId, now } = context;
  const range = rangeOf(body, { now, eventsDays: retention.eventsDays });
  const request: Json = { id, ...body };
  return answerOnce(db, { context, operation: 'webhook_endpoints.replay', key, request }, async (tx) => {
    const endpoint = await lockEndpoint(tx, { tenantId, id });
    if (endpoint.state !== 'enabled')
      throw new AppError(
        'invalid_state',
        'Nothing is sent to an endpoint that is disabled. Enable it first.',
      );
    const running = await findRunningReplay(tx, id);
    if (running)
      throw new AppError(
        'limit_reached',
        `Replay ${running.number} of this endpoint is running. Ask again when it is done.`,
      );
    const events = body.events ?? endpoint.events;
    const replay = await insertReplay(tx, { tenantId, endpointId: id, ...range, events, createdAt: now });
    const snapshot = replayJson(replay);
    const object = { type: 'webhook_endpoint', id };
    return {
      status: 202,
      entry: await append(tx, context, { kind: 'webhook_replay.requested', object, snapshot }),
    };
  });
};

const rangeOf = (
  { from: fromText, before: beforeText }: ReplayBody,
  { now, eventsDays }: { now: Date; eventsDays: number },
): { from: Date; before: Date } => {
  const from = parseTime(fromText, 'from');
  const asked = parseTime(beforeText, 'before');
  const before = asked > now ? now : asked;
  if (from >= before) throw invalidField('from', 'must be earlier than `before`, and than now');
  const oldest = shownSince(now, eventsDays);
  if (from < oldest)
    throw invalidField(
      'from',
      `events are kept for ${eventsDays} days: the earliest time is ${oldest.toISOString()}`,
    );
  return { from, before };
};

/** A delivery as the API shows it. */
export const deliveryJson = (delivery: StoredDelivery): Delivery => ({
  id: delivery.id,
  object: 'delivery',
  endpoint_id: delivery.endpointId,
  event_id: delivery.eventId,
  event_type: delivery.eventType,
  status: delivery.state,
  replay: delivery.replay,
  attempts: delivery.attempts,
  next_attempt_at: delivery.nextAttemptAt?.toISOString() ?? null,
  last_status: delivery.lastStatus,
  last_error: delivery.lastError,
  created_at: delivery.createdAt.toISOString(),
  ended_at: delivery.settledAt?.toISOString() ?? null,
});

const attemptJson = (
  eventId: Id<'journal_entry'>,
  attempt: StoredAttempt,
): DeliveryWithAttempts['tries'][number] => ({
  number: attempt.number,
  at: attempt.at.toISOString(),
  status: attempt.status,
  error: attempt.error,
  duration_ms: attempt.durationMs,
  // They follow from the attempt; of signatures nothing is kept.
  request_headers: {
    ...fixedHeaders,
    'webhook-id': eventId,
    'webhook-timestamp': String(Math.floor(attempt.at.getTime() / 1_000)),
  },
  response_headers: attempt.headers === null ? null : (JSON.parse(attempt.headers) as Record<string, string>),
  response_body: attempt.answer?.toString('utf8') ?? null,
});

/** A replay as the API shows it. */
export const replayJson = (replay: Replay): ReplayAnswer => ({
  object: 'webhook_replay',
  endpoint_id: replay.endpointId,
  number: replay.number,
  status: replay.state,
  from: replay.from.toISOString(),
  before: replay.before.toISOString(),
  events: [...replay.events],
  found: replay.found,
  created_at: replay.createdAt.toISOString(),
  ended_at: replay.endedAt?.toISOString() ?? null,
});
