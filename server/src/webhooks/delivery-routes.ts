import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import {
  deliveryJson,
  describeDelivery,
  replayJson,
  requestReplay,
  retryDelivery,
  retryFailed,
} from './deliveries.ts';
import {
  Delivery,
  DeliveryWithAttempts,
  ListDeliveriesQuery,
  ListReplaysQuery,
  Replay,
  ReplayBody,
  RetriedDeliveries,
} from './delivery-schema.ts';
import { listDeliveries } from './delivery-store.ts';
import { getEndpoint } from './endpoint-store.ts';
import { writeErrors } from './endpoint.ts';
import { listReplays } from './replay-store.ts';

type Dependencies = { db: Db; clock: Clock; retention: { eventsDays: number } };

const tags = ['Webhooks'];
const DeliveryCursor = Type.Tuple([idOf('delivery')]);
/** Other lists have cursors of a number, too. */
const ReplayCursor = Type.Tuple([
  Type.Literal('replay'),
  Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
]);

/** What was sent to webhook endpoints, and sending it again: `/deliveries`. */
export const deliveryRoutes = (parts: Dependencies): FastifyPluginAsyncTypebox => {
  const { db, clock } = parts;
  return async (app) => {
    app.get(
      '/deliveries',
      {
        config: { requires: 'developer' },
        schema: {
          operationId: 'listDeliveries',
          tags,
          summary: 'List deliveries, the newest first',
          description:
            'Those that are `failed` are the dead letters: they were given up and can be sent again.',
          querystring: ListDeliveriesQuery,
          response: { 200: listOf(Delivery) },
        },
      },
      async ({ query: { limit, cursor, ...query }, caller }) => {
        const filter = { state: query.status, endpointId: query.endpoint, eventId: query.event };
        const before = decodeCursor(cursor, DeliveryCursor)?.[0];
        const rows = await listDeliveries(db, caller.tenantId, filter, { before, limit: limit + 1 });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: deliveryJson });
      },
    );

    app.get(
      '/deliveries/:id',
      {
        config: { requires: 'developer' },
        schema: {
          operationId: 'getDelivery',
          tags,
          summary: 'Get a delivery with its attempts',
          description: 'When each attempt was made, what the receiver answered and how long that took.',
          params: idParams('delivery'),
          response: { 200: DeliveryWithAttempts },
        },
      },
      async ({ params: { id }, caller: { tenantId } }) => describeDelivery(db, { tenantId, id }),
    );

    app.post(
      '/deliveries/:id/retry',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: ['invalid_state', ...writeErrors] },
        schema: {
          operationId: 'retryDelivery',
          tags,
          summary: 'Send a delivery again',
          description:
            'Whatever became of it: at once, under the same `webhook-id`, and then as often as a new one. To a disabled endpoint ' +
            'it is sent once that is enabled.',
          headers: writeHeaders,
          params: idParams('delivery'),
          response: { 200: Delivery },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await retryDelivery(db, write, request.params.id);
        return sendAnswer(reply, answer, answer.entry.snapshot);
      },
    );

    app.register(againRoutes(parts));
  };
};

/** Telling an endpoint again what it did not accept, or what happened: below `/webhook-endpoints/:id`. */
const againRoutes = (parts: Dependencies): FastifyPluginAsyncTypebox => {
  const { db, clock } = parts;
  return async (app) => {
    app.post(
      '/webhook-endpoints/:id/retry-failed',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: writeErrors },
        schema: {
          operationId: 'retryFailedDeliveries',
          tags,
          summary: 'Send the dead letters of a webhook endpoint again',
          description: 'The oldest first, a thousand with one request: while `has_more`, ask again.',
          headers: writeHeaders,
          params: idParams('webhook_endpoint'),
          response: { 200: RetriedDeliveries },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await retryFailed(db, write, request.params.id);
        return sendAnswer(reply, answer, answer.entry.snapshot);
      },
    );

    app.post(
      '/webhook-endpoints/:id/replay',
      {
        config: {
          requires: 'developer',
          dryRun: 'preview',
          errors: ['invalid_state', 'limit_reached', ...writeErrors],
        },
        schema: {
          operationId: 'replayWebhookEvents',
          tags,
          summary: 'Send what happened in a range of time again',
          description:
            'New deliveries of the events of that time, under the `webhook-id` that they had: a receiver that remembers ids ' +
            'takes only what it missed. They are queued step by step, one replay of an endpoint at a time, and what happens ' +
            'meanwhile does not wait for all of them. No further back than events are kept.',
          headers: writeHeaders,
          params: idParams('webhook_endpoint'),
          body: ReplayBody,
          response: { 202: Replay },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await requestReplay(parts, write, request.params.id, request.body);
        return sendAnswer(reply, answer, answer.entry.snapshot);
      },
    );

    app.get(
      '/webhook-endpoints/:id/replays',
      {
        config: { requires: 'developer' },
        schema: {
          operationId: 'listWebhookReplays',
          tags,
          summary: 'List the replays of a webhook endpoint, the newest first',
          description: 'How far each one is.',
          params: idParams('webhook_endpoint'),
          querystring: ListReplaysQuery,
          response: { 200: listOf(Replay) },
        },
      },
      async ({ params: { id }, query: { limit, cursor }, caller: { tenantId } }) => {
        await getEndpoint(db, { tenantId, id });
        const before = decodeCursor(cursor, ReplayCursor)?.[1];
        const rows = await listReplays(db, { tenantId, endpointId: id }, { before, limit: limit + 1 });
        return pageOf(rows, { limit, positionOf: ({ number }) => ['replay', number], render: replayJson });
      },
    );
  };
};
