import {
  commitAnswer,
  refuseOnce,
  storedAnswer,
  type Answer,
  type GivenAnswer,
} from '../journal/idempotency.ts';
import { appendRefusal, getEntryOf } from '../journal/journal.ts';
import type { Context } from '../lib/caller.ts';
import type { Json } from '../lib/canonical.ts';
import type { Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { newId, type Id } from '../lib/ids.ts';
import { parseAmount } from '../lib/money.ts';
import { lockAccounts, refusalTexts, setOverdraft } from '../ledger/ledger.ts';
import { applyEffect, entriesOf } from './apply.ts';
import type { Connector } from './connectors/connector.ts';
import {
  authorised,
  canceled,
  captured,
  charged,
  refunded,
  refundStarted,
  waiting,
  type Effect,
} from './effects.ts';
import { connectorFor, type PaymentsModule, type TenantTerms } from './module.ts';
import { insertOperation, perform, refundRest, type Operation } from './operations.ts';
import { draftPayment, draftRefund, type Payment, type Refund } from './payment.ts';
import { feeOf, feeReturnedBy, openPaymentAccounts, type PaymentAccounts } from './postings.ts';
import { checkCustomer, tooLarge, withoutPerson, wrongState } from './rules.ts';
import { can, type CreatePaymentBody, type RefundBody } from './schema.ts';
import { getPayment, lockPayment, sumOpenRefunds } from './store.ts';

/** A write on payments: in whose name, and under which Idempotency-Key. */
export type Write = { context: Context; key: string | undefined };

/**
 * Takes a payment. Answers 201 `succeeded` or `requires_capture`, 201 `failed` with a `failure_code` for a decline,
 * 202 `processing` or `unknown` while the backend is silent.
 * @throws AppError `invalid_request`, `no_connector`, `fee_exceeds_amount`, `balance_overflow` and those of idempotency
 */
export const create = async (
  module: PaymentsModule,
  { context, key }: Write,
  body: CreatePaymentBody,
): Promise<GivenAnswer> => {
  const terms = await module.termsOf(context.tenantId);
  const amountMinor = parseAmount(body.amount, body.currency);
  checkCustomer(body);
  const request = { context, operation: 'payments.create', key, request: withoutPerson(module, body) };
  return refusing(module, request, async () => {
    const paymentMethod = body.payment_method ?? 'book';
    const connector = connectorFor(module, terms.mode, paymentMethod);
    const feeMinor = feeOf(terms, amountMinor, body.currency);
    const customerId = await module.customerOf(context, body);
    const draft = draftPayment(context, terms, body, {
      amountMinor,
      paymentMethod,
      connector: connector.name,
      customerId,
    });
    const accounts = await paymentAccounts(module, context, draft);
    const capture = body.capture ?? true;
    if (!connector.internal) return createOutside(module, request, draft, { feeMinor, capture });
    if (capture)
      return createInBatch(module, request, draft, charged(draft, feeMinor, { now: context.now, accounts }));
    return commitAnswer(module.db, request, async (tx) => {
      const effect = authorised(draft, { now: context.now, accounts });
      return changed(201, await applyEffect(tx, context, { payment: draft }, accounts, effect));
    });
  });
};

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
    const isInternal = takenBy(module, found).internal;
    let claimed: Operation | undefined;
    const answer = await commitAnswer(module.db, request, async (tx) => {
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
      claimed = operationOf(module, { context, key, name }, payment, planned);
      await insertOperation(tx, claimed, context.now);
      return { ...answered(202, entry), openUntil: claimed.callUntil };
    });
    if (!claimed || answer.replayed) return answer;
    return given(await perform(module, context, claimed));
  });
};

