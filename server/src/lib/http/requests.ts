import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AppError } from '../errors.ts';
import { unmatchedRoute, type Metrics } from '../metrics.ts';
import type { Reports } from '../sentry.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** With what the request was refused, once it is. */
    refusal: AppError | undefined;
  }
}

/**
 * Counts every answered request and writes one log line about it: by route template, never by URL, so that ids and
 * query strings are in no log. Probes are logged at `debug`. Failures of ours are reported where that is configured.
 */
export const recordRequests = (
  app: FastifyInstance,
  metrics: Metrics,
  reports: Reports | undefined,
): void => {
  app.decorateRequest('refusal', undefined);
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? unmatchedRoute;
    const { method, refusal } = request;
    const { statusCode: status, elapsedTime: durationMs } = reply;
    metrics.observe({ method, route, status, durationMs });
    if (refusal) metrics.reject(refusal.code);
    if (request.isDryRun) metrics.dryRuns.inc({ route, status });
    if (refusal && isUnexpected(refusal)) reports?.report(refusal.cause ?? refusal, aboutOf(request, route));
    const level = request.routeOptions.config?.probe === true && status < 500 ? 'debug' : 'info';
    request.log[level](
      { ...lineOf(request), route, status, duration_ms: Math.round(durationMs * 100) / 100 },
      'request',
    );
    done();
  });
};

/** Records a request that was refused before it had a route or hooks; it took no time to speak of. */
export const recordEarly = (request: FastifyRequest, refusal: AppError, metrics: Metrics): void => {
  const [route, { method }, { status, code }] = [unmatchedRoute, request, refusal];
  metrics.observe({ method, route, status, durationMs: 0 });
  metrics.reject(code);
  request.log.info({ method, code, route, status, duration_ms: 0 }, 'request');
};

/** Refusing more than there is room for is what we are meant to do. */
const isUnexpected = ({ status, code }: AppError): boolean => status >= 500 && code !== 'overloaded';

const aboutOf = ({ id, method, refusal, trace }: FastifyRequest, route: string) => ({
  request_id: id,
  route: `${method} ${route}`,
  code: refusal?.code,
  trace_id: trace?.traceId,
});

const lineOf = (request: FastifyRequest) => ({
  method: request.method,
  tenant: request.knownCaller?.tenantId,
  actor: request.knownCaller?.actor,
  trace_id: request.trace?.traceId,
  code: request.refusal?.code,
});
