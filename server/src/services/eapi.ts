import replyFrom from '@fastify/reply-from';
import Fastify, {
  type FastifyContextConfig,
  type FastifyInstance,
  type FastifyRequest,
  type HTTPMethods,
  type RouteHandlerMethod,
} from 'fastify';
import { senderOf } from '../access/credential.ts';
import { remoteDirectory } from '../access/remote.ts';
import { serviceTokenHeader, serviceTokens, type ServiceTokens } from '../access/service-token.ts';
import type { Directory } from '../access/directory.ts';
import type { Config } from '../lib/config/config.ts';
import { AppError } from '../lib/errors.ts';
import { buildServer, serving, type App, type ServerSettings } from '../lib/http/server.ts';
import { traceparentOf } from '../lib/http/trace.ts';
import { step } from '../lib/step.ts';
import { mountEdge, type Edge, type EdgeParts } from './edge.ts';
import { isBroken, retryDelayMs } from './retry.ts';
import { callbacksPath, moduleRoutes, publicRoutes } from './routes.ts';

type Settings = ServerSettings &
  Pick<Config, 'auth' | 'rateLimit'> & { server: Pick<Config['server'], 'sapiUrl'> };

export type EapiParts = Omit<EdgeParts, 'directory' | 'config'> & {
  config: Settings;
  /** How long sapi may take to begin its answer; longer than any of its own limits. */
  timeoutMs?: number;
};

export type Eapi = { app: App; edge: Edge; directory: Directory };

/** The edge as a service of its own: it authenticates, limits and forwards. It has no database. */
export const buildEapi = (parts: EapiParts): Eapi => {
  const { config, clock } = parts;
  const { sapiUrl } = config.server;
  const tokens = serviceTokens(config.auth.serviceSecret, clock);
  const directory = remoteDirectory({ sapiUrl, serviceTokens: tokens, service: 'eapi' });
  const app = buildServer({ ...serving(parts), config, name: 'eapi', senderOf });
  const edge = mountEdge(app, { ...parts, directory });
  const { bodyLimitBytes } = config.server;
  app.register(forwarder({ sapiUrl, tokens, bodyLimitBytes, timeoutMs: parts.timeoutMs ?? 30_000 }));
  return { app, edge, directory };
};

type ForwarderParts = { sapiUrl: string; tokens: ServiceTokens; bodyLimitBytes: number; timeoutMs: number };

/** How long a connection to sapi is kept without use: shorter than any sapi waits before it closes one (`drain_delay_ms`). */
const idleMs = 1_000;

/** Sends requests for the core to sapi, with a token that names the proven caller. */
const forwarder =
  ({ sapiUrl, tokens, bodyLimitBytes, timeoutMs }: ForwarderParts) =>
  async (app: FastifyInstance): Promise<void> => {
    await app.register(replyFrom, {
      base: sapiUrl,
      disableCache: true,
      disableRequestLogging: true,
      undici: {
        connections: 256,
        pipelining: 1,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        keepAliveTimeout: idleMs,
        keepAliveMaxTimeout: idleMs,
      },
    });
    // Before anything of the body is read: what is never read, Node throws away once the refusal is sent.
    app.addHook('onRequest', async ({ headers, routeOptions }) => {
      const { bodyLimitBytes: limit = bodyLimitBytes } = routeOptions.config;
      if (Number(headers['content-length'] ?? 0) > limit) throw tooLarge();
    });
    app.removeAllContentTypeParsers();
    // Whole, so that it can be sent a second time, and so that a slow client keeps nobody busy but us.
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

    const forward: RouteHandlerMethod = async (request, reply) => {
      const caller = request.knownCaller;
      // A message of a payment backend has no caller: sapi proves it by its signature.
      const token = caller && tokens.issue({ service: 'eapi', caller });
      step('forward.send');
      const { method, body } = request;
      const idempotencyKey = request.headers['idempotency-key'];
      return reply.from(request.url, {
        ...(Buffer.isBuffer(body) ? { body, contentType: 'application/octet-stream' } : {}),
        rewriteRequestHeaders: (_, headers) => forwardedHeaders(request, headers, token),
        rewriteHeaders: (headers) => {
          step('forward.answered');
          return { ...endToEnd(headers), traceparent: traceparentOf(request.trace) };
        },
        onResponse: (_, answered, { stream }) => {
          if (answered.statusCode !== 401 || token === undefined) return void answered.send(stream);
          stream.resume();
          return void answered.removeHeader('www-authenticate').send(untrusted());
        },
        retryDelay: ({ err, attempt }) =>
          retryDelayMs({ request: { method, idempotencyKey }, error: err, attempt }),
        onError: (failed, { error }) => void failed.send(refusalOf(error)),
      });
    };
    for (const { method, url, config } of await coreRoutes())
      // Whether the caller has the role that is required is decided where the route is: in sapi.
      app.route({
        method,
        url,
        config,
        bodyLimit: config.bodyLimitBytes ?? bodyLimitBytes,
        schema: { hide: true },
        exposeHeadRoute: false,
        handler: forward,
      });
  };

