import assert from 'node:assert/strict';
import { settleAnswer, type Answer } from '../journal/idempotency.ts';
import type { JournalEntry } from '../journal/entry.ts';
import { append, getEntry, getEntryOf } from '../journal/journal.ts';
import type { Context } from '../lib/caller.ts';
import { inTransaction, type Tx } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import { newId } from '../lib/ids.ts';
import { step } from '../lib/step.ts';
import { applyEffect, type Applied } from './apply.ts';
import type { ConnectorCall, ConnectorResult } from './connectors/connector.ts';
import {
  authorised,
  canceled,
  captured,
  charged,
  declined,
  refundDeclined,
  refunded,
  refundWaiting,
  waiting,
  type Effect,
} from './effects.ts';
import { mismatchOf, noteMismatch, type Mismatch } from './mismatch.ts';
import type { Payment, Refund } from './payment.ts';
import type { PaymentsModule, Settling } from './module.ts';
import {
  getOperation,
  getStanding,
  updateStanding,
  type Operation,
  type OperationKey,
  type OperationState,
  type Standing,
} from './operation-store.ts';
import { openPaymentAccounts, type PaymentAccounts } from './postings.ts';
import { getRefund, lockPayment } from './store.ts';

/** A backend call gets a little longer than its time limit before its key stops answering 409. */
const settleGraceMs = 2_000;

/** An operation that is about to be claimed. */
export const operationOf = (
  module: PaymentsModule,
  { key, name }: { key: string | undefined; name: string },
  payment: Payment,
  terms: Pick<Operation, 'kind' | 'amountMinor' | 'feeMinor' | 'authorisation'> & {
    capture?: boolean;
    refund?: Refund;
  },
): Operation => ({
  id: newId('operation'),
  tenantId: payment.tenantId,
  payment,
  authorisation: terms.authorisation,
  refundId: terms.refund?.id,
  kind: terms.kind,
  amountMinor: terms.amountMinor,
  feeMinor: terms.feeMinor,
  capture: terms.capture ?? false,
  request: { name, key },
  callUntil: new Date(module.clock.now().getTime() + module.connectorTimeoutMs + settleGraceMs),
});

/** Calls the backend and settles what it said. Gives the answer to the request that asked for it. */
export const perform = async (
  module: PaymentsModule,
  context: Context,
  operation: Operation,
): Promise<Answer> => {
  step('operation.call');
  const result = await callBackend(module, operation);
  step('operation.settle');
  const settling = { ...context, now: module.clock.now() };
  const settled = await settle(module, settling, operation, result);
  step('operation.settled');
  // A backend that delivers its answer twice must not be believed twice.
  const isRepeated = result.outcome === 'approved' && result.repeated === true;
  return (isRepeated ? await settle(module, settling, operation, result) : settled).answer;
};

const callBackend = async (module: PaymentsModule, operation: Operation): Promise<ConnectorResult> => {
  const connector = module.connectors.get(operation.payment.connector);
  assert(connector, `no connector ${operation.payment.connector}`);
  const dryRun = currentDryRun();
  if (dryRun) {
    dryRun.assumes = { connector: connector.name, operation: operation.kind };
    return { outcome: 'approved' };
  }
  // After `callUntil` the backend is believed when it says that it never got the call, so none may begin or last so long.
  const leftMs = operation.callUntil.getTime() - settleGraceMs - module.clock.now().getTime();
  if (leftMs <= 0) {
    module.log.warn(
      { operation: operation.id },
      'Claiming took so long that the backend is not called any more',
    );
    return { outcome: 'unknown' };
  }
  const call = callOf(operation, AbortSignal.timeout(Math.min(leftMs, module.connectorTimeoutMs)));
  try {
    if (operation.kind === 'authorise')
      return await connector.authorise({ ...call, capture: operation.capture });
    return await connector[operation.kind](call);
  } catch (error) {
    module.log.warn({ err: error, operation: operation.id }, 'Backend call failed, the outcome is unknown');
    return { outcome: 'unknown' };
  }
};

/** What a backend is told about an operation. */
export const callOf = (operation: Operation, signal: AbortSignal): ConnectorCall => ({
  operationId: operation.id,
  paymentId: operation.payment.id,
  mode: operation.payment.mode,
  paymentMethod: operation.payment.paymentMethod,
  amountMinor: operation.amountMinor,
  currency: operation.payment.currency,
  authorisation: operation.authorisation,
  signal,
});

export type Settled = {
  answer: Answer;
  state: OperationState;
  isNews: boolean;
  /** What the backend said does not fit our books, and was not believed. */
  mismatch: Mismatch | undefined;
};

/** What a person has looked into and decided, in place of a backend that does not tell. */
export type ByHand = { check(standing: Standing): void; reason: string };

/**
 * Writes what a backend said, once: whoever comes second finds the operation settled, changes nothing and gives the same
 * answer. Used after a call, and for a call whose answer never came. What contradicts our books is told and not believed.
 */
