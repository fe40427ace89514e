import type { Logger } from 'pino';
import { startListening, type Listening } from '../lib/http/listen.ts';
import type { Drain } from '../lib/http/drain.ts';
import { buildServer, type ServerSettings } from '../lib/http/server.ts';
import type { Clock } from '../lib/clock.ts';
import type { Metrics } from '../lib/metrics.ts';
import { healthRoutes, type Probes } from './health.ts';
import { plainMetricsRoutes } from './metrics.ts';

type InternalListenerOptions = {
  config: ServerSettings;
  log: Logger;
  clock: Clock;
  metrics: Metrics;
  probes: Probes;
  drain?: Drain | undefined;
  host: string;
  port: number;
};

/** The internal listener: plain HTTP for the probes of an orchestrator and for Prometheus, and nothing else. */
export const startInternalListener = async (options: InternalListenerOptions): Promise<Listening> => {
  const { config, log, clock, metrics, probes, drain, host, port } = options;
  const app = buildServer({ config, log, clock, metrics, name: 'internal', tls: false });
  await app.register(healthRoutes({ probes, clock, drain }));
  await app.register(plainMetricsRoutes({ metrics }));
  return startListening(app, { host, port, log });
};
