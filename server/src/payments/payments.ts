import { commitAnswer, type GivenAnswer } from '../journal/idempotency.ts';
import { getEntryOf } from '../journal/journal.ts';
import type { Json } from '../lib/canonical.ts';
import type { Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { parseAmount } from '../lib/money.ts';
import { lockAccounts, refusalTexts, setOverdraft } from '../ledger/ledger.ts';
import { applyEffect } from './apply.ts';
import type { Connector } from './connectors/connector.ts';
import { canceled, captured, refunded, refundStarted, waiting, type Effect } from './effects.ts';
import { assertReachable, type PaymentsModule, type TenantTerms } from './module.ts';
import { findAuthorisation, insertOperation, type Operation } from './operation-store.ts';
import { operationOf, perform, refundRest } from './operations.ts';
import { draftRefund, type Payment, type Refund } from './payment.ts';
import { feeOf, feeReturnedBy, type PaymentAccounts } from './postings.ts';
import { tooLarge, wrongState } from './rules.ts';
import { can, type RefundBody } from './schema.ts';
import { getPayment, lockPayment, sumOpenRefunds } from './store.ts';
import { answered, given, paymentAccounts, refusing, type Write } from './writes.ts';

/** Captures all or a part of an authorised payment; the rest is released. @throws AppError `invalid_state`, `amount_too_large` … */
export const capture = async (
  module: PaymentsModule,
  { context, key }: Write,
  id: Id<'payment'>,
  body: { amount?: string | number | undefined },
): Promise<GivenAnswer> => {
  const terms = await module.termsOf(context.tenantId);
  return change(module, { context, key, terms, name: 'payments.capture' }, { id, body }, (payment) => {
    if (!can.capture(payment.state)) throw wrongState(payment, 'captured', 'requires_capture');
    const amountMinor =
      body.amount === undefined ? payment.amountMinor : parseAmount(body.amount, payment.currency);
    if (amountMinor > payment.amountMinor) throw tooLarge('captured', payment, payment.amountMinor);
    const feeMinor = feeOf(terms, amountMinor, payment.currency);
    return {
      kind: 'capture',
      amountMinor,
      feeMinor,
      inBooks: (accounts) => captured(payment, { amountMinor, feeMinor }, { now: context.now, accounts }),
      outside: () => waiting(payment, 'processing', context.now),
    };
  });
};

/** Cancels an authorised payment and releases its money. @throws AppError `invalid_state` … */
export const cancel = async (
  module: PaymentsModule,
  { context, key }: Write,
  id: Id<'payment'>,
): Promise<GivenAnswer> => {
  const terms = await module.termsOf(context.tenantId);
  return change(module, { context, key, terms, name: 'payments.cancel' }, { id, body: {} }, (payment) => {
    if (!can.cancel(payment.state)) throw wrongState(payment, 'canceled', 'requires_capture');
    return {
      kind: 'cancel',
      amountMinor: payment.amountMinor,
      feeMinor: 0n,
      inBooks: () => canceled(payment, context.now),
      outside: () => waiting(payment, 'processing', context.now),
    };
  });
};

/**
 * Refunds a part or what is left. `name` is `payments.refund` (answers with the refund) or `payments.refund_rest`
 * (answers with the payment).
 * @throws AppError `invalid_state`, `amount_too_large`, `insufficient_funds` …
 */
export const refund = async (
  module: PaymentsModule,
  { context, key }: Write,
  id: Id<'payment'>,
  { body, name }: { body: RefundBody; name: 'payments.refund' | typeof refundRest },
): Promise<GivenAnswer> => {
  const terms = await module.termsOf(context.tenantId);
  return change(module, { context, key, terms, name }, { id, body }, async (payment, tx) => {
    if (!can.refund(payment.state)) throw wrongState(payment, 'refunded', 'succeeded or partially_refunded');
    const open = await sumOpenRefunds(tx, payment);
    const leftMinor = payment.capturedMinor - payment.refundedMinor - open.amountMinor;
    if (leftMinor === 0n) throw tooLarge('refunded', payment, 0n);
    const amountMinor = body.amount === undefined ? leftMinor : parseAmount(body.amount, payment.currency);
    if (amountMinor > leftMinor) throw tooLarge('refunded', payment, leftMinor);
    const feeReturnedMinor = feeReturnedBy(payment, amountMinor, open);
    const draft = draftRefund(context, payment, { amountMinor, feeReturnedMinor, reason: body.reason });
    return {
      kind: 'refund',
      amountMinor,
      feeMinor: 0n,
      refund: draft,
      inBooks: (accounts) => refunded(payment, draft, { now: context.now, accounts }),
      outside: (accounts) => refundStarted(draft, accounts),
    };
  });
};

/** A change of a payment, decided under its lock: what it does when our books settle it, and while a backend does. */
type Plan = Pick<Operation, 'kind' | 'amountMinor' | 'feeMinor'> & {
  refund?: Refund;
  inBooks(accounts: PaymentAccounts): Effect;
  outside(accounts: PaymentAccounts): Effect;
};

type Change = Write & { terms: TenantTerms; name: string };

/** The way of every change: lock, decide, then settle in our books or claim, call and settle outside. */
const change = async (
  module: PaymentsModule,
  { context, key, terms, name }: Change,
  target: { id: Id<'payment'>; body: Json },
  plan: (payment: Payment, tx: Tx) => Plan | Promise<Plan>,
): Promise<GivenAnswer> => {
  const request = { context, operation: name, key, request: target };
  return refusing(module, request, async () => {
    const found = await getPayment(module.db, context.tenantId, target.id);
    const accounts = await paymentAccounts(module, context, found);
    const connector = takenBy(module, found);
    const isInternal = connector.internal;
    let claimed: Operation | undefined;
    const answer = await commitAnswer(module.db, request, async (tx) => {
      assertReachable(connector);
      const payment = await lockPayment(tx, context.tenantId, target.id);
      const planned = await plan(payment, tx);
      if (planned.refund) await followOverdraft(tx, accounts, terms);
      const before = planned.refund ? { payment, refund: planned.refund } : { payment };
      const effect = isInternal ? planned.inBooks(accounts) : planned.outside(accounts);
      const applied = await applyEffect(tx, context, before, accounts, effect);
      const entry =
        name === refundRest
          ? (applied.payment ?? (await getEntryOf(tx, payment)))
          : (applied.refund ?? applied.payment);
      if (isInternal) return answered(name === 'payments.refund' ? 201 : 200, entry);
      const authorisation = await findAuthorisation(tx, payment);
      claimed = operationOf(module, { key, name }, payment, { ...planned, authorisation });
      await insertOperation(tx, claimed, context.now);
      return { ...answered(202, entry), openUntil: claimed.callUntil };
    });
    if (!claimed || answer.replayed) return answer;
    return given(await perform(module, context, claimed));
  });
};

/** The backend that has the payment: nothing can be changed there while it is not configured any more. */
const takenBy = (module: PaymentsModule, payment: Payment): Connector => {
  const connector = module.connectors.get(payment.connector);
  if (connector) return connector;
  throw new AppError(
    'no_connector',
    `The payment backend "${payment.connector}" of this payment is not configured.`,
  );
};

/** Brings the vendor's account in line with its terms: whether refunds may take it below zero. */
const followOverdraft = async (tx: Tx, accounts: PaymentAccounts, terms: TenantTerms): Promise<void> => {
  await lockAccounts(tx, Object.values(accounts));
  const mayGoBelow = await setOverdraft(tx, accounts.payable, terms.overdraftAllowed);
  if (mayGoBelow && !terms.overdraftAllowed) {
    throw new AppError('insufficient_funds', refusalTexts.insufficient_funds);
  }
};
