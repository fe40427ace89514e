import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { makeTransfer, type Accounts, type Transfer } from '../ledger/ledger.ts';
import type { Db } from '../lib/database.ts';
import type { Payment, Refund } from './payment.ts';

/** The three accounts that a payment moves money between; all belong to the tenant. */
export type PaymentAccounts = {
  /** The world beyond the books, per connector. May be negative. */
  external: Id<'account'>;
  /** What is owed to the vendor. */
  payable: Id<'account'>;
  /** What the platform earned on the vendor's payments. */
  fees: Id<'account'>;
};

/** The accounts of a tenant in a currency, opened on first use. */
export const openPaymentAccounts = async (
  db: Db,
  accounts: Accounts,
  key: { tenantId: number; currency: string; connector: string },
  now: Date,
): Promise<PaymentAccounts> => {
  const { tenantId, currency, connector } = key;
  return {
    external: await accounts.open(
      db,
      { tenantId, currency, code: `external:${connector}`, nonNegative: false },
      now,
    ),
    payable: await accounts.open(db, { tenantId, currency, code: 'payable', nonNegative: true }, now),
    fees: await accounts.open(db, { tenantId, currency, code: 'fees', nonNegative: true }, now),
  };
};

/** What a vendor pays per payment: a share in basis points, and fixed minor units per currency. */
export type FeeTerms = { feeBasisPoints: number; feeFixed: Readonly<Record<string, bigint>> };

/**
 * The fee of an amount: the share, rounded half up to a minor unit, plus the fixed part of the currency.
 * @throws AppError `fee_exceeds_amount`
 */
export const feeOf = (terms: FeeTerms, amountMinor: bigint, currency: string): bigint => {
  const share = (amountMinor * BigInt(terms.feeBasisPoints) + 5_000n) / 10_000n;
  const fee = share + (terms.feeFixed[currency] ?? 0n);
  if (fee > amountMinor) {
    throw new AppError(
      'fee_exceeds_amount',
      "This vendor's fee is more than the amount. Use a larger amount.",
    );
  }
  return fee;
};

/**
 * The part of a payment's fee that a refund returns: pro rata, rounded down; the last refund takes the remainder.
 * `open` is what refunds still at their backend will take.
 */
export const feeReturnedBy = (
  payment: Payment,
  refundMinor: bigint,
  open: { amountMinor: bigint; feeReturnedMinor: bigint },
): bigint =>
  payment.refundedMinor + open.amountMinor + refundMinor === payment.capturedMinor
    ? payment.feeMinor - payment.feeReturnedMinor - open.feeReturnedMinor
    : (payment.feeMinor * refundMinor) / payment.capturedMinor;

/** Money that arrived: outside → vendor, and the fee. */
export const chargeTransfer = (
  payment: Payment,
  accounts: PaymentAccounts,
  kind: 'payment' | 'capture',
): Transfer =>
  makeTransfer({
    kind,
    tenantId: payment.tenantId,
    objectId: payment.id,
    postings: [
      { accountId: accounts.external, amountMinor: -payment.capturedMinor },
      { accountId: accounts.payable, amountMinor: payment.capturedMinor - payment.feeMinor },
      { accountId: accounts.fees, amountMinor: payment.feeMinor },
    ],
  });

/** Money that goes back: the reverse, with the fee that is returned. */
export const refundTransfer = (refund: Refund, accounts: PaymentAccounts): Transfer =>
  makeTransfer({
    kind: 'refund',
    tenantId: refund.tenantId,
    objectId: refund.id,
    postings: [
      { accountId: accounts.payable, amountMinor: refund.feeReturnedMinor - refund.amountMinor },
      { accountId: accounts.fees, amountMinor: -refund.feeReturnedMinor },
      { accountId: accounts.external, amountMinor: refund.amountMinor },
    ],
  });
