import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { localDirectory } from '../access/local.ts';
import { securityEvents } from '../access/security-events.ts';
import { serviceTokenHeader, serviceTokens, type ServiceTokens } from '../access/service-token.ts';
import type { Config } from '../lib/config/config.ts';
import { AppError } from '../lib/errors.ts';
import type { Drain } from '../lib/http/drain.ts';
import { buildServer, serving, type App, type ServerSettings } from '../lib/http/server.ts';
import type { Log } from '../lib/log.ts';
import type { Observers } from '../lib/observers.ts';
import { internalRoutes } from './internal.ts';
import { mountCore, type CoreParts } from './routes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Which service is asking, proven by its token. */
    callingService: string | undefined;
  }
}

export type SapiParts = CoreParts &
  Observers & {
    config: ServerSettings & Pick<Config, 'auth'>;
    log: Log;
    drain?: Drain;
  };

/**
 * The core as a service of its own: the API's routes for callers whom an edge has proven, and `/internal/v1` for the
 * other services. It listens on the internal network, in plain HTTP, and trusts nothing but service tokens.
 */
export const buildSapi = (parts: SapiParts): App => {
  const { config, db, clock, log } = parts;
  // Only holders of a service token get further, so the address they forward is the caller's.
  const settings = { server: { ...config.server, trustProxy: true } };
  // A service token names the caller, and stays the same for one caller for half a minute.
  const senderOf = (headers: IncomingHttpHeaders): string => String(headers[serviceTokenHeader] ?? '');
  const app = buildServer({ ...serving(parts), config: settings, name: 'sapi', tls: false, senderOf });
  const directory = localDirectory({ db, clock });
  const events = securityEvents({ directory, clock, onFailure: (err, what) => log.warn({ err }, what) });

  trustServices(app, serviceTokens(config.auth.serviceSecret, clock));
  mountCore(app, parts, events);
  app.register(internalRoutes({ directory, payments: parts.payments }), { prefix: '/internal/v1' });
  app.addHook('onClose', () => events.settled());
  return app;
};

/** A token that names a caller opens the API for that caller; one that names none opens `/internal`, and not the API. */
const trustServices = (app: App, tokens: ServiceTokens): void => {
  app.decorateRequest('callingService', undefined);
  app.addHook('onRequest', async (request) => {
    if (!request.is404 && request.routeOptions.config.requires === 'public') return;
    const call = tokens.check(String(request.headers[serviceTokenHeader] ?? ''));
    if (!call || isInternal(request) !== (call.caller === undefined)) {
      throw new AppError('authentication_required', 'A service token is required.');
    }
    request.callingService = call.service;
    if (call.caller) request.caller = call.caller;
  });
};

const isInternal = (request: FastifyRequest): boolean => request.url.startsWith('/internal/');
