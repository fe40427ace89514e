import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Clock } from '../lib/clock.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { absentBodyIsEmpty } from '../lib/http/body.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import type { PaymentsModule } from './module.ts';
import { refundSnapshot } from './payment.ts';
import { refund } from './payments.ts';
import { ListRefundsQuery, RefundBody, RefundSnapshot } from './schema.ts';
import { getPayment, getRefund, listRefunds } from './store.ts';

/** What every write on payments may refuse with, besides its own. */
export const writeErrors = [
  'idempotency_key_required',
  'idempotency_key_reused',
  'request_in_flight',
  'overloaded',
] as const;

/** What a refund may refuse with. */
export const refundErrors = [
  ...writeErrors,
  'invalid_state',
  'amount_too_large',
  'insufficient_funds',
] as const;

const tags = ['Payments'];

/** Refunds of a payment: `/payments/:id/refunds`. */
export const refundRoutes =
  ({ module, clock }: { module: PaymentsModule; clock: Clock }): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/payments/:id/refunds',
      {
        config: { requires: 'finance', dryRun: 'preview', errors: refundErrors },
        preValidation: absentBodyIsEmpty,
        schema: {
          operationId: 'createRefund',
          tags,
          summary: 'Refund a payment, answering with the refund',
          description:
            'All that is left or a part, as often as there is something left. Needs the available balance of `payable`; ' +
            'the fee comes back in proportion. 202 means that the backend has not said yet: the money is set aside, and Florin ' +
            'asks until it says.',
          headers: writeHeaders,
          params: idParams('payment'),
          body: RefundBody,
          response: { 201: RefundSnapshot, 202: RefundSnapshot },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await refund(module, write, request.params.id, {
          body: request.body,
          name: 'payments.refund',
        });
        return sendAnswer(reply, answer, answer.entry.snapshot);
      },
    );

    app.get(
      '/payments/:id/refunds',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'listRefunds',
          tags,
          summary: 'List the refunds of a payment, the newest first',
          description: 'Also those that failed or wait for their backend.',
          params: idParams('payment'),
          querystring: ListRefundsQuery,
          response: { 200: listOf(RefundSnapshot) },
        },
      },
      async (request) => {
        const { cursor, limit } = request.query;
        const { tenantId } = request.caller;
        const payment = await getPayment(module.db, tenantId, request.params.id);
        const after = decodeCursor(cursor, Type.Tuple([idOf('refund')]))?.[0];
        const rows = await listRefunds(
          module.db,
          { tenantId, paymentId: payment.id },
          { after, limit: limit + 1 },
        );
        return pageOf(rows, {
          limit,
          positionOf: ({ id }) => [id],
          render: (row) => refundSnapshot(payment, row),
        });
      },
    );

    app.get(
      '/payments/:id/refunds/:refund_id',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'getRefund',
          tags,
          summary: 'Get a refund',
          description: 'The refund as it is now.',
          params: Type.Object(
            {
              ...idParams('payment').properties,
              refund_id: idOf('refund', { description: 'Id of the refund.' }),
            },
            { 'x-noun': 'refund' },
          ),
          response: { 200: RefundSnapshot },
        },
      },
      async (request) => {
        const { tenantId } = request.caller;
        const payment = await getPayment(module.db, tenantId, request.params.id);
        const key = { tenantId, paymentId: payment.id, id: request.params.refund_id };
        return refundSnapshot(payment, await getRefund(module.db, key));
      },
    );
  };