export const settle = async (
  module: Settling,
  context: Context,
  operation: Operation,
  said: ConnectorResult,
  byHand?: ByHand,
): Promise<Settled> => {
  const { tenantId, refundId } = operation;
  const accounts = await openPaymentAccounts(
    module.db,
    module.accounts,
    { tenantId, ...operation.payment },
    context.now,
  );
  return inTransaction(module.db, async (tx) => {
    const payment = await lockPayment(tx, tenantId, operation.payment.id);
    const refund = refundId && (await getRefund(tx, { tenantId, paymentId: payment.id, id: refundId }));
    const before = refund ? { payment, refund } : { payment };
    const standing = await getStanding(tx, operation);
    byHand?.check(standing);
    const mismatch = byHand ? undefined : mismatchOf(operation, standing, said);
    if (mismatch) await noteMismatch(tx, module, context, { operation, standing, said, found: mismatch });
    const result: ConnectorResult = mismatch ? { outcome: 'unknown' } : said;
    if (!isNews(standing.state, result)) {
      const answer = await answerAgain(tx, operation, before, standing);
      return { answer, state: standing.state, isNews: false, mismatch };
    }
    if (byHand) await noteDecision(tx, context, { operation, standing, result, reason: byHand.reason });
    const effect = effectOf(operation, before, result, { now: context.now, accounts });
    const applied = await applyEffect(tx, context, before, accounts, effect);
    const entry = await entryFor(tx, operation, before, applied);
    const answer = { entry, status: statusOf(operation, result.outcome) };
    await updateStanding(tx, operation, standing.state, { result, entryId: entry.id, now: context.now });
    const { name, key } = operation.request;
    if (key !== undefined) await settleAnswer(tx, { tenantId, operation: name, key }, answer);
    return { answer, state: result.outcome, isNews: true, mismatch };
  });
};

/** That a person settled it, and why, for the audit log; what came of it the entries beside this one say. */
const noteDecision = (
  tx: Tx,
  context: Context,
  decision: { operation: Operation; standing: Standing; result: ConnectorResult; reason: string },
): Promise<JournalEntry> => {
  const { operation, standing, result, reason } = decision;
  return append(tx, context, {
    kind: 'operation.settled_by_hand',
    object: { type: 'payment', id: operation.payment.id },
    snapshot: {
      operation_id: operation.id,
      kind: operation.kind,
      was: standing.state,
      outcome: result.outcome,
      reason,
    },
  });
};

type Settler = Pick<Context, 'actor' | 'requestId'>;

/**
 * Settles an operation whose answer never came, with what its backend says: when it is asked, when it calls by itself, or
 * by what a person found out in its place.
 * @throws AppError `not_found`
 */
export const settleLater = async (
  module: Settling,
  by: Settler,
  key: OperationKey,
  { result, byHand }: { result: ConnectorResult; byHand?: ByHand },
): Promise<Settled> => {
  const operation = await getOperation(module.db, key);
  const { tenantId } = operation;
  const context = { ...by, tenantId, origin: undefined, now: module.clock.now() };
  const settled = await settle(module, context, operation, result, byHand);
  if (settled.isNews && settled.state === 'declined' && result.outcome === 'declined')
    module.countError(result.failureCode);
  return settled;
};

/** As `settleLater`, for the worker: gives how the operation stands now, whoever settled it. @throws AppError `not_found` */
export const resolve = async (
  module: Settling,
  by: Settler,
  key: OperationKey,
  result: ConnectorResult,
): Promise<OperationState> => (await settleLater(module, by, key, { result })).state;

/** Whether a result changes anything; that there is still no news does so only once. */
const isNews = (state: OperationState, { outcome }: ConnectorResult): boolean =>
  state === 'open' || (state === 'unknown' && outcome !== 'unknown');

type Before = { payment: Payment; refund?: Refund };

const effectOf = (
  operation: Operation,
  { payment, refund }: Before,
  result: ConnectorResult,
  outcome: { now: Date; accounts: PaymentAccounts },
): Effect => {
  const { now } = outcome;
  if (refund) {
    if (result.outcome === 'approved') return refunded(payment, refund, outcome);
    return result.outcome === 'declined'
      ? refundDeclined(refund, result.failureCode, now)
      : refundWaiting(refund, now);
  }
  if (result.outcome === 'declined') return declined(payment, result.failureCode, now);
  if (result.outcome === 'unknown') return waiting(payment, 'unknown', now);
  if (operation.kind === 'cancel') return canceled(payment, now);
  if (operation.kind === 'capture') return captured(payment, operation, outcome);
  return operation.capture ? charged(payment, operation.feeMinor, outcome) : authorised(payment, outcome);
};

/** `PATCH …/refund` answers with the payment; every other operation with what it made or changed. */
const entryFor = async (
  tx: Tx,
  operation: Operation,
  before: Before,
  applied: Applied,
): Promise<JournalEntry> => {
  const asPayment = !before.refund || operation.request.name === refundRest;
  const object = asPayment ? before.payment : before.refund;
  assert(object);
  return (asPayment ? applied.payment : applied.refund) ?? getEntryOf(tx, object);
};

/** The answer of an operation that was settled before; the payment may have changed since. */
const answerAgain = async (
  tx: Tx,
  operation: Operation,
  before: Before,
  { state, entryId }: Standing,
): Promise<Answer> => {
  const { tenantId } = operation;
  // Releases before this column did not note the entry.
  const entry = entryId
    ? await getEntry(tx, { tenantId, id: entryId })
    : await entryFor(tx, operation, before, {});
  return { entry, status: statusOf(operation, state) };
};

/** The name of `PATCH /payments/:id/refund`. */
export const refundRest = 'payments.refund_rest';

/** 202 while nobody knows the outcome; otherwise 201 for what was made and 200 for what was changed. */
const statusOf = (operation: Operation, state: OperationState): number => {
  if (state === 'unknown') return 202;
  const made = operation.kind === 'authorise' || operation.kind === 'refund';
  return made && operation.request.name !== refundRest ? 201 : 200;
};
