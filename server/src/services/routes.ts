import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify';
import { authorize, type Access } from '../access/authorize.ts';
import type { SecurityEvents } from '../access/security-events.ts';
import type { CustomerKeys } from '../customers/keys.ts';
import { customerRoutes } from '../customers/routes.ts';
import { eventRoutes } from '../events/routes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import type { Key } from '../lib/crypto.ts';
import type { Db } from '../lib/database.ts';
import { platformTenantId } from '../lib/caller.ts';
import { AppError } from '../lib/errors.ts';
import { idempotencyKeyOf } from '../lib/http/route.ts';
import type { App } from '../lib/http/server.ts';
import type { Outbound } from '../lib/outbound/outbound.ts';
import type { SecretSource } from '../secrets/source.ts';
import { auditRoutes } from '../audit/routes.ts';
import { journalRoutes } from '../journal/routes.ts';
import { ledgerRoutes } from '../ledger/routes.ts';
import { listTransfers } from '../ledger/store.ts';
import type { PaymentsModule } from '../payments/module.ts';
import { callbackRoutes } from '../payments/callback-routes.ts';
import { paymentRoutes } from '../payments/routes.ts';
import { reconciliationRoutes } from '../reconciliation/routes.ts';
import { apiKeyRoutes } from '../vendors/api-key-routes.ts';
import { vendorRoutes } from '../vendors/routes.ts';
import { deliveryRoutes } from '../webhooks/delivery-routes.ts';
import { endpointRoutes } from '../webhooks/endpoint-routes.ts';
import type { EndpointKeys } from '../webhooks/secrets.ts';
import { describer } from './payments.ts';
import { previewWrites } from './preview.ts';

/** What the routes of the core work with. */
export type CoreParts = {
  db: Db;
  secrets: SecretSource;
  masterKey: Key;
  customerKeys: CustomerKeys;
  payments: PaymentsModule;
  outbound: Outbound;
  endpointKeys: EndpointKeys;
  webhooks: Pick<Config['webhooks'], 'endpointsMax'>;
  retention: Pick<Config['retention'], 'eventsDays'>;
  clock: Clock;
  /** Tells every edge, after the commit, that a credential was revoked. */
  announceRevocation(): void;
};

/** The routes of every module under `/api/v1`: a new module is one line here. */
export const moduleRoutes = (parts: CoreParts): readonly FastifyPluginAsync[] => [
  vendorRoutes(parts),
  apiKeyRoutes(parts),
  customerRoutes({ ...parts, keys: parts.customerKeys }),
  paymentRoutes({
    module: parts.payments,
    clock: parts.clock,
    describeCustomers: describer(parts.db, parts.customerKeys),
  }),
  eventRoutes({ ...parts, describeCustomers: describer(parts.db, parts.customerKeys) }),
  endpointRoutes(parts),
  deliveryRoutes(parts),
  ledgerRoutes(parts),
  reconciliationRoutes(parts),
  auditRoutes(parts),
  journalRoutes({ db: parts.db, readTransfers: (ids) => listTransfers(parts.db, ids) }),
];

/**
 * Mounts the core on a server whose requests have a proven caller: from the edge in one process, from a service token
 * between processes. Here it is decided what that caller may do.
 */
export const mountCore = (app: App, parts: CoreParts, events: SecurityEvents): void => {
  app.register(
    async (core) => {
      core.addHook('onRequest', async (request) => {
        try {
          authorize(request.caller, request.routeOptions.config);
        } catch (error) {
          // Whoever forgot to name a vendor was denied nothing.
          const isDenial = error instanceof AppError && error.code !== 'vendor_required';
          if (isDenial) events.record(request, 'access.denied', error, request.caller);
          throw error;
        }
      });
      core.addHook('preHandler', async (request) => requireKey(parts.payments, request));
      previewWrites(core, parts.db);
      for (const routes of moduleRoutes(parts)) await core.register(routes);
    },
    { prefix: '/api/v1' },
  );
  app.register(publicRoutes(parts), { prefix: callbacksPath });
};

/** Where payment backends call us. */
export const callbacksPath = '/callbacks';

/** The routes of the core that prove by themselves who is calling; they lie beside the API. */
export const publicRoutes = ({ payments }: Pick<CoreParts, 'payments'>): FastifyPluginAsync =>
  callbackRoutes(payments);

/**
 * A vendor may insist on an Idempotency-Key with every write. What the platform does about vendors is not theirs.
 * @throws AppError `idempotency_key_required`
 */
const requireKey = async ({ termsOf }: PaymentsModule, request: FastifyRequest): Promise<void> => {
  const { caller, routeOptions } = request;
  if (request.method === 'GET' || request.method === 'HEAD' || idempotencyKeyOf(request) !== undefined)
    return;
  if (caller.tenantId === platformTenantId || routeOptions.config.platformOnly === true) return;
  const { idempotencyRequired } = await termsOf(caller.tenantId);
  if (!idempotencyRequired) return;
  throw new AppError(
    'idempotency_key_required',
    'This vendor requires an Idempotency-Key header on every write.',
  );
};

/** One route as it was registered. */
export type RouteRow = { method: string; url: string } & Access;

/** Lists the routes that are registered on a server from now on: for the access matrix and for documentation. */
export const routeTable = (app: FastifyInstance): readonly RouteRow[] => {
  const rows: RouteRow[] = [];
  app.addHook('onRoute', ({ method, url, config }) => {
    if (!config) return;
    const { requires, platformOnly = false, withoutVendor = false } = config;
    for (const one of [method].flat()) rows.push({ method: one, url, requires, platformOnly, withoutVendor });
  });
  return rows;
};
