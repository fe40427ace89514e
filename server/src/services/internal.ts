import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { SecurityEvent, UsageReport, type Directory } from '../access/directory.ts';
import { AppError } from '../lib/errors.ts';
import { idParams } from '../lib/http/schemas.ts';
import type { PaymentsModule } from '../payments/module.ts';
import { settleByHand } from '../payments/by-hand.ts';
import { resolve } from '../payments/operations.ts';
import { Settlement, SettlementByHand } from '../payments/schema.ts';
import { resultOfSettlement } from '../payments/settlement.ts';
import { correct } from '../reconciliation/correct.ts';
import { breakParams, CorrectionByHand } from '../reconciliation/schema.ts';

/** Asked each second by every edge: its log lines would drown the others. */
const asked = { requires: 'admin', platformOnly: true, probe: true } as const;

/** Between services only (`sapi.ts` guards it with their tokens), and in no public document. */
const internal = { config: { requires: 'admin', platformOnly: true }, schema: { hide: true } } as const;

const KeyQuestion = { body: Type.Object({ digest: Type.String({ pattern: '^[0-9a-f]{64}$' }) }) };
const ClientQuestion = { body: Type.Object({ clientId: Type.String({ maxLength: 64 }) }) };
const VendorQuestion = { body: Type.Object({ vendor: Type.String({ maxLength: 64 }) }) };
const Since = {
  querystring: Type.Object({ since: Type.Optional(Type.String({ pattern: '^[0-9]{1,19}$' })) }),
};

const OfOperation = { params: idParams('operation'), body: Settlement };
const OfBreak = { params: breakParams, body: CorrectionByHand };
const OfDecision = { params: idParams('operation'), body: SettlementByHand };

type Parts = {
  directory: Directory;
  payments: PaymentsModule;
};

/**
 * What sapi answers to other services under `/internal/v1`: the directory, see `access/directory.ts`, and what only it may
 * write.
 */
export const internalRoutes =
  ({ directory, payments }: Parts): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/api-keys/resolve',
      { ...internal, schema: { ...internal.schema, ...KeyQuestion } },
      async ({ body }) => ({
        found: (await directory.resolveApiKey(body.digest)) ?? null,
      }),
    );

    app.post(
      '/clients/find',
      { ...internal, schema: { ...internal.schema, ...ClientQuestion } },
      async ({ body }) => ({
        found: (await directory.findClient(body.clientId)) ?? null,
      }),
    );

    app.post(
      '/vendors/find',
      { ...internal, schema: { ...internal.schema, ...VendorQuestion } },
      async ({ body }) => ({
        found: (await directory.findVendor(body.vendor)) ?? null,
      }),
    );

    app.get(
      '/revocations',
      { ...internal, config: asked, schema: { ...internal.schema, ...Since } },
      async ({ query }) => directory.revocationsSince(query.since),
    );

    app.post(
      '/usage',
      { ...internal, schema: { ...internal.schema, body: UsageReport } },
      async ({ body }) => {
        await directory.recordUsage(body);
        return {};
      },
    );

    app.post(
      '/security-events',
      { ...internal, schema: { ...internal.schema, body: SecurityEvent } },
      async ({ body }) => {
        await directory.recordSecurityEvent(body);
        return {};
      },
    );

    app.post(
      '/operations/:id/settle',
      { ...internal, schema: { ...internal.schema, ...OfOperation } },
      async ({ id: requestId, callingService, params: { id }, body: { tenantId, result } }) => {
        // Edges prove callers; none of them has business with money.
        if (callingService !== 'worker')
          throw new AppError('insufficient_permissions', 'Only the worker settles operations.');
        const by = { actor: `system:${callingService}`, requestId };
        return { state: await resolve(payments, by, { tenantId, id }, resultOfSettlement(result)) };
      },
    );

    app.post(
      '/operations/:id/settle-by-hand',
      { ...internal, schema: { ...internal.schema, ...OfDecision } },
      async ({ id: requestId, callingService, params: { id }, body: { by, result, reason } }) => {
        if (callingService !== 'cli')
          throw new AppError('insufficient_permissions', 'Only an operator settles operations by hand.');
        const decision = { actor: `cli:${by}`, requestId, result, reason };
        return { state: await settleByHand(payments, id, decision) };
      },
    );

    app.post(
      '/reconciliations/:id/breaks/:number/correct',
      { ...internal, schema: { ...internal.schema, ...OfBreak } },
      async ({ id: requestId, callingService, params, body: { by, tenantId, ...body } }) => {
        if (callingService !== 'cli')
          throw new AppError('insufficient_permissions', 'Only an operator corrects the books.');
        const now = payments.clock.now();
        const context = { tenantId, actor: `cli:${by}`, origin: undefined, requestId, now };
        const which = { id: params.id, number: Number(params.number) };
        const { entry } = await correct(payments, { context, key: undefined }, which, body);
        return entry.snapshot;
      },
    );

    app.get('/health', { ...internal, config: asked }, async () => {
      await directory.health();
      return {};
    });
  };
