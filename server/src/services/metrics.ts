import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyPluginAsync } from 'fastify';
import { AppError } from '../lib/errors.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Secret } from '../lib/secret.ts';

const probe = { requires: 'public', probe: true } as const;

/**
 * Prometheus' metrics on the public port, for whoever knows the token; without a configured token for nobody.
 * @throws AppError 401
 */
export const metricsRoutes = (options: {
  metrics: Metrics;
  token: Secret | undefined;
}): FastifyPluginAsync => {
  const { metrics, token } = options;
  return async (app) => {
    for (const path of ['/metrics', '/internal/metrics', '/api/metrics']) {
      app.get(path, { config: probe, schema: { hide: true } }, async (request, reply) => {
        if (!isToken(request.headers.authorization, token)) {
          throw new AppError('authentication_required', 'Send the metrics token as Authorization: Bearer.');
        }
        return reply.type(metrics.contentType).send(await metrics.text());
      });
    }
  };
};

/** Prometheus' metrics on the internal listener, to which its annotations point: plain, for the cluster alone. */
export const plainMetricsRoutes = ({ metrics }: { metrics: Metrics }): FastifyPluginAsync => {
  return async (app) => {
    app.get('/metrics', { config: probe, schema: { hide: true } }, async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
  };
};

const isToken = (authorization: string | undefined, token: Secret | undefined): boolean => {
  const [, given] = /^bearer +(.+)$/i.exec(authorization ?? '') ?? [];
  if (given === undefined || token === undefined) return false;
  // Digests have one length, so comparing them tells nothing about the token's.
  return timingSafeEqual(digest(given), digest(token.reveal()));
};

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
