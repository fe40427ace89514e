import type { FastifyInstance, FastifyRequest } from 'fastify';
import { unmatchedRoute, type Metrics } from '../metrics.ts';

/**
 * Counts every answered request and writes one log line about it: by route template, never by URL, so that ids and
 * query strings are in no log. Probes are logged at `debug`.
 */
export const recordRequests = (app: FastifyInstance, metrics: Metrics): void => {
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? unmatchedRoute;
    const { method } = request;
    const { statusCode: status, elapsedTime: durationMs } = reply;
    metrics.observe({ method, route, status, durationMs });
    const level = request.routeOptions.config?.probe === true && status < 500 ? 'debug' : 'info';
    request.log[level](
      { ...lineOf(request), route, status, duration_ms: Math.round(durationMs * 100) / 100 },
      'request',
    );
    done();
  });
};

const lineOf = (request: FastifyRequest) => ({
  method: request.method,
  tenant: request.knownCaller?.tenantId,
  actor: request.knownCaller?.actor,
  trace_id: request.trace?.traceId,
});
