import { Transform, type Readable, type TransformCallback } from 'node:stream';
import replyFrom from '@fastify/reply-from';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { remoteDirectory } from '../access/remote.ts';
import { serviceTokenHeader, serviceTokens, type ServiceTokens } from '../access/service-token.ts';
import type { Directory } from '../access/directory.ts';
import type { Config } from '../lib/config/config.ts';
import { AppError } from '../lib/errors.ts';
import { buildServer, type App, type ServerSettings } from '../lib/http/server.ts';
import { traceparentOf } from '../lib/http/trace.ts';
import { mountEdge, type Edge, type EdgeParts } from './edge.ts';

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
  const { config, clock, log, metrics } = parts;
  const { sapiUrl } = config.server;
  const tokens = serviceTokens(config.auth.serviceSecret, clock);
  const directory = remoteDirectory({ sapiUrl, serviceTokens: tokens, service: 'eapi' });
  const app = buildServer({ config, log, clock, metrics, name: 'eapi' });
  const edge = mountEdge(app, { ...parts, directory });
  const { bodyLimitBytes } = config.server;
  app.register(forwarder({ sapiUrl, tokens, bodyLimitBytes, timeoutMs: parts.timeoutMs ?? 30_000 }));
  return { app, edge, directory };
};

type ForwarderParts = { sapiUrl: string; tokens: ServiceTokens; bodyLimitBytes: number; timeoutMs: number };

/** Sends everything else under `/api/v1` to sapi, as it streams in, with a token that names the proven caller. */
const forwarder =
  ({ sapiUrl, tokens, bodyLimitBytes, timeoutMs }: ForwarderParts) =>
  async (app: FastifyInstance): Promise<void> => {
    await app.register(replyFrom, {
      base: sapiUrl,
      disableCache: true,
      disableRequestLogging: true,
      undici: { connections: 256, pipelining: 1, headersTimeout: timeoutMs, bodyTimeout: timeoutMs },
    });
    // Before anything of the body is read: what is never read, Node throws away once the refusal is sent.
    app.addHook('onRequest', async ({ headers }) => {
      if (Number(headers['content-length'] ?? 0) > bodyLimitBytes) throw tooLarge();
    });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, payload, done) => done(null, bounded(payload, bodyLimitBytes)));

    app.route({
      method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
      url: '/api/v1/*',
      // Which role a request needs is decided where its route is: in sapi.
      config: { requires: 'viewer' },
      schema: { hide: true },
      handler: async (request, reply) => {
        const token = await tokens.issue({ service: 'eapi', caller: request.caller });
        return reply.from(request.url, {
          rewriteRequestHeaders: (_, headers) => forwardedHeaders(request, headers, token),
          rewriteHeaders: (headers) => ({ ...headers, traceparent: traceparentOf(request.trace) }),
          // A retry is the caller's decision, who has the Idempotency-Key.
          retryDelay: () => null,
          onError: (failed, { error }) => void failed.send(refusalOf(error)),
        });
      },
    });
  };

type Headers = Record<string, string | string[] | undefined>;

/** Those that reach sapi. All others stay here: credentials, hop-by-hop fields, and every claim about who is calling. */
const passedOn = [
  'host',
  'content-type',
  'content-length',
  'accept',
  'accept-language',
  'user-agent',
  'idempotency-key',
  'if-match',
  'if-none-match',
];

const forwardedHeaders = (request: FastifyRequest, headers: Headers, token: string): Headers => ({
  ...Object.fromEntries(
    passedOn.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  ),
  [serviceTokenHeader]: token,
  'x-request-id': request.id,
  'x-forwarded-for': request.ip,
  'x-forwarded-proto': request.protocol,
  traceparent: traceparentOf(request.trace),
});

/** The bytes of a body as they come, up to the limit; it may have been sent in chunks, without a length. */
const bounded = (payload: Readable, limitBytes: number): Readable => {
  let seenBytes = 0;
  const count = (chunk: Buffer, _: BufferEncoding, done: TransformCallback): void => {
    seenBytes += chunk.length;
    if (seenBytes <= limitBytes) return done(null, chunk);
    // The rest is thrown away, so that the caller, who is still sending, gets to read the refusal.
    payload.unpipe(counted);
    payload.resume();
    done(tooLarge());
  };
  const counted = new Transform({ transform: count });
  payload.on('error', (error) => counted.destroy(error));
  return payload.pipe(counted);
};

const tooLarge = (): AppError =>
  new AppError('body_too_large', 'The body is larger than this service accepts.');

/** What went wrong between the services, as the caller may know it. */
const refusalOf = (error: Error & { statusCode?: number }): AppError => {
  if (error.cause instanceof AppError) return error.cause;
  if (error.statusCode === 504) {
    return new AppError(
      'upstream_timeout',
      'The answer took too long, and what was asked may have happened. Send it again with the same Idempotency-Key.',
      { cause: error },
    );
  }
  return new AppError('unavailable', 'The service can’t be reached right now. Try again.', {
    cause: error,
    retryAfterS: 1,
  });
};
