import assert from 'node:assert/strict';
import { sql } from 'kysely';
import { settleAnswer, type Answer } from '../journal/idempotency.ts';
import type { JournalEntry } from '../journal/entry.ts';
import { getEntryOf } from '../journal/journal.ts';
import type { Context } from '../lib/caller.ts';
import { inTransaction, type Tx } from '../lib/database.ts';
import { newId, toUuid, type Id } from '../lib/ids.ts';
import { applyEffect, type Applied } from './apply.ts';
import type { ConnectorCall, ConnectorResult, OperationKind } from './connectors/connector.ts';
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
import type { Payment, Refund } from './payment.ts';
import type { PaymentsModule } from './module.ts';
import { openPaymentAccounts, type PaymentAccounts } from './postings.ts';
import { getRefund, lockPayment } from './store.ts';

/**
 * One call to a backend outside: claimed in a transaction, called with none open, settled in another.
 * A timeout is `unknown`, never a failure.
 */
export type Operation = {
  id: Id<'operation'>;
  tenantId: number;
  payment: Pick<Payment, 'id' | 'currency' | 'connector' | 'paymentMethod'>;
  refundId: Id<'refund'> | undefined;
  kind: OperationKind;
  amountMinor: bigint;
  /** Of a charge or capture, fixed when it was asked for. */
  feeMinor: bigint;
  /** Of an authorisation: charge at once. */
  capture: boolean;
  /** The request that asked for it: its name (`payments.create`) and the idempotency key whose answer waits. */
  request: { name: string; key: string | undefined };
  /** When the call has ended at the latest. */
  callUntil: Date;
};

/** A backend call gets a little longer than its time limit before its key stops answering 409. */
const settleGraceMs = 2_000;

/** An operation that is about to be claimed. */
export const operationOf = (
  module: PaymentsModule,
  { context, key, name }: { context: Context; key: string | undefined; name: string },
  payment: Payment,
  terms: Pick<Operation, 'kind' | 'amountMinor' | 'feeMinor'> & { capture?: boolean; refund?: Refund },
): Operation => ({
  id: newId('operation'),
  tenantId: payment.tenantId,
  payment,
  refundId: terms.refund?.id,
  kind: terms.kind,
  amountMinor: terms.amountMinor,
  feeMinor: terms.feeMinor,
  capture: terms.capture ?? false,
  request: { name, key },
  callUntil: new Date(context.now.getTime() + module.connectorTimeoutMs + settleGraceMs),
});

/** Records the intent; part of the transaction that claims. */
export const insertOperation = async (tx: Tx, operation: Operation, now: Date): Promise<void> => {
  await sql`
    insert into payments.operations (tenant_id, id, payment_id, refund_id, kind, amount, fee, capture, state, connector,
                                     request, key, call_until, created_at)
    values (${operation.tenantId}, ${toUuid(operation.id)}, ${toUuid(operation.payment.id)},
            ${operation.refundId && toUuid(operation.refundId)}, ${operation.kind}, ${operation.amountMinor},
            ${operation.feeMinor}, ${operation.capture}, 'open', ${operation.payment.connector},
            ${operation.request.name}, ${operation.request.key}, ${operation.callUntil}, ${now})
  `.execute(tx);
};

/** Calls the backend and settles what it said. Gives the answer to the request that asked for it. */
export const perform = async (
  module: PaymentsModule,
  context: Context,
  operation: Operation,
): Promise<Answer> => {
  const result = await callBackend(module, operation);
  const settling = { ...context, now: module.clock.now() };
  const answer = await settle(module, settling, operation, result);
  // A backend that delivers its answer twice must not be believed twice.
  return result.outcome === 'approved' && result.repeated
    ? settle(module, settling, operation, result)
    : answer;
};

const callBackend = async (module: PaymentsModule, operation: Operation): Promise<ConnectorResult> => {
  const connector = module.connectors.get(operation.payment.connector);
  assert(connector, `no connector ${operation.payment.connector}`);
  const call: ConnectorCall = {
    operationId: operation.id,
    paymentId: operation.payment.id,
    paymentMethod: operation.payment.paymentMethod,
    amountMinor: operation.amountMinor,
    currency: operation.payment.currency,
    signal: AbortSignal.timeout(module.connectorTimeoutMs),
  };
  try {
    if (operation.kind === 'authorise')
      return await connector.authorise({ ...call, capture: operation.capture });
    return await connector[operation.kind](call);
  } catch (error) {
    module.log.warn({ err: error, operation: operation.id }, 'Backend call failed, the outcome is unknown');
    return { outcome: 'unknown' };
  }
};

/**
 * Writes what a backend said, once: whoever comes second finds the operation settled and gives the same answer.
 * Used after a call, and later for a call whose answer never came.
 */
export const settle = async (
  module: PaymentsModule,
  context: Context,
  operation: Operation,
  result: ConnectorResult,
): Promise<Answer> => {
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
    let applied: Applied = {};
    if (await settleOperation(tx, operation, result, context.now)) {
      const effect = effectOf(operation, before, result, { now: context.now, accounts });
      applied = await applyEffect(tx, context, before, accounts, effect);
    }
    const answer = await answerFor(tx, operation, before, applied);
    const { name, key } = operation.request;
    if (key !== undefined) await settleAnswer(tx, { tenantId, operation: name, key }, answer);
    return answer;
  });
};

/** Marks an operation settled; false when it was, or when the news is that there is no news. */
const settleOperation = async (
  tx: Tx,
  operation: Operation,
  result: ConnectorResult,
  now: Date,
): Promise<boolean> => {
  const backendReference = result.outcome === 'approved' ? result.backendReference : undefined;
  const { numAffectedRows } = await sql`
    update payments.operations
    set state = ${result.outcome}, backend_reference = ${backendReference}, settled_at = ${now}
    where tenant_id = ${operation.tenantId} and id = ${toUuid(operation.id)}
      and (state = 'open' or (state = 'unknown' and ${result.outcome} <> 'unknown'))
  `.execute(tx);
  return numAffectedRows === 1n;
};

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
const answerFor = async (tx: Tx, operation: Operation, before: Before, applied: Applied): Promise<Answer> => {
  const asPayment = !before.refund || operation.request.name === refundRest;
  const object = asPayment ? before.payment : before.refund;
  assert(object);
  const entry = (asPayment ? applied.payment : applied.refund) ?? (await getEntryOf(tx, object));
  return { entry, status: statusOf(operation, applied.refund ?? entry) };
};

/** The name of `PATCH /payments/:id/refund`. */
export const refundRest = 'payments.refund_rest';

/** 202 while nobody knows the outcome; otherwise 201 for what was made and 200 for what was changed. */
const statusOf = (operation: Operation, entry: JournalEntry): number => {
  if (/[.](processing|unknown)$/.test(entry.kind)) return 202;
  const made = operation.kind === 'authorise' || operation.kind === 'refund';
  return made && operation.request.name !== refundRest ? 201 : 200;
};
