import type { Context, Mode } from '../lib/caller.ts';
import { newId, newIdAt, type Id } from '../lib/ids.ts';
import { formatAmount } from '../lib/money.ts';
import type {
  CreatePaymentBody,
  FailureCode,
  PaymentSnapshot,
  PaymentState,
  RefundSnapshot,
  RefundState,
} from './schema.ts';

/** A payment as the code knows it. Amounts are in minor units of `currency`. */
export type Payment = {
  id: Id<'payment'>;
  tenantId: number;
  version: number;
  state: PaymentState;
  mode: Mode;
  amountMinor: bigint;
  currency: string;
  capturedMinor: bigint;
  refundedMinor: bigint;
  feeMinor: bigint;
  feeReturnedMinor: bigint;
  connector: string;
  paymentMethod: string;
  reference: string | null;
  description: string | null;
  customerId: Id<'customer'> | null;
  holdId: Id<'hold'> | null;
  failureCode: FailureCode | null;
  metadata: Readonly<Record<string, string>>;
  createdAt: Date;
  updatedAt: Date;
};

/** Money on its way back to the payer. */
export type Refund = {
  id: Id<'refund'>;
  tenantId: number;
  paymentId: Id<'payment'>;
  version: number;
  state: RefundState;
  amountMinor: bigint;
  feeReturnedMinor: bigint;
  holdId: Id<'hold'> | null;
  reason: string | null;
  failureCode: FailureCode | null;
  createdAt: Date;
  updatedAt: Date;
};

/** A payment that is about to be made: version 0, nothing moved. */
export const draftPayment = (
  context: Context,
  { mode }: { mode: Mode },
  body: CreatePaymentBody,
  facts: Pick<Payment, 'amountMinor' | 'paymentMethod' | 'connector'>,
): Payment => ({
  ...facts,
  // Lists by time are ranges of ids.
  id: newIdAt('payment', context.now),
  tenantId: context.tenantId,
  version: 0,
  state: 'processing',
  mode,
  currency: body.currency,
  capturedMinor: 0n,
  refundedMinor: 0n,
  feeMinor: 0n,
  feeReturnedMinor: 0n,
  customerId: null,
  reference: body.reference ?? null,
  description: body.description ?? null,
  holdId: null,
  failureCode: null,
  metadata: body.metadata ?? {},
  createdAt: context.now,
  updatedAt: context.now,
});

/** A refund that is about to be made. */
export const draftRefund = (
  context: Context,
  payment: Payment,
  facts: { amountMinor: bigint; feeReturnedMinor: bigint; reason: string | undefined },
): Refund => ({
  id: newId('refund'),
  tenantId: payment.tenantId,
  paymentId: payment.id,
  version: 0,
  state: 'processing',
  amountMinor: facts.amountMinor,
  feeReturnedMinor: facts.feeReturnedMinor,
  holdId: null,
  reason: facts.reason ?? null,
  failureCode: null,
  createdAt: context.now,
  updatedAt: context.now,
});

/** The public form of a payment, without personal data. */
export const paymentSnapshot = (payment: Payment): PaymentSnapshot => {
  const decimal = (minor: bigint): string => formatAmount(minor, payment.currency);
  return {
    id: payment.id,
    object: 'payment',
    mode: payment.mode,
    status: payment.state,
    amount: decimal(payment.amountMinor),
    amount_minor: payment.amountMinor.toString(),
    currency: payment.currency,
    amount_captured: decimal(payment.capturedMinor),
    amount_captured_minor: payment.capturedMinor.toString(),
    amount_refunded: decimal(payment.refundedMinor),
    amount_refunded_minor: payment.refundedMinor.toString(),
    fee: decimal(payment.feeMinor - payment.feeReturnedMinor),
    fee_minor: (payment.feeMinor - payment.feeReturnedMinor).toString(),
    reference: payment.reference,
    description: payment.description,
    customer_id: payment.customerId,
    payment_method: payment.paymentMethod,
    failure_code: payment.failureCode,
    metadata: payment.metadata,
    version: payment.version,
    created_at: payment.createdAt.toISOString(),
    updated_at: payment.updatedAt.toISOString(),
  };
};

/** The public form of a refund. */
export const refundSnapshot = (
  payment: Pick<Payment, 'mode' | 'currency'>,
  refund: Refund,
): RefundSnapshot => ({
  id: refund.id,
  object: 'refund',
  payment_id: refund.paymentId,
  mode: payment.mode,
  status: refund.state,
  amount: formatAmount(refund.amountMinor, payment.currency),
  amount_minor: refund.amountMinor.toString(),
  currency: payment.currency,
  fee_returned: formatAmount(refund.feeReturnedMinor, payment.currency),
  fee_returned_minor: refund.feeReturnedMinor.toString(),
  reason: refund.reason,
  failure_code: refund.failureCode,
  version: refund.version,
  created_at: refund.createdAt.toISOString(),
  updated_at: refund.updatedAt.toISOString(),
});
