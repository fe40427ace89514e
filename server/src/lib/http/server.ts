import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
} from 'fastify';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { AppError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Observers } from '../observers.ts';
import type { Tracing } from '../tracing.ts';
import { acceptJson } from './body.ts';
import { answerUnreadable, createBoundedServer, headerFault, type ConnectionLimits } from './connection.ts';
import { allowOrigins } from './cors.ts';
import { closeGracefully, type Drain } from './drain.ts';
import { readDryRun } from './dry-run.ts';
import { boundForwarded } from './forwarded.ts';
import { givenRequestId, securityHeaders } from './headers.ts';
import { answerMissing } from './missing.ts';
import { boundRequests, countRefusals } from './pressure.ts';
import { problemHeaders, problemMediaType, problemOf, refusalOf, sendProblem } from './problem.ts';
import { recordEarly, recordRequests } from './requests.ts';
import { declareRoutes } from './route.ts';
import { recordSpans } from './spans.ts';
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
    requestsMax: number;
    shutdownGraceMs: number;
    tls: TlsSettings;
    cors: { allowedOrigins: readonly string[]; allowCredentials: boolean };
  };
};

export type ServerOptions = Observers & {
  config: ServerSettings;
  log: Logger;
  clock: Clock;
  /** Which service this is, for its log lines. */
  name: string;
  /** HTTPS or plain HTTP; unless given, what the configuration says. Internal listeners are plain. */
  tls?: boolean;
  /** Tells when the process was told to stop. */
  drain?: Drain | undefined;
  /** What tells the senders of requests apart before anything is proven; unless given, all are one. */
  senderOf?: (headers: IncomingHttpHeaders) => string;
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
  tracing,
  reports,
  name,
  tls,
  drain,
  senderOf = () => '',
}: ServerOptions): App => {
  const serverLog = log.child({ server: name });
  // Fastify's own type, or every plugin would have to be typed for pino.
  const loggerInstance: FastifyBaseLogger = serverLog;
  const secure = (tls ?? settings.tls.enabled) ? secureOptions(settings.tls) : undefined;
  const probes = new Set<string>();
  const onRefused = countRefusals({ log: serverLog, metrics });
  const pressure = boundRequests({
    requestsMax: settings.requestsMax,
    senderOf,
    isExempt: (path) => probes.has(path),
    onRefused: (request) => onRefused('requests', request),
  });
  const app = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    serverFactory: (handle) =>
      createBoundedServer(settings, pressure.guard(handle), {
        secure,
        onDropped: () => onRefused('connections'),
      }),
    clientErrorHandler: (error, socket) =>
      answerUnreadable({ log: serverLog, clock, onRefused: metrics.reject }, error, socket),
    frameworkErrors: (error, request, reply) =>
      recordEarly(request, answerEarly(error, request, reply), metrics),
    genReqId: (request) => givenRequestId(request.headers['x-request-id']) ?? newId('request'),
    requestIdHeader: false,
    rewriteUrl: originForm,
    trustProxy: settings.trustProxy,
    bodyLimit: settings.bodyLimitBytes,
    // What arrives while the server closes is still answered; `closeGracefully` bounds how long.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.setValidatorCompiler(validatorCompiler);
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.probe === true) probes.add(url);
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    pressure.answered(reply.raw);
    done(null, payload);
  });
  declareRoutes(app);
  acceptJson(app);
  if (settings.trustProxy !== false) boundForwarded(app);
  nameRequests(app, tracing);
  recordRequests(app, metrics, reports);
  if (tracing) recordSpans(app, tracing);
  allowOrigins(app, settings.cors);
  readDryRun(app);
  answerMissing(app);
  closeGracefully(app, settings.shutdownGraceMs, drain);
  return app;
};

/** Of everything that a service is put together from, what every server of it is given. */
export const serving = ({
  log,
  clock,
  metrics,
  tracing,
  reports,
  drain,
}: Omit<ServerOptions, 'config' | 'name'>) => ({
  log,
  clock,
  metrics,
  tracing,
  reports,
  drain,
});

/** Gives every request its trace and every answer the header fields that all answers carry. */
const nameRequests = (app: FastifyInstance, tracing: Tracing | undefined): void => {
  // The type wants a trace from the start; the first hook of every request sets it.
  app.decorateRequest('trace', undefined as unknown as FastifyRequest['trace']);
  app.addHook('onRequest', (request, reply, done) => {
    request.trace = traceOf(request.headers.traceparent, tracing?.sampleRatio);
    // Fastify would write the names in small letters.
    for (const name in securityHeaders) reply.raw.setHeader(name, securityHeaders[name] ?? '');
    reply.header('x-request-id', request.id);
    reply.header('traceparent', traceparentOf(request.trace));
    const fault = headerFault(request.raw) ?? queryFault(request.url);
    if (fault) done(fault);
    else done();
  });
};

/**
 * Whoever asks for `http://host/path` means the path (RFC 9112, 3.2.2): here already, so that nobody further on takes the
 * host for an address to go to.
 */
const originForm = ({ url = '/' }: { url?: string | undefined }): string => {
  const [origin] = /^https?:\/\/[^/?#]*/i.exec(url) ?? [];
  if (origin === undefined) return url;
  const rest = url.slice(origin.length);
  return rest.startsWith('/') ? rest : `/${rest}`;
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
const answerEarly = (error: Error, request: FastifyRequest, reply: { raw: ServerResponse }): AppError => {
  const refusal = refusalOf(error);
  const body = JSON.stringify(problemOf(refusal, request.id));
  reply.raw.writeHead(refusal.status, {
    ...securityHeaders,
    ...problemHeaders(refusal),
    'x-request-id': request.id,
    'content-type': problemMediaType,
    'content-length': String(Buffer.byteLength(body)),
  });
  reply.raw.end(body);
  return refusal;
};
