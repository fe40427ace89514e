import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import { completeAnswer, createCustomer, getCustomer, listCustomers, updateCustomer } from './customers.ts';
import type { CustomerKeys } from './keys.ts';
import { CreateCustomerBody, CustomerAnswer, ListCustomersQuery, UpdateCustomerBody } from './schema.ts';

type Dependencies = { db: Db; keys: CustomerKeys; clock: Clock };

const tags = ['Customers'];
const Cursor = Type.Tuple([idOf('customer')]);

/** Who pays: `/customers`. Personal data is completed when an answer is sent, never stored in it. */
export const customerRoutes =
  ({ db, keys, clock }: Dependencies): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/customers',
      {
        config: {
          requires: 'developer',
          dryRun: 'preview',
          errors: ['already_exists', 'idempotency_key_reused', 'request_in_flight'],
        },
        schema: {
          operationId: 'createCustomer',
          tags,
          summary: 'Create a customer',
          description:
            'One email is one customer. A known email answers 409 `already_exists` and names the customer, ' +
            'because a second name or other metadata would otherwise be lost unnoticed. Payments with ' +
            '`customer_email` find or create their customer by themselves.',
          headers: writeHeaders,
          body: CreateCustomerBody,
          response: { 201: CustomerAnswer },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await createCustomer(db, keys, write, request.body);
        return sendAnswer(reply, answer, await completeAnswer(db, keys, write.context.tenantId, answer));
      },
    );

    app.get(
      '/customers',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'listCustomers',
          tags,
          summary: 'List customers, the newest first',
          description: 'With `email`, the one customer who has this address, or none.',
          querystring: ListCustomersQuery,
          response: { 200: listOf(CustomerAnswer) },
        },
      },
      async (request) => {
        const { email, cursor, limit } = request.query;
        const before = decodeCursor(cursor, Cursor)?.[0];
        const rows = await listCustomers(db, keys, request.caller.tenantId, {
          email,
          before,
          limit: limit + 1,
        });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: (customer) => customer });
      },
    );

    app.get(
      '/customers/:id',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'getCustomer',
          tags,
          summary: 'Get a customer',
          description: 'Of an erased customer, email, name and phone are null.',
          params: idParams('customer'),
          response: { 200: CustomerAnswer },
        },
      },
      async (request) => getCustomer(db, keys, request.caller.tenantId, request.params.id),
    );

    app.patch(
      '/customers/:id',
      {
        config: {
          requires: 'developer',
          dryRun: 'preview',
          errors: ['already_exists', 'invalid_state', 'idempotency_key_reused', 'request_in_flight'],
        },
        schema: {
          operationId: 'updateCustomer',
          tags,
          summary: 'Change a customer',
          description:
            'Changes the fields that are sent and leaves the others; `metadata` is replaced as a whole.',
          headers: writeHeaders,
          params: idParams('customer'),
          body: UpdateCustomerBody,
          response: { 200: CustomerAnswer },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await updateCustomer(db, keys, write, { ...request.body, id: request.params.id });
        return sendAnswer(reply, answer, await completeAnswer(db, keys, write.context.tenantId, answer));
      },
    );
  };
