import assert from 'node:assert/strict';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { repeat, type Job } from '../lib/jobs.ts';
import { step } from '../lib/step.ts';
import type { Connector, ConnectorResult, ConnectorStatus } from './connectors/connector.ts';
import {
  claimDue,
  measureUnresolved,
  postpone,
  type DueOperation,
  type OperationKey,
  type OperationState,
  type Unresolved,
} from './operation-store.ts';
import { callOf } from './operations.ts';

/**
 * What came of asking once: `not_received` is the second `absent`, `mismatch` what contradicts our books, `failed` an answer
 * that did not come or could not be written.
 */
export const askResults = [
  'approved',
  'declined',
  'not_received',
  'absent',
  'unknown',
  'mismatch',
  'failed',
] as const;
export type AskResult = (typeof askResults)[number];

/** What the resolver works with; put together by `services`. */
export type Resolver = {
  db: Db;
  clock: Clock;
  log: Logger;
  connectors: ReadonlyMap<string, Connector>;
  /** How long a backend may take to answer. */
  connectorTimeoutMs: number;
  /** Writes what the backend said, in `sapi`, which alone writes money. Gives how the operation stands then. */
  settle(operation: OperationKey, result: ConnectorResult): Promise<OperationState>;
  onAsked(result: AskResult): void;
  onMeasured(unresolved: Unresolved): void;
};

/** How many backends are asked at a time by one worker. */
const asksMax = 32;

const pauseMs = 1_000;

/** A backend is asked again after five seconds, then after twice as long each time, up to a quarter of an hour. */
const againMs = { first: 5_000, max: 15 * 60_000 };

/** Asking takes as long as the backend may, and this to write what it said; then the operation is anybody's again. */
const leaseBeyondCallMs = 30_000;

/** A call that was made may still reach the backend as long as it may take, and this. */
const absenceBeyondCallMs = 30_000;

/** Takes up the calls to backends that have ended without an answer, or whose process died: asks what became of them. */
export const resolverJob = (resolver: Resolver): Job => ({
  name: 'resolver',
  run: (signal) =>
    repeat(signal, pauseMs, async () => ((await resolveDue(resolver, signal)) < asksMax ? 'idle' : 'more')),
});

/** Asks once about every operation that is due, `asksMax` at most, and gives how many those were. */
export const resolveDue = async (resolver: Resolver, signal?: AbortSignal): Promise<number> => {
  const { db, clock, connectorTimeoutMs } = resolver;
  const lease = { now: clock.now(), leaseMs: connectorTimeoutMs + leaseBeyondCallMs, limit: asksMax };
  const due = await claimDue(db, lease);
  await Promise.all(due.map((operation) => take(resolver, operation, signal)));
  resolver.onMeasured(await measureUnresolved(db, clock.now()));
  return due.length;
};

/** Asks about one operation; never throws, since the others go on. */
const take = async (
  resolver: Resolver,
  operation: DueOperation,
  signal: AbortSignal | undefined,
): Promise<void> => {
  const { clock, log } = resolver;
  const facts = {
    operation: operation.id,
    payment: operation.payment.id,
    kind: operation.kind,
    connector: operation.payment.connector,
    asks: operation.asks,
  };
  try {
    step('resolver.ask');
    const said = await askBackend(resolver, operation, signal);
    step('resolver.settle');
    const result = await conclude(resolver, operation, said);
    resolver.onAsked(result);
    const ageS = Math.round((clock.now().getTime() - operation.createdAt.getTime()) / 1000);
    log.info({ ...facts, result, age_s: ageS }, 'A backend was asked what became of a call');
  } catch (err) {
    resolver.onAsked('failed');
    log.warn({ ...facts, err }, 'What became of a call could not be found out');
    await putOff(resolver, operation, operation.absentSince).catch((error: unknown) =>
      // It is asked about again when the lease ends.
      log.warn({ ...facts, err: error }, 'An operation could not be put off'),
    );
  }
};

const askBackend = async (
  { connectors, connectorTimeoutMs }: Resolver,
  operation: DueOperation,
  signal: AbortSignal | undefined,
): Promise<ConnectorStatus> => {
  const connector = connectors.get(operation.payment.connector);
  assert(connector, `the payment backend "${operation.payment.connector}" is not configured`);
  const patience = AbortSignal.timeout(connectorTimeoutMs);
  const call = callOf(operation, signal ? AbortSignal.any([patience, signal]) : patience);
  // A connector that does not heed the signal must not keep the others waiting.
  return Promise.race([connector.status({ ...call, kind: operation.kind }), aborted(call.signal)]);
};

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const giveUp = (): void => reject(signal.reason as Error); // both signals abort with a DOMException
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });

/** Settles what is known now and puts off the rest. A call is never made again: nobody is charged twice. */
const conclude = async (
  resolver: Resolver,
  operation: DueOperation,
  said: ConnectorStatus,
): Promise<AskResult> => {
  const { clock, connectorTimeoutMs, settle } = resolver;
  if (said.outcome !== 'absent') {
    if (said.outcome === 'unknown') await noteSilence(resolver, operation);
    else if ((await settle(operation, said)) !== 'unknown') return said.outcome;
    await putOff(resolver, operation, undefined);
    // What contradicts our books is not believed; perhaps it fits when it is said again.
    return said.outcome === 'unknown' ? 'unknown' : 'mismatch';
  }
  const absentSince = operation.absentSince ?? clock.now();
  const believedAt = new Date(absentSince.getTime() + connectorTimeoutMs + absenceBeyondCallMs);
  if (believedAt <= clock.now()) {
    await settle(operation, { outcome: 'declined', failureCode: 'not_received' });
    return 'not_received';
  }
  await noteSilence(resolver, operation);
  await postpone(resolver.db, operation, { nextAskAt: believedAt, absentSince });
  return 'absent';
};

/** Whoever made the call died before settling it: what looked `processing` is `unknown`. */
const noteSilence = async ({ settle }: Resolver, operation: DueOperation): Promise<void> => {
  if (operation.state === 'open') await settle(operation, { outcome: 'unknown' });
};

const putOff = (
  { db, clock }: Resolver,
  operation: DueOperation,
  absentSince: Date | undefined,
): Promise<void> => {
  // The exponent is bounded before the result is, since two to the power of a thousand is no number of milliseconds.
  const inMs = Math.min(againMs.first * 2 ** Math.min(operation.asks - 1, 20), againMs.max);
  return postpone(db, operation, { nextAskAt: new Date(clock.now().getTime() + inMs), absentSince });
};
