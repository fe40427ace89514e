import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { GivenAnswer } from '../journal/idempotency.ts';
import type { Clock } from '../lib/clock.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { absentBodyIsEmpty } from '../lib/http/body.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import { getEndpoint, listEndpoints } from './endpoint-store.ts';
import { endpointJson, writeErrors } from './endpoint.ts';
import { createEndpoint, deleteEndpoint, updateEndpoint, type EndpointParts } from './endpoints.ts';
import {
  CreatedEndpoint,
  CreateEndpointBody,
  EndpointSecret,
  ListEndpointsQuery,
  RotatedEndpoint,
  RotateSecretBody,
  UpdateEndpointBody,
  WebhookEndpoint,
} from './schema.ts';
import { rotateSecret, showSecret } from './secrets.ts';
import { switchRoutes } from './switch-routes.ts';

const tags = ['Webhooks'];
const Cursor = Type.Tuple([idOf('webhook_endpoint')]);
const params = idParams('webhook_endpoint');

/** Where vendors are told what happens: `/webhook-endpoints`. An endpoint is told events of the mode of its maker. */
export const endpointRoutes = (parts: EndpointParts & { clock: Clock }): FastifyPluginAsyncTypebox => {
  const { db, clock } = parts;
  return async (app) => {
    app.post(
      '/webhook-endpoints',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: ['limit_reached', ...writeErrors] },
        schema: {
          operationId: 'createWebhookEndpoint',
          tags,
          summary: 'Create a webhook endpoint',
          description:
            'It is told what happens from then on. The answer has the secret that signs; a retry with the same ' +
            'Idempotency-Key shows it again.',
          headers: writeHeaders,
          body: CreateEndpointBody,
          response: { 201: CreatedEndpoint },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const { secret, ...answer } = await createEndpoint(parts, write, request.body);
        reply.header('cache-control', 'no-store');
        return sendAnswer(reply, answer, { ...snapshotOf(answer), secret: secret.reveal() });
      },
    );

    app.get(
      '/webhook-endpoints',
      {
        config: { requires: 'developer' },
        schema: {
          operationId: 'listWebhookEndpoints',
          tags,
          summary: 'List webhook endpoints, the newest first',
          querystring: ListEndpointsQuery,
          response: { 200: listOf(WebhookEndpoint) },
        },
      },
      async (request) => {
        const { limit, cursor } = request.query;
        const before = decodeCursor(cursor, Cursor)?.[0];
        const rows = await listEndpoints(db, request.caller.tenantId, { before, limit: limit + 1 });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: endpointJson });
      },
    );

    app.get(
      '/webhook-endpoints/:id',
      {
        config: { requires: 'developer' },
        schema: {
          operationId: 'getWebhookEndpoint',
          tags,
          summary: 'Get a webhook endpoint',
          params,
          response: { 200: WebhookEndpoint },
        },
      },
      async ({ caller, params: { id } }) =>
        endpointJson(await getEndpoint(db, { tenantId: caller.tenantId, id })),
    );

    app.patch(
      '/webhook-endpoints/:id',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: writeErrors },
        schema: {
          operationId: 'updateWebhookEndpoint',
          tags,
          summary: 'Change a webhook endpoint',
          description:
            'Changes the members that are sent; `events` and `metadata` are replaced as a whole. What is waiting to be sent ' +
            'goes to the new address.',
          headers: writeHeaders,
          params,
          body: UpdateEndpointBody,
          response: { 200: WebhookEndpoint },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await updateEndpoint(parts, write, request.params.id, request.body);
        return sendAnswer(reply, answer, snapshotOf(answer));
      },
    );

    app.delete(
      '/webhook-endpoints/:id',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: writeErrors },
        schema: {
          operationId: 'deleteWebhookEndpoint',
          tags,
          summary: 'Delete a webhook endpoint',
          description:
            'What is waiting to be sent to it is not sent any more. Its deliveries can still be listed.',
          headers: writeHeaders,
          params,
          response: { 200: WebhookEndpoint },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await deleteEndpoint(db, write, request.params.id);
        return sendAnswer(reply, answer, snapshotOf(answer));
      },
    );

    app.post(
      '/webhook-endpoints/:id/rotate-secret',
      {
        config: { requires: 'developer', dryRun: 'preview', errors: ['limit_reached', ...writeErrors] },
        preValidation: absentBodyIsEmpty,
        schema: {
          operationId: 'rotateWebhookSecret',
          tags,
          summary: 'Give a webhook endpoint a new secret',
          description:
            'During the overlap every message is signed with the new secret and with those before it. Rotating again within an ' +
            'overlap never makes the end of an earlier secret later; five sign at once at most.',
          headers: writeHeaders,
          params,
          body: RotateSecretBody,
          response: { 200: RotatedEndpoint },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const { secret, earlierUntil, ...answer } = await rotateSecret(
          parts,
          write,
          request.params.id,
          request.body,
        );
        reply.header('cache-control', 'no-store');
        return sendAnswer(reply, answer, {
          ...snapshotOf(answer),
          secret: secret.reveal(),
          earlier_secrets_until: earlierUntil.toISOString(),
        });
      },
    );

    app.get(
      '/webhook-endpoints/:id/secret',
      {
        config: { requires: 'admin' },
        schema: {
          operationId: 'getWebhookSecret',
          tags,
          summary: 'Show the secret of a webhook endpoint',
          description: 'That it was shown, to whom and when, is in the audit log.',
          params,
          response: { 200: EndpointSecret },
        },
      },
      async (request, reply) => {
        reply.header('cache-control', 'no-store');
        return showSecret(parts, contextOf(request, clock), request.params.id);
      },
    );

    await app.register(switchRoutes(parts));
  };
};

/** The body of an answer is the snapshot of its journal entry, which `endpointJson` made. */
const snapshotOf = ({ entry }: GivenAnswer) => entry.snapshot as WebhookEndpoint;
