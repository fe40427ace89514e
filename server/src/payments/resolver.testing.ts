import assert from 'node:assert/strict';
import type { GivenAnswer } from '../journal/idempotency.ts';
import type { Clock } from '../lib/clock.ts';
import type { Id } from '../lib/ids.ts';
import type { Connector, ConnectorResult, ConnectorStatus, OperationKind } from './connectors/connector.ts';
import { create } from './create.ts';
import type { PaymentsModule } from './module.ts';
import type { Unresolved } from './operation-store.ts';
import { resolve } from './operations.ts';
import { cancel, capture, refund } from './payments.ts';
import type { AskResult, Resolver } from './resolver.ts';
import { contextFor, newTenant, paymentIn } from './testing.ts';
import type { Write } from './writes.ts';

/** Longer than a call may take, with the time to settle it. */
export const callMs = 3_000;
/** Longer than a backend has to deny a call before it is believed. */
export const absenceMs = 31_000;

/** A backend that keeps silent about one kind of call: it says nothing, or holds whoever calls, as if that process had died. */
export type Silence = 'says nothing' | 'holds the caller';

export type Backend = Connector & {
  /** The calls that it is silent about; it approves all others. */
  silent: { kind: OperationKind; way: Silence } | undefined;
  /** What it says when it is asked later. */
  says: ConnectorStatus | (() => Promise<ConnectorStatus>);
  calls: OperationKind[];
  asked: OperationKind[];
  /** Resolves when somebody was held. */
  called: Promise<void>;
  /** Lets those go who were held. */
  letGo(result: ConnectorResult): void;
};

/** A backend of its own for a test, so that what other tests leave behind does not ask it. */
export const openBackend = (module: PaymentsModule): Backend => {
  const [held, called] = [Promise.withResolvers<ConnectorResult>(), Promise.withResolvers<void>()];
  const perform = async (kind: OperationKind): Promise<ConnectorResult> => {
    backend.calls.push(kind);
    if (backend.silent?.kind !== kind) return { outcome: 'approved' };
    called.resolve();
    return backend.silent.way === 'holds the caller' ? held.promise : { outcome: 'unknown' };
  };
  const backend: Backend = {
    name: `backend${String(module.connectors.size)}`,
    internal: false,
    silent: undefined,
    says: { outcome: 'unknown' },
    calls: [],
    asked: [],
    called: called.promise,
    letGo: held.resolve,
    authorise: () => perform('authorise'),
    capture: () => perform('capture'),
    cancel: () => perform('cancel'),
    refund: () => perform('refund'),
    status: async ({ kind }) => {
      backend.asked.push(kind);
      return typeof backend.says === 'function' ? backend.says() : backend.says;
    },
  };
  // The module of a test has a map of its own.
  (module.connectors as Map<string, Connector>).set(backend.name, backend);
  return backend;
};

/** A worker that settles directly, and remembers what it was told. */
export type TestWorker = Resolver & { results: AskResult[]; unresolved: Unresolved };

export const openTestWorker = (module: PaymentsModule): TestWorker => {
  const worker: TestWorker = {
    ...module,
    results: [],
    unresolved: { count: 0, oldestAgeS: 0 },
    settle: (key, result) => resolve(module, { actor: 'system:worker', requestId: undefined }, key, result),
    onAsked: (result) => void worker.results.push(result),
    onMeasured: (unresolved) => void (worker.unresolved = unresolved),
  };
  return worker;
};

type Outcome = { status: number; state: string; payable: string };

/** A kind of request that calls a backend. */
type Kind = {
  calls: OperationKind;
  /** What has to be there before: a payment, captured or only authorised. */
  before?: { capture: boolean };
  send(module: PaymentsModule, write: Write, target: Target): Promise<GivenAnswer>;
  approved: Outcome;
  refused: Outcome;
  /** What is on the vendor's account while nobody knows: posted/pending/reserved. */
  waiting: string;
};

type Target = { payment: Id<'payment'>; paymentMethod: string };

const dollars = { amount: '100.00', currency: 'USD' };

/** Every kind of request that calls a backend. */
export const kinds: Readonly<Record<string, Kind>> = {
  charge: {
    calls: 'authorise',
    send: (module, write, { paymentMethod }) =>
      create(module, write, { ...dollars, payment_method: paymentMethod }),
    approved: { status: 201, state: 'succeeded', payable: '10000/0/0' },
    refused: { status: 201, state: 'failed', payable: '0/0/0' },
    waiting: '0/0/0',
  },
  authorisation: {
    calls: 'authorise',
    send: (module, write, { paymentMethod }) =>
      create(module, write, { ...dollars, payment_method: paymentMethod, capture: false }),
    approved: { status: 201, state: 'requires_capture', payable: '0/10000/0' },
    refused: { status: 201, state: 'failed', payable: '0/0/0' },
    waiting: '0/0/0',
  },
  capture: {
    calls: 'capture',
    before: { capture: false },
    send: (module, write, { payment }) => capture(module, write, payment, { amount: '60.00' }),
    approved: { status: 200, state: 'succeeded', payable: '6000/0/0' },
    refused: { status: 200, state: 'requires_capture', payable: '0/10000/0' },
    waiting: '0/10000/0',
  },
  cancellation: {
    calls: 'cancel',
    before: { capture: false },
    send: (module, write, { payment }) => cancel(module, write, payment),
    approved: { status: 200, state: 'canceled', payable: '0/0/0' },
    refused: { status: 200, state: 'requires_capture', payable: '0/10000/0' },
    waiting: '0/10000/0',
  },
  refund: {
    calls: 'refund',
    before: { capture: true },
    send: (module, write, { payment }) =>
      refund(module, write, payment, { body: { amount: '40.00' }, name: 'payments.refund' }),
    approved: { status: 201, state: 'succeeded', payable: '6000/0/0' },
    refused: { status: 201, state: 'failed', payable: '10000/0/0' },
    waiting: '10000/0/4000',
  },
  'refund of the rest': {
    calls: 'refund',
    before: { capture: true },
    send: (module, write, { payment }) =>
      refund(module, write, payment, { body: {}, name: 'payments.refund_rest' }),
    approved: { status: 200, state: 'refunded', payable: '0/0/0' },
    refused: { status: 200, state: 'succeeded', payable: '10000/0/0' },
    waiting: '10000/0/10000',
  },
};

type Parts = { module: PaymentsModule; clock: Clock & { advance(durationMs: number): void } };

/** A request whose answer did not come; the time for it is over. `again` repeats it under the same key. */
export const leave = async ({ module, clock }: Parts, name: string, way: Silence) => {
  const kind = kinds[name];
  assert(kind, `no kind of request ${name}`);
  const [tenant, backend] = [newTenant(), openBackend(module)];
  const as = (key?: string): Write => ({ context: contextFor(tenant, clock.now()), key });
  const target: Target = { payment: 'pay_', paymentMethod: backend.name };
  if (kind.before) {
    const body = { ...dollars, payment_method: backend.name, capture: kind.before.capture };
    target.payment = paymentIn(await create(module, as(), body)).id;
  }
  backend.silent = { kind: kind.calls, way };
  const send = (): Promise<GivenAnswer> => kind.send(module, as('key'), target);
  const answer = send();
  await (way === 'says nothing' ? answer : backend.called);
  clock.advance(callMs);
  return { tenant, backend, answer, again: send };
};
