import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { GivenAnswer } from '../journal/idempotency.ts';
import type { Clock } from '../lib/clock.ts';
import { invalidField } from '../lib/errors.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { absentBodyIsEmpty } from '../lib/http/body.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import type { Id } from '../lib/ids.ts';
import { parseAmount } from '../lib/money.ts';
import { parseTime } from '../lib/time.ts';
import { sandboxCases } from './connectors/sandbox.ts';
import type { PaymentsModule } from './module.ts';
import { refundRest } from './operations.ts';
import { paymentSnapshot } from './payment.ts';
import { cancel, capture, refund } from './payments.ts';
import { create } from './create.ts';
import { refundErrors, refundRoutes, writeErrors } from './refund-routes.ts';
import {
  CancelBody,
  CaptureBody,
  CreatePaymentBody,
  ListPaymentsQuery,
  PaymentAnswer,
  RefundBody,
  type PaymentSnapshot,
} from './schema.ts';
import { getPayment, listPayments } from './store.ts';

type Person = { email: string; name: string | null };

type Dependencies = {
  module: PaymentsModule;
  clock: Clock;
  /** Who these customers are now, to complete answers with; null for one that was erased. */
  describeCustomers(
    tenantId: number,
    ids: readonly Id<'customer'>[],
  ): Promise<ReadonlyMap<Id<'customer'>, Person | null>>;
};

const tags = ['Payments'];
const unknownOutcome =
  '202 means that the backend has not said yet: the outcome is unknown, and nothing is charged a second time. Florin asks ' +
  'the backend until it says; then the payment shows what happened, and so does this request with its Idempotency-Key.';

const sandboxTable = Object.entries(sandboxCases)
  .map(([name, { says }]) => `| \`sandbox:${name}\` | ${says} |`)
  .join('\n');

/** Taking money and giving it back: `/payments`. */
export const paymentRoutes = (dependencies: Dependencies): FastifyPluginAsyncTypebox => {
  const { module, clock } = dependencies;
  const complete = completer(dependencies);
  /** The reply to a write that answers with the payment. */
  const paymentReply = (tenantId: number, answer: GivenAnswer): Promise<PaymentAnswer> =>
    complete(tenantId, answer.entry.snapshot as unknown as PaymentSnapshot); // entries of payments carry it, see apply.ts

  return async (app) => {
    app.post(
      '/payments',
      {
        config: {
          requires: 'developer',
          dryRun: 'preview',
          errors: [...writeErrors, 'no_connector', 'fee_exceeds_amount', 'balance_overflow'],
        },
        schema: {
          operationId: 'createPayment',
          tags,
          summary: 'Take a payment',
          description:
            'Captures at once unless `capture` is false. A decline is a payment with status `failed` and a `failure_code`. ' +
            `${unknownOutcome}\n\nPayment methods of test mode:\n\n| payment method | what it does |\n|---|---|\n` +
            `| \`book\` | Settles in Florin's own books at once. |\n${sandboxTable}`,
          headers: writeHeaders,
          body: CreatePaymentBody,
          response: { 201: PaymentAnswer, 202: PaymentAnswer },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await create(module, write, request.body);
        return sendAnswer(reply, answer, await paymentReply(write.context.tenantId, answer));
      },
    );

    app.get(
      '/payments',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'listPayments',
          tags,
          summary: 'List and search payments, the newest first',
          description: 'Filters narrow together. A search by amount needs the currency.',
          querystring: ListPaymentsQuery,
          response: { 200: listOf(PaymentAnswer) },
        },
      },
      async (request) => {
        const { cursor, limit, ...query } = request.query;
        const { tenantId } = request.caller;
        const after = decodeCursor(cursor, Type.Tuple([idOf('payment')]))?.[0];
        const rows = await listPayments(module.db, tenantId, filterOf(query), { after, limit: limit + 1 });
        const answers = await complete.all(tenantId, rows.map(paymentSnapshot));
        return pageOf(answers, { limit, positionOf: ({ id }) => [id], render: (payment) => payment });
      },
    );

    app.get(
      '/payments/:id',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'getPayment',
          tags,
          summary: 'Get a payment',
          description: 'The payment as it is now.',
          params: idParams('payment'),
          response: { 200: PaymentAnswer },
        },
      },
      async (request) => {
        const { tenantId } = request.caller;
        return complete(tenantId, paymentSnapshot(await getPayment(module.db, tenantId, request.params.id)));
      },
    );

    app.post(
      '/payments/:id/capture',
      {
        config: {
          requires: 'developer',
          dryRun: 'preview',
          errors: [...writeErrors, 'invalid_state', 'amount_too_large', 'fee_exceeds_amount'],
        },
        preValidation: absentBodyIsEmpty,
        schema: {
          operationId: 'capturePayment',
          tags,
          summary: 'Capture an authorised payment',
          description: `Once, all or a part; what is left of the authorisation is released. ${unknownOutcome}`,
          headers: writeHeaders,
          params: idParams('payment'),
          body: CaptureBody,
          response: { 200: PaymentAnswer, 202: PaymentAnswer },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await capture(module, write, request.params.id, request.body);
        return sendAnswer(reply, answer, await paymentReply(write.context.tenantId, answer));
      },
    );

    app.post(
      '/payments/:id/cancel',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: [...writeErrors, 'invalid_state'] },
        preValidation: absentBodyIsEmpty,
        schema: {
          operationId: 'cancelPayment',
          tags,
          summary: 'Cancel an authorised payment',
          description: `Releases the whole authorisation. ${unknownOutcome}`,
          headers: writeHeaders,
          params: idParams('payment'),
          body: CancelBody,
          response: { 200: PaymentAnswer, 202: PaymentAnswer },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await cancel(module, write, request.params.id);
        return sendAnswer(reply, answer, await paymentReply(write.context.tenantId, answer));
      },
    );

    app.patch(
      '/payments/:id/refund',
      {
        config: { requires: 'finance', dryRun: 'preview', errors: refundErrors },
        preValidation: absentBodyIsEmpty,
        schema: {
          operationId: 'refundRestOfPayment',
          tags,
          summary: 'Refund a payment, answering with the payment',
          description:
            'An empty body refunds everything that is left. A refund that the backend declines leaves the payment as it ' +
            `was; the list of refunds tells why. ${unknownOutcome}`,
          headers: writeHeaders,
          params: idParams('payment'),
          body: RefundBody,
          response: { 200: PaymentAnswer, 202: PaymentAnswer },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await refund(module, write, request.params.id, {
          body: request.body,
          name: refundRest,
        });
        return sendAnswer(reply, answer, await paymentReply(write.context.tenantId, answer));
      },
    );

    await app.register(refundRoutes(dependencies));
  };
};

