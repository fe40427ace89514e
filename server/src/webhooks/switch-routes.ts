import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idParams, writeHeaders } from '../lib/http/schemas.ts';
import { plain } from '../lib/openapi/example.ts';
import { writeErrors } from './endpoint.ts';
import { disableEndpointOnRequest, enableEndpoint, testEndpoint } from './endpoints.ts';
import { TestedEndpoint, WebhookEndpoint } from './schema.ts';

const tags = ['Webhooks'];
const params = idParams('webhook_endpoint');

const switches = [
  {
    verb: 'enable',
    act: enableEndpoint,
    summary: 'Enable a webhook endpoint',
    description:
      'It is sent what was waiting when it was disabled, and what happens from now on. What happened in between is replayed ' +
      'on request.',
  },
  {
    verb: 'disable',
    act: disableEndpointOnRequest,
    summary: 'Disable a webhook endpoint',
    description: 'Nothing is sent to it until it is enabled. What is waiting stays.',
  },
] as const;

/** Switching endpoints on and off, and trying them out: below `/webhook-endpoints/:id`. */
export const switchRoutes =
  ({ db, clock }: { db: Db; clock: Clock }): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const { verb, act, summary, description } of switches) {
      app.post(
        `/webhook-endpoints/:id/${verb}`,
        {
          config: { requires: 'developer', dryRun: 'preview', errors: writeErrors },
          schema: {
            operationId: `${verb}WebhookEndpoint`,
            tags,
            summary,
            description,
            headers: writeHeaders,
            params,
            response: { 200: WebhookEndpoint },
          },
        },
        async (request, reply) => {
          const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
          const answer = await act(db, write, request.params.id);
          return sendAnswer(reply, answer, answer.entry.snapshot);
        },
      );
    }

    app.post(
      '/webhook-endpoints/:id/test',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: ['invalid_state', ...writeErrors] },
        schema: {
          operationId: 'testWebhookEndpoint',
          tags,
          summary: 'Send a test event to a webhook endpoint',
          description:
            'An event of type `webhook_endpoint.tested` goes the way of all events, to this endpoint alone, whatever events ' +
            'it asked for. Its deliveries tell what the receiver answered.',
          headers: writeHeaders,
          params,
          response: { 202: TestedEndpoint },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await testEndpoint(db, write, request.params.id);
        const { id, snapshot } = answer.entry;
        return sendAnswer(reply, answer, { ...plain(snapshot), event_id: id });
      },
    );
  };
