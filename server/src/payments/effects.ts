import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import type { Hold, Transfer } from '../ledger/ledger.ts';
import type { Payment, Refund } from './payment.ts';
import { chargeTransfer, refundTransfer, type PaymentAccounts } from './postings.ts';
import { transitions, type FailureCode, type PaymentState } from './schema.ts';

/**
 * Everything one change does: the objects as they are after it, and the money it moves. Made by the pure functions of
 * this file, written by `store.ts` in one transaction.
 */
export type Effect = {
  /** The payment after the change, if it changed. */
  payment?: Payment;
  /** The refund after the change, if one changed. */
  refund?: Refund;
  transfer?: Transfer;
  /** A hold to place; its id is put on the refund or, without one, on the payment. */
  hold?: Hold;
  /** A hold that ends: with `transfer`, or with nothing. */
  endedHold?: { id: Id<'hold'>; capturedMinor: bigint };
};

type Outcome = { now: Date; accounts: PaymentAccounts };

/** The payment in its next state, one version on. @throws AppError `invalid_state` when the table has no such way */
export const advance = (
  payment: Payment,
  state: PaymentState,
  changes: Partial<Payment> & { updatedAt: Date },
): Payment => {
  if (!transitions[payment.state].includes(state)) {
    throw new AppError('invalid_state', `A payment that is ${payment.state} can't become ${state}.`);
  }
  return { ...payment, ...changes, state, version: payment.version + 1 };
};

/** Authorised and charged at once. */
export const charged = (payment: Payment, feeMinor: bigint, { now, accounts }: Outcome): Effect => {
  const after = advance(payment, 'succeeded', {
    capturedMinor: payment.amountMinor,
    feeMinor,
    updatedAt: now,
  });
  return { payment: after, transfer: chargeTransfer(after, accounts, 'payment') };
};

/** Authorised: the money is pending for the vendor and available to nobody. */
export const authorised = (payment: Payment, { now, accounts }: Outcome): Effect => ({
  payment: advance(payment, 'requires_capture', { updatedAt: now }),
  hold: {
    tenantId: payment.tenantId,
    objectId: payment.id,
    debitAccountId: accounts.external,
    creditAccountId: accounts.payable,
    amountMinor: payment.amountMinor,
  },
});

/** Captured in part or whole; what is left of the authorisation is released. */
export const captured = (
  payment: Payment,
  captureOf: { amountMinor: bigint; feeMinor: bigint },
  { now, accounts }: Outcome,
): Effect => {
  const after = advance(payment, 'succeeded', {
    capturedMinor: captureOf.amountMinor,
    feeMinor: captureOf.feeMinor,
    failureCode: null,
    updatedAt: now,
  });
  return {
    payment: after,
    transfer: chargeTransfer(after, accounts, 'capture'),
    ...endOf(payment.holdId, captureOf.amountMinor),
  };
};

export const canceled = (payment: Payment, now: Date): Effect => ({
  payment: advance(payment, 'canceled', { failureCode: null, updatedAt: now }),
  ...endOf(payment.holdId, 0n),
});

/** A backend works on it, or nobody knows: no money moves. */
export const waiting = (payment: Payment, state: 'processing' | 'unknown', now: Date): Effect => ({
  payment: advance(payment, state, { updatedAt: now }),
});

/** Declined: an authorisation fails, a capture or cancellation leaves the payment authorised. */
export const declined = (payment: Payment, failureCode: FailureCode, now: Date): Effect => ({
  payment: advance(payment, payment.holdId ? 'requires_capture' : 'failed', { failureCode, updatedAt: now }),
});

/** Refunded: the payment and its refund change together. */
export const refunded = (payment: Payment, refund: Refund, { now, accounts }: Outcome): Effect => {
  const refundedMinor = payment.refundedMinor + refund.amountMinor;
  const done: Refund = { ...refund, state: 'succeeded', version: refund.version + 1, updatedAt: now };
  return {
    payment: advance(payment, refundedMinor === payment.capturedMinor ? 'refunded' : 'partially_refunded', {
      refundedMinor,
      feeReturnedMinor: payment.feeReturnedMinor + done.feeReturnedMinor,
      updatedAt: now,
    }),
    refund: done,
    transfer: refundTransfer(done, accounts),
    ...endOf(refund.holdId, netOf(refund)),
  };
};

/** A refund that its backend works on; the vendor's part is set aside and can't be spent meanwhile. */
export const refundStarted = (refund: Refund, accounts: PaymentAccounts): Effect => {
  const amountMinor = netOf(refund);
  const started = { ...refund, version: refund.version + 1 };
  if (amountMinor === 0n) return { refund: started };
  const { tenantId, id: objectId } = refund;
  const { payable: debitAccountId, external: creditAccountId } = accounts;
  return { refund: started, hold: { tenantId, objectId, debitAccountId, creditAccountId, amountMinor } };
};

/** What a refund takes from the vendor: the amount less the fee that it gets back. */
const netOf = (refund: Refund): bigint => refund.amountMinor - refund.feeReturnedMinor;

export const refundWaiting = (refund: Refund, now: Date): Effect => ({
  refund: { ...refund, state: 'unknown', version: refund.version + 1, updatedAt: now },
});

export const refundDeclined = (refund: Refund, failureCode: FailureCode, now: Date): Effect => ({
  refund: { ...refund, state: 'failed', failureCode, version: refund.version + 1, updatedAt: now },
  ...endOf(refund.holdId, 0n),
});

const endOf = (id: Id<'hold'> | null, capturedMinor: bigint): Pick<Effect, 'endedHold'> =>
  id ? { endedHold: { id, capturedMinor } } : {};
