import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { unmatchedRoute } from '../metrics.ts';
import { spanTimeMs, type Tracing } from '../tracing.ts';

/**
 * Records a span of each answered request whose trace is recorded, under the names of OpenTelemetry's semantic
 * conventions, and runs the request in its trace. By route template, never by URL; probes are left out.
 */
export const recordSpans = (app: FastifyInstance, tracing: Tracing): void => {
  app.addHook('onRequest', (request, _reply, done) => tracing.run(request.trace, done));
  // What reads the body comes out of the trace, since it is the socket's events that it follows.
  app.addHook('preValidation', (request, _reply, done) => tracing.run(request.trace, done));
  app.addHook('onResponse', (request, reply, done) => {
    const isProbe = request.routeOptions.config?.probe === true;
    if (request.trace.sampled && !isProbe) tracing.record(spanOf(request, reply));
    done();
  });
};

const spanOf = (request: FastifyRequest, reply: FastifyReply) => {
  const { trace, method, refusal } = request;
  const route = request.routeOptions.url ?? unmatchedRoute;
  const endedAtMs = spanTimeMs();
  return {
    name: `${method} ${route}`,
    kind: 'server' as const,
    traceId: trace.traceId,
    spanId: trace.spanId,
    parentId: trace.parentId,
    startedAtMs: endedAtMs - reply.elapsedTime,
    endedAtMs,
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': reply.statusCode,
      'florin.request_id': request.id,
      ...(refusal ? { 'error.type': refusal.code } : {}),
    },
    failed: reply.statusCode >= 500,
  };
};