type CoreRoute = { method: HTTPMethods | HTTPMethods[]; url: string; config: FastifyContextConfig };

/**
 * The routes of the core, as sapi mounts them. The edge knows them so that it answers other methods, OPTIONS and
 * unknown paths as one process does, and sapi is asked for nothing that it has not.
 */
const coreRoutes = async (): Promise<readonly CoreRoute[]> => {
  const found: CoreRoute[] = [];
  const app = Fastify();
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config) found.push({ method, url, config });
  });
  // Only registered, never called, so nothing of what their handlers work with is needed.
  const nothing = {} as never;
  for (const routes of moduleRoutes(nothing)) await app.register(routes, { prefix: '/api/v1' });
  await app.register(publicRoutes(nothing), { prefix: callbacksPath });
  return found;
};

type Headers = Record<string, string | string[] | undefined>;

/** Those that reach sapi. All others stay here: credentials, hop-by-hop fields, and every claim about who is calling. */
const passedOn = [
  'host',
  'content-type',
  'content-encoding',
  'content-length',
  'accept',
  'accept-language',
  'user-agent',
  'idempotency-key',
  'dry-run',
  'if-match',
  'if-none-match',
  // Signatures of payment backends.
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
  'stripe-signature',
];

/** What is said about one connection, not about the answer (RFC 9110, 7.6.1): the caller has another one, to us. */
const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

const endToEnd = <Value>(headers: Readonly<Record<string, Value>>): Record<string, Value> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.includes(name)));

const forwardedHeaders = (request: FastifyRequest, headers: Headers, token: string | undefined): Headers => ({
  ...Object.fromEntries(
    passedOn.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  ),
  'content-type': request.headers['content-type'],
  ...(token !== undefined && { [serviceTokenHeader]: token }),
  'x-request-id': request.id,
  'x-forwarded-for': request.ip,
  'x-forwarded-proto': request.protocol,
  traceparent: traceparentOf(request.trace),
});

const tooLarge = (): AppError =>
  new AppError('body_too_large', 'The body is larger than this service accepts.');

/** Callers are proven here: what sapi does not accept is our own token, and none of their doing. */
const untrusted = (): AppError =>
  new AppError('unavailable', 'The service can’t be reached right now. Try again.', {
    cause: new Error('sapi refused the service token: compare the clocks and auth.service_secret of both'),
    retryAfterS: 1,
  });

/** What went wrong between the services, as the caller may know it. */
const refusalOf = (error: Error & { statusCode?: number }): AppError => {
  if (error.cause instanceof AppError) return error.cause;
  if (error.statusCode === 504) {
    return new AppError(
      'upstream_timeout',
      'The answer took too long, and what was asked may have happened. Send it again with the same Idempotency-Key.',
      { cause: error, retryAfterS: 1 },
    );
  }
  if (isBroken(error.cause)) {
    return new AppError(
      'unavailable',
      'The connection broke, and what was asked may have happened. Send it again with the same Idempotency-Key.',
      { cause: error, retryAfterS: 1 },
    );
  }
  return new AppError('unavailable', 'The service can’t be reached right now. Try again.', {
    cause: error,
    retryAfterS: 1,
  });
};