/** Fills in who paid. Personal data is added when an answer is sent; what is stored holds the customer's id. */
const completer = ({ describeCustomers }: Dependencies) => {
  const all = async (tenantId: number, payments: readonly PaymentSnapshot[]): Promise<PaymentAnswer[]> => {
    const ids = payments.flatMap(({ customer_id: id }) => (id === null ? [] : [id]));
    const people = ids.length === 0 ? undefined : await describeCustomers(tenantId, ids);
    return payments.map((payment) => {
      const person = payment.customer_id === null ? undefined : people?.get(payment.customer_id);
      return { ...payment, customer_email: person?.email ?? null, customer_name: person?.name ?? null };
    });
  };
  const one = async (tenantId: number, payment: PaymentSnapshot): Promise<PaymentAnswer> => {
    const [answer] = await all(tenantId, [payment]);
    if (!answer) throw new Error('one payment in, none out');
    return answer;
  };
  return Object.assign(one, { all });
};

type Query = Omit<Type.Static<typeof ListPaymentsQuery>, 'cursor' | 'limit'>;

const filterOf = (query: Query) => {
  const { currency, amount_min: min, amount_max: max } = query;
  if (currency === undefined && (min ?? max) !== undefined) {
    throw invalidField('currency', 'a search by amount needs it');
  }
  const amount = (text: string | undefined, field: string): bigint | undefined =>
    text === undefined || currency === undefined ? undefined : parseAmount(text, currency, field);
  const time = (text: string | undefined, field: string): Date | undefined =>
    text === undefined ? undefined : parseTime(text, field);
  return {
    status: query.status,
    currency,
    reference: query.reference,
    customerId: query.customer_id,
    amountMinorMin: amount(min, 'amount_min'),
    amountMinorMax: amount(max, 'amount_max'),
    createdFrom: time(query.created_from, 'created_from'),
    createdBefore: time(query.created_before, 'created_before'),
  };
};
