import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
} from 'fastify';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { AppError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Metrics } from '../metrics.ts';
import { acceptJson } from './body.ts';
import { answerUnreadable, createBoundedServer, headerFault, type ConnectionLimits } from './connection.ts';
import { allowOrigins } from './cors.ts';
import { closeGracefully } from './drain.ts';
import { givenRequestId, securityHeaders } from './headers.ts';
import { answerMissing } from './missing.ts';
import { problemHeaders, problemMediaType, problemOf, refusalOf, sendProblem } from './problem.ts';
import { recordRequests } from './requests.ts';
import { declareRoutes } from './route.ts';
import { secureOptions, type TlsSettings } from './tls.ts';
import { traceOf, traceparentOf } from './trace.ts';
import { invalid, validatorCompiler } from './validation.ts';

/** A server to mount routes on, typed by their TypeBox schemas. */
export type App = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** The part of the configuration that a server needs; times in milliseconds. */
export type ServerSettings = {
  server: ConnectionLimits & {
    trustProxy: boolean | string[];
    bodyLimitBytes: number;
    shutdownGraceMs: number;
    tls: TlsSettings;
    cors: { allowedOrigins: readonly string[]; allowCredentials: boolean };
  };
};

export type ServerOptions = {
  config: ServerSettings;
  log: Logger;
  clock: Clock;
  metrics: Metrics;
  /** Which service this is, for its log lines. */
  name: string;
  /** HTTPS or plain HTTP; unless given, what the configuration says. Internal listeners are plain. */
  tls?: boolean;
};

/**
 * A server that answers every refusal as problem+json, bounds everything a client may send, names and logs each request
 * once, and finishes what it accepted when it is closed. It has no routes yet, and checks no credentials: whoever
 * mounts routes mounts the authentication with them.
 */
export const buildServer = ({
  config: { server: settings },
  log,
  clock,
  metrics,
  name,
  tls,
}: ServerOptions): App => {
  const serverLog = log.child({ server: name });
  // Fastify's own type, or every plugin would have to be typed for pino.
  const loggerInstance: FastifyBaseLogger = serverLog;
  const secure = (tls ?? settings.tls.enabled) ? secureOptions(settings.tls) : undefined;
  const app = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    serverFactory: (handle) => createBoundedServer(settings, handle, secure),
    clientErrorHandler: (error, socket) => answerUnreadable({ log: serverLog, clock }, error, socket),
    frameworkErrors: answerEarly,
    genReqId: (request) => givenRequestId(request.headers['x-request-id']) ?? newId('request'),
    requestIdHeader: false,
    trustProxy: settings.trustProxy,
    bodyLimit: settings.bodyLimitBytes,
    // What arrives while the server closes is still answered; `closeGracefully` bounds how long.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.setValidatorCompiler(validatorCompiler);
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
  declareRoutes(app);
  acceptJson(app);
  nameRequests(app);
  recordRequests(app, metrics);
  allowOrigins(app, settings.cors);
  answerMissing(app);
  closeGracefully(app, settings.shutdownGraceMs);
  return app;
};

/** Gives every request its trace and every answer the header fields that all answers carry. */
const nameRequests = (app: FastifyInstance): void => {
  // The type wants a trace from the start; the first hook of every request sets it.
  app.decorateRequest('trace', undefined as unknown as FastifyRequest['trace']);
  app.addHook('onRequest', (request, reply, done) => {
    request.trace = traceOf(request.headers.traceparent);
    // Fastify would write the names in small letters.
    for (const name in securityHeaders) reply.raw.setHeader(name, securityHeaders[name] ?? '');
    reply.header('x-request-id', request.id);
    reply.header('traceparent', traceparentOf(request.trace));
    const fault = headerFault(request.raw) ?? queryFault(request.url);
    if (fault) done(fault);
    else done();
  });
};

/** The router checks the path; a query that is not UTF-8 would reach the routes with its escapes or replaced by U+FFFD. */
const queryFault = (url: string): AppError | undefined => {
  const start = url.indexOf('?');
  if (start === -1 || !url.includes('%', start)) return undefined;
  try {
    decodeURIComponent(url.slice(start));
    return undefined;
  } catch {
    return invalid([{ field: 'query', message: 'must be percent-encoded UTF-8' }]);
  }
};

/** Answers what the router refuses before a request has hooks: a URL that cannot be decoded, a parameter too long. */
const answerEarly = (error: Error, request: FastifyRequest, reply: { raw: ServerResponse }): void => {
  const refusal = refusalOf(error);
  reply.raw.writeHead(refusal.status, {
    ...securityHeaders,
    ...problemHeaders(refusal),
    'x-request-id': request.id,
    'content-type': problemMediaType,
  });
  reply.raw.end(JSON.stringify(problemOf(refusal, request.id)));
};
