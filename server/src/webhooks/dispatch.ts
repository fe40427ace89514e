import type { DescribeCustomers } from '../events/complete.ts';
import { elapsedMs, type Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { isPassing, type Db } from '../lib/database.ts';
import type { Id } from '../lib/ids.ts';
import type { Job } from '../lib/jobs.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Outbound } from '../lib/outbound/outbound.ts';
import { step } from '../lib/step.ts';
import { createWake } from '../lib/wake.ts';
import { openBodies, type Body } from './bodies.ts';
import { deliver, notSent, type Made } from './deliver.ts';
import type { Offer } from './fan-out.ts';
import { createLanes, type Lane, type Lanes } from './lanes.ts';
import { claim, discard, lookForDue, release, type Claim } from './queue-store.ts';
import { createRecorder } from './results.ts';
import type { EndpointKeys, SendingEndpoint } from './secrets.ts';
import { openSendingEndpoints } from './sending.ts';

/** What the dispatcher of a worker works with. */
export type Dispatching = {
  db: Db;
  clock: Clock;
  log: Log;
  metrics: Pick<Metrics, 'webhooks' | 'messages'>;
  outbound: Pick<Outbound, 'send'>;
  endpointKeys: EndpointKeys;
  describeCustomers: DescribeCustomers;
  settings: Pick<
    Config['webhooks'],
    'retryMax' | 'schedule' | 'timeoutMs' | 'disableAfterDays' | 'inFlightMax' | 'inFlightPerEndpointMax'
  >;
  /** How often to look for what nobody offered: retries, what others left, what was queued by hand. */
  lookEveryMs?: number;
};

/** Sends deliveries; several workers have one each. */
export type Dispatcher = {
  job: Job;
  /** Something was queued for these endpoints just now. */
  offer(offers: readonly Offer[]): void;
};

const lookEveryMs = 250;
/** A look goes over so many endpoints, the next one goes on behind them. */
const looks = 1_000;
const discardMax = 1_000;

/** A claim is for as long as the receiver may take, and this. */
const leaseBeyondSendMs = 5_000;
/** Of which so much is for writing down what came of it. */
const recordMs = 2_000;

/** Claims what is due, sends it, and writes down what came of it. */
export const openDispatcher = (parts: Dispatching): Dispatcher => {
  const { inFlightMax, inFlightPerEndpointMax: perEndpointMax } = parts.settings;
  const lanes = createLanes({ inFlightMax, perEndpointMax }, () => elapsedMs(parts.clock));
  const wake = createWake();
  const state: State = {
    parts,
    lanes,
    wake,
    recorder: createRecorder({ ...parts, disableAfterDays: parts.settings.disableAfterDays }),
    bodies: openBodies(parts),
    endpoints: openSendingEndpoints(parts),
    prepared: new WeakMap(),
    underway: new Set(),
    lookFrom: undefined,
  };
  return {
    job: { name: 'webhooks-dispatcher', run: (signal) => run(state, signal) },
    offer: (offers) => {
      for (const offer of offers) lanes.offer(offer);
      wake.ring();
    },
  };
};

type State = {
  parts: Dispatching;
  lanes: Lanes;
  wake: ReturnType<typeof createWake>;
  recorder: ReturnType<typeof createRecorder>;
  bodies: ReturnType<typeof openBodies>;
  endpoints: ReturnType<typeof openSendingEndpoints>;
  /** What a claim takes to be sent: undefined for what does not exist any more. */
  prepared: WeakMap<Claim, { endpoint: SendingEndpoint | undefined; body: Body | undefined }>;
  /** Deliveries under way, until they are written down. */
  underway: Set<Promise<void>>;
  lookFrom: Id<'webhook_endpoint'> | undefined;
};

const run = async (state: State, signal: AbortSignal): Promise<void> => {
  const { parts, lanes, wake, underway } = state;
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  const everyMs = parts.lookEveryMs ?? lookEveryMs;
  try {
    while (!signal.aborted) {
      try {
        if (performance.now() - lookedAtMs >= everyMs) {
          lookedAtMs = performance.now();
          await look(state);
        }
        if (!signal.aborted && (await claimSome(state))) continue;
      } catch (err) {
        // What is claimed is this worker's, or anybody's when its lease ends.
        if (!isPassing(err)) throw err;
        parts.log.warn({ err }, 'The database is not available: deliveries wait');
        await wake.next(everyMs, signal);
      }
      await wake.next(Math.max(lookedAtMs + everyMs - performance.now(), 0), signal);
    }
  } finally {
    // What is not sent is anybody's; what is under way is finished.
    await release(parts.db, lanes.drop()).catch(() => undefined);
    while (underway.size > 0) await Promise.all(underway);
  }
};

/** Finds what is due, wherever it comes from; and takes back what is queued for endpoints that are deleted. */
const look = async (state: State): Promise<void> => {
  const { parts, lanes, lookFrom } = state;
  const { db, clock, metrics } = parts;
  const now = clock.now();
  const queued = await lookForDue(db, { after: lookFrom, looks });
  state.lookFrom = queued.length < looks ? undefined : queued.at(-1)?.endpointId;
  for (const { endpointId, tenantId, state: endpoint, dueAt, pausedUntil } of queued) {
    if (endpoint === 'deleted') {
      const count = await discard(db, endpointId, { limit: discardMax, now });
      metrics.messages.inc({ kind: 'webhook', result: 'discarded' }, count);
    } else if (endpoint === 'enabled' && dueAt <= now && (!pausedUntil || pausedUntil <= now))
      lanes.offer({ endpointId, tenantId });
  }
  lanes.beginAnew();
  await releaseLate(state);
};

/** What waited here for so long that it could not be sent within its lease goes back. */
const releaseLate = async ({ parts, lanes }: State): Promise<void> => {
  const latest = new Date(parts.clock.now().getTime() + parts.settings.timeoutMs + recordMs);
  await release(
    parts.db,
    lanes.drop(({ leasedUntil }) => leasedUntil < latest),
  );
};

/** Claims once, if there is room and something to claim, and sends what it got. Gives whether it did. */
const claimSome = async (state: State): Promise<boolean> => {
  const { parts, lanes } = state;
  const allotted = lanes.allot();
  if (allotted.size === 0) return false;
  const { db, clock, settings } = parts;
  const now = clock.now();
  const leasedUntil = new Date(now.getTime() + settings.timeoutMs + leaseBeyondSendMs);
  const wanted = [...allotted].map(([{ endpointId, after }, count]) => ({ endpointId, count, after }));
  const claims = await claim(db, wanted, { now, leasedUntil });
  const byEndpoint = Map.groupBy(claims, ({ endpointId }) => endpointId);
  step('delivery.claimed');
  if (claims.length > 0) await prepare(state, claims);
  for (const [lane, count] of allotted) lanes.take(lane, byEndpoint.get(lane.endpointId) ?? [], count);
  sendOn(state);
  return true;
};

/** Reads what a claim takes to be sent. One that can't be read does not keep the others from being sent. */
const prepare = async (state: State, claims: readonly Claim[]): Promise<void> => {
  const endpoints = await state.endpoints.of(claims);
  const bodies = await state.bodies.read(claims.map(({ position }) => position));
  for (const claim of claims)
    state.prepared.set(claim, {
      endpoint: endpoints.get(claim.endpointId),
      body: bodies.get(claim.position),
    });
};

/** Sends as many as may be under way. */
const sendOn = (state: State): void => {
  const { lanes, underway, parts } = state;
  for (let next = lanes.next(); next; next = lanes.next()) {
    const sending = send(state, next.lane, next.claim);
    underway.add(sending);
    void sending.finally(() => underway.delete(sending));
  }
  parts.metrics.webhooks.inFlight.set(lanes.inFlight());
};

/** Sends one and has it written down; never throws. */
const send = async (state: State, lane: Lane, claim: Claim): Promise<void> => {
  const { parts, lanes, recorder, wake } = state;
  const made = await attempt(state, claim);
  lanes.answered(lane, claim, made.state === 'delivered');
  sendOn(state);
  if (lanes.isHungry(lane)) wake.ring();
  observe(state, made);
  try {
    const hasReleased = await recorder.submit(made);
    if (hasReleased) lanes.offer(lane);
  } catch (err) {
    // It is sent again when its lease ends, under the same id.
    parts.log.warn({ err, delivery: claim.id }, 'What came of a delivery could not be written down');
  }
  lanes.recorded(lane);
  if (lanes.isHungry(lane)) wake.ring();
};

const attempt = async ({ parts, prepared }: State, claim: Claim): Promise<Made> => {
  const { clock, log, settings } = parts;
  const { endpoint, body } = prepared.get(claim) ?? {};
  const facts = {
    delivery: claim.id,
    endpoint: claim.endpointId,
    event: body?.event.id,
    attempts: claim.attempts,
  };
  try {
    if (claim.attempts > settings.retryMax + 1) throw new Error(abandoned);
    if (!body || !endpoint) throw new Error(body ? 'its endpoint is missing' : 'its event is missing');
    return await deliver({ ...parts, ...settings }, claim, endpoint, body);
  } catch (err) {
    log.error({ ...facts, err }, 'A webhook delivery can not be sent: it is set aside');
    const reason = err instanceof Error ? err.message : String(err);
    return notSent(claim, `it could not be sent: ${reason}`, clock.now());
  }
};

const abandoned = 'every worker that tried to ended before it was done';

/** Metrics and log of one attempt. */
const observe = ({ parts, prepared }: State, made: Made): void => {
  const { metrics, log, clock } = parts;
  const { claim, state, status, durationMs } = made;
  if (made.isSent) metrics.webhooks.attempts[answerOf(made)].observe(durationMs / 1_000);
  metrics.messages.inc({ kind: 'webhook', result: state === 'pending' ? 'retried' : state });
  if (claim.number === 1) {
    const createdAt = prepared.get(claim)?.body?.event.createdAt ?? clock.now();
    metrics.webhooks.firstAttempts.observe(Math.max(0, clock.now().getTime() - createdAt.getTime()) / 1_000);
  }
  if (state !== 'failed') return;
  const event = prepared.get(claim)?.body?.event.id;
  const facts = { delivery: claim.id, endpoint: claim.endpointId, event, status };
  log.warn({ ...facts, attempts: claim.attempts, error: made.error }, 'A webhook delivery was given up');
};

const answerOf = ({ state, status }: Made): 'accepted' | 'refused' | 'silent' => {
  if (state === 'delivered') return 'accepted';
  return status === undefined ? 'silent' : 'refused';
};
