import assert from 'node:assert/strict';
import type { Payer } from '../customers/customers.ts';
import { commitAnswer, storedAnswer, type GivenAnswer } from '../journal/idempotency.ts';
import type { Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { parseAmount } from '../lib/money.ts';
import { refusalTexts } from '../ledger/ledger.ts';
import { applyEffect, entriesOf } from './apply.ts';
import type { Connector } from './connectors/connector.ts';
import { authorised, charged } from './effects.ts';
import { assertReachable, connectorFor, defaultMethod, type PaymentsModule } from './module.ts';
import { insertOperation } from './operation-store.ts';
import { operationOf, perform } from './operations.ts';
import { draftPayment, type Payment } from './payment.ts';
import { feeOf, type PaymentAccounts } from './postings.ts';
import { checkCustomer, withoutPerson } from './rules.ts';
import type { CreatePaymentBody } from './schema.ts';
import { answered, given, paymentAccounts, refusing, type PaymentRequest, type Write } from './writes.ts';

/**
 * Takes a payment. Answers 201 `succeeded` or `requires_capture`, 201 `failed` with a `failure_code` for a decline,
 * 202 `processing` or `unknown` while the backend is silent.
 * @throws AppError `invalid_request`, `no_connector`, `fee_exceeds_amount`, `balance_overflow`, `unavailable` and those of
 * idempotency
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
    const paymentMethod = body.payment_method ?? defaultMethod(module, terms.mode);
    const connector = connectorFor(module, terms.mode, paymentMethod);
    const feeMinor = feeOf(terms, amountMinor, body.currency);
    const payer = await module.payerOf(context, body);
    const facts = { amountMinor, paymentMethod, connector: connector.name };
    const draft = draftPayment(context, terms, body, facts);
    const accounts = await paymentAccounts(module, context, draft);
    const plan: Plan = { draft, payer, accounts, feeMinor, capture: body.capture ?? true };
    if (!connector.internal) return createOutside(module, request, plan, connector);
    return plan.capture && isKnown(payer)
      ? createInBatch(module, request, { ...plan, payer })
      : createInBooks(module, request, plan);
  });
};

type Plan = {
  draft: Payment;
  payer: Payer | null;
  accounts: PaymentAccounts;
  feeMinor: bigint;
  capture: boolean;
};

const isKnown = (payer: Payer | null): payer is Id<'customer'> | null =>
  typeof payer !== 'object' || payer === null;

/** The fast path: nothing but this payment is new, so it travels with others. */
const createInBatch = async (
  module: PaymentsModule,
  request: PaymentRequest,
  { draft, payer, accounts, feeMinor }: Plan & { payer: Id<'customer'> | null },
): Promise<GivenAnswer> => {
  const { context, operation, key } = request;
  const effect = charged({ ...draft, customerId: payer }, feeMinor, { now: context.now, accounts });
  const { payment, transfer } = effect;
  const { payment: entry } = entriesOf(context, draft, effect);
  assert(payment && transfer && entry, 'a charge makes a payment, a transfer and an entry');
  const outcome = await module.writer.submit({
    payment,
    transfer,
    entry,
    key: key === undefined ? undefined : { operation, key, request: request.request, status: 201 },
  });
  if (outcome === 'created') return { status: 201, entry, replayed: false };
  if (outcome !== 'repeated') throw new AppError(outcome, refusalTexts[outcome]);
  assert(key !== undefined, 'a payment without a key was taken for a repeated one');
  return storedAnswer(module.db, { ...request, key });
};

/** One transaction for one payment: an authorisation, or one whose customer is made with it. */
const createInBooks = (module: PaymentsModule, request: PaymentRequest, plan: Plan): Promise<GivenAnswer> =>
  commitAnswer(module.db, request, async (tx) => {
    const { context } = request;
    const { accounts, feeMinor } = plan;
    const draft = await withPayer(tx, plan);
    const outcome = { now: context.now, accounts };
    const effect = plan.capture ? charged(draft, feeMinor, outcome) : authorised(draft, outcome);
    const { payment: entry } = await applyEffect(tx, context, { payment: draft }, accounts, effect);
    return answered(201, entry);
  });

/** Claim, call, settle: the payment exists as `processing` before the backend hears of it. */
const createOutside = async (
  module: PaymentsModule,
  request: PaymentRequest,
  plan: Plan,
  connector: Connector,
): Promise<GivenAnswer> => {
  const { context, key, operation: name } = request;
  const { accounts, feeMinor, capture } = plan;
  const { amountMinor } = plan.draft;
  const charge = { kind: 'authorise' as const, amountMinor, feeMinor, capture, authorisation: undefined };
  const operation = operationOf(module, { key, name }, plan.draft, charge);
  const claim = await commitAnswer(module.db, request, async (tx) => {
    assertReachable(connector);
    const draft = await withPayer(tx, plan);
    const effect = { payment: { ...draft, version: 1 } };
    const { payment: entry } = await applyEffect(tx, context, { payment: draft }, accounts, effect);
    await insertOperation(tx, operation, context.now);
    return { ...answered(202, entry), openUntil: operation.callUntil };
  });
  return claim.replayed ? claim : given(await perform(module, context, operation));
};

/** A new customer is made with the payment, so that a refused payment leaves nobody behind. */
const withPayer = async (tx: Tx, { draft, payer }: Plan): Promise<Payment> => ({
  ...draft,
  customerId: isKnown(payer) ? payer : await payer.create(tx),
});
