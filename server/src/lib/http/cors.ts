import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../errors.ts';

type CorsSettings = { allowedOrigins: readonly string[]; allowCredentials: boolean };

const methods = 'GET, POST, PATCH, DELETE';
const requestHeaders = [
  'Content-Type',
  'Idempotency-Key',
  'Dry-Run',
  'X-API-Key',
  'X-Client-ID',
  'X-Client-Secret',
  'Authorization',
  'Florin-Vendor',
  'X-Request-Id',
  'traceparent',
].join(', ');
const answerHeaders = [
  'X-Request-Id',
  'Idempotent-Replayed',
  'Dry-Run',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'traceparent',
].join(', ');
const preflightAgeS = 600;

/**
 * Lets browsers of the allowed origins in and refuses those of all others with 403, before anything is done for them.
 * The service's own pages (same origin) and callers that are no browser (no `Origin`) are never asked.
 * @throws Error when `*` is allowed together with credentials, which would let every site act for its visitors
 */
export const allowOrigins = (app: FastifyInstance, settings: CorsSettings): void => {
  const anyOrigin = settings.allowedOrigins.includes('*');
  if (anyOrigin && settings.allowCredentials) {
    throw new Error('server.cors: the origin * cannot be allowed together with credentials');
  }
  const origins = new Set(settings.allowedOrigins.map(normalised));

  app.addHook('onRequest', (request, reply, done) => {
    reply.header('vary', 'Origin');
    const { origin } = request.headers;
    if (origin === undefined || isOwn(request, origin)) return done();
    if (!anyOrigin && !origins.has(normalised(origin))) {
      return done(new AppError('origin_not_allowed', 'Pages of this origin may not call this service.'));
    }
    reply.header('access-control-allow-origin', anyOrigin ? '*' : origin);
    reply.header('access-control-expose-headers', answerHeaders);
    if (settings.allowCredentials) reply.header('access-control-allow-credentials', 'true');
    if (isPreflight(request)) {
      answerPreflight(reply);
      return;
    }
    done();
  });
};

const isPreflight = (request: FastifyRequest): boolean =>
  request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;

const answerPreflight = (reply: FastifyReply): void => {
  reply
    .headers({
      'access-control-allow-methods': methods,
      'access-control-allow-headers': requestHeaders,
      'access-control-max-age': String(preflightAgeS),
      'content-length': '0',
    })
    .code(204)
    .send();
};

/** Browsers send `Origin` with writes of a page to its own server too. */
const isOwn = (request: FastifyRequest, origin: string): boolean =>
  origin === `${request.protocol}://${request.host}`;

const normalised = (origin: string): string => origin.toLowerCase().replace(/\/$/, '');