const createInBatch = async (
  module: PaymentsModule,
  request: PaymentRequest,
  draft: Payment,
  effect: Effect,
): Promise<GivenAnswer> => {
  const { context, operation, key } = request;
  const { payment, transfer } = effect;
  const { payment: entry } = entriesOf(context, draft, effect);
  if (!payment || !transfer || !entry) throw new Error('a charge makes a payment, a transfer and an entry');
  const outcome = await module.writer.submit({
    payment,
    transfer,
    entry,
    key: key === undefined ? undefined : { operation, key, request: request.request, status: 201 },
  });
  if (outcome === 'created') return { status: 201, entry, replayed: false };
  if (outcome === 'repeated' && key !== undefined) return storedAnswer(module.db, { ...request, key });
  if (outcome === 'repeated') throw new Error('a payment without a key was taken for a repeated one');
  throw new AppError(outcome, refusalTexts[outcome]);
};

/** Claim, call, settle: the payment exists as `processing` before the backend hears of it. */
const createOutside = async (
  module: PaymentsModule,
  request: PaymentRequest,
  draft: Payment,
  charge: { feeMinor: bigint; capture: boolean },
): Promise<GivenAnswer> => {
  const { context, key, operation: name } = request;
  const payment: Payment = { ...draft, version: 1 };
  const accounts = await paymentAccounts(module, context, draft);
  const operation = operationOf(module, { context, key, name }, payment, {
    kind: 'authorise',
    amountMinor: payment.amountMinor,
    ...charge,
  });
  const claim = await commitAnswer(module.db, request, async (tx) => {
    const { payment: entry } = await applyEffect(tx, context, { payment: draft }, accounts, { payment });
    await insertOperation(tx, operation, context.now);
    return { ...answered(202, entry), openUntil: operation.callUntil };
  });
  return claim.replayed ? claim : given(await perform(module, context, operation));
};

type PaymentRequest = { context: Context; operation: string; key: string | undefined; request: Json };

/** Refusals of money are kept as journal entries and counted; with a key, they are its answer too. */
const refusing = async (
  module: PaymentsModule,
  request: PaymentRequest,
  run: () => Promise<GivenAnswer>,
): Promise<GivenAnswer> => {
  try {
    const answer = await refuseOnce(module.db, request, run);
    const failure = failureOf(answer);
    if (failure && !answer.replayed) module.countError(failure);
    return answer;
  } catch (error) {
    if (!(error instanceof AppError) || error.replayed) throw error;
    module.countError(error.code);
    if (error.status === 422) {
      const { operation } = request;
      await appendRefusal(module.db, request.context, {
        kind: 'payment.refused',
        snapshot: { operation, code: error.code, detail: error.message },
      });
    }
    throw error;
  }
};

const failureOf = ({ entry }: Answer): string | undefined => {
  const { snapshot } = entry;
  if (snapshot === null || typeof snapshot !== 'object' || !('failure_code' in snapshot)) return undefined;
  return typeof snapshot.failure_code === 'string' ? snapshot.failure_code : undefined;
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

const paymentAccounts = (
  module: PaymentsModule,
  context: Context,
  payment: Payment,
): Promise<PaymentAccounts> => {
  const { tenantId, currency, connector } = payment;
  return openPaymentAccounts(module.db, module.accounts, { tenantId, currency, connector }, context.now);
};

/** Brings the vendor's account in line with its terms: whether refunds may take it below zero. */
const followOverdraft = async (tx: Tx, accounts: PaymentAccounts, terms: TenantTerms): Promise<void> => {
  await lockAccounts(tx, Object.values(accounts));
  const mayGoBelow = await setOverdraft(tx, accounts.payable, terms.overdraftAllowed);
  if (mayGoBelow && !terms.overdraftAllowed) {
    throw new AppError('insufficient_funds', refusalTexts.insufficient_funds);
  }
};

/** A backend call gets a little longer than its time limit before its key stops answering 409. */
const settleGraceMs = 2_000;

const operationOf = (
  module: PaymentsModule,
  { context, key, name }: Write & { name: string },
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

const changed = (status: number, { payment }: { payment?: Answer['entry'] }): Answer =>
  answered(status, payment);

const answered = (status: number, entry: Answer['entry'] | undefined): Answer => {
  if (!entry) throw new Error('a write without a journal entry');
  return { status, entry };
};

const given = (answer: Answer): GivenAnswer => ({ ...answer, replayed: false });
