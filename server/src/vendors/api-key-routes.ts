import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Clock } from '../lib/clock.ts';
import type { Key } from '../lib/crypto.ts';
import type { Db } from '../lib/database.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { decodeCursor, listQuery, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, vendorHeader, writeHeaders } from '../lib/http/schemas.ts';
import { toUuid } from '../lib/ids.ts';
import { listApiKeys } from './api-key-store.ts';
import { apiKeyJson, createApiKey, revokeApiKey } from './api-keys.ts';
import { ApiKey, CreateApiKeyBody, CreatedApiKey } from './schema.ts';

const tags = ['API keys'];
const Cursor = Type.Tuple([idOf('api_key')]);
const keyErrors = ['idempotency_key_reused', 'request_in_flight'] as const;
const headers = Type.Object({ ...writeHeaders.properties, ...vendorHeader });

type Dependencies = { db: Db; masterKey: Key; clock: Clock; announceRevocation(): void };

/**
 * The keys of the vendor that the caller is or acts for: `/api-keys`. A platform caller that acts for no vendor
 * manages the platform's own keys. A key has the mode of the caller that makes it.
 */
export const apiKeyRoutes =
  ({ db, masterKey, clock, announceRevocation }: Dependencies): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/api-keys',
      {
        config: { requires: 'admin', dryRun: 'preview', withoutVendor: true, errors: keyErrors },
        schema: {
          operationId: 'createApiKey',
          tags,
          summary: 'Create an API key',
          description:
            'The key is shown in this answer only; a retry with the same Idempotency-Key shows it again. It acts in the ' +
            'mode of the credential that made it.',
          headers,
          body: CreateApiKeyBody,
          response: { 201: CreatedApiKey },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const { secret, ...answer } = await createApiKey({ db, masterKey }, write, {
          owner: request.caller,
          body: request.body,
        });
        reply.header('cache-control', 'no-store');
        return sendAnswer(reply, answer, { ...snapshotOf(answer), key: secret.reveal() });
      },
    );

    app.get(
      '/api-keys',
      {
        config: { requires: 'admin', withoutVendor: true },
        schema: {
          operationId: 'listApiKeys',
          tags,
          summary: 'List API keys, the newest first',
          description: 'Those of the mode of the caller, revoked ones too.',
          headers: Type.Object(vendorHeader),
          querystring: listQuery({}),
          response: { 200: listOf(ApiKey) },
        },
      },
      async (request) => {
        const { limit, cursor } = request.query;
        const [before] = decodeCursor(cursor, Cursor) ?? [];
        const page = { owner: request.caller, limit: limit + 1, before: before && toUuid(before) };
        const rows = await listApiKeys(db, page);
        return pageOf(rows, { limit, positionOf: (row) => [apiKeyJson(row).id], render: apiKeyJson });
      },
    );

    app.delete(
      '/api-keys/:id',
      {
        config: { requires: 'admin', dryRun: 'preview', withoutVendor: true, errors: keyErrors },
        schema: {
          operationId: 'revokeApiKey',
          tags,
          summary: 'Revoke an API key',
          description:
            'It is refused everywhere within about a second. It stays in the list, with `revoked_at`.',
          headers,
          params: idParams('api_key', 'API key'),
          response: { 200: ApiKey },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await revokeApiKey(db, write, request.caller, request.params.id);
        announceRevocation();
        return sendAnswer(reply, answer, snapshotOf(answer));
      },
    );
  };

/** The body of an answer is the snapshot of its journal entry, which `apiKeyJson` made. */
const snapshotOf = ({ entry }: { entry: { snapshot: unknown } }) =>
  entry.snapshot as ReturnType<typeof apiKeyJson>;
