import { openCache, type Cache } from '../lib/cache.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import type { Config, LoadedConfig } from '../lib/config/config.ts';
import { processEnv } from '../lib/config/environment.ts';
import type { ConnectionOptions } from '../lib/database.ts';
import { startListening, type Listening } from '../lib/http/listen.ts';
import { startRedirect } from '../lib/http/redirect.ts';
import { buildServer, type App } from '../lib/http/server.ts';
import { reloadCertificate } from '../lib/http/tls.ts';
import { createLog, moduleLog, type Log } from '../lib/log.ts';
import { createMetrics, type Metrics } from '../lib/metrics.ts';
import { openSecrets } from '../secrets/secrets.ts';
import type { SecretSource } from '../secrets/source.ts';
import { localDirectory } from '../access/local.ts';
import { refuseDemo } from '../vendors/demo.ts';
import { openCore, type Core } from './core.ts';
import { documentationRoutes } from './documentation.ts';
import { buildEapi } from './eapi.ts';
import { mountEdge } from './edge.ts';
import { apiHealthRoutes, healthRoutes, type Probes } from './health.ts';
import { startInternalListener } from './listener.ts';
import { metricsRoutes } from './metrics.ts';
import { publishedDocument } from './document.ts';
import { mountCore } from './routes.ts';
import { buildSapi } from './sapi.ts';

/** A service that runs: where it is reached, and how to stop it without losing what it accepted. */
export type Running = {
  urls: Readonly<Record<string, string>>;
  /** Takes up a renewed certificate; open connections keep theirs. */
  reload(): void;
  stop(): Promise<void>;
};

/** What every service is given and opens. */
type Parts = {
  config: Config;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  cache: Cache;
  secrets: SecretSource;
};

const openParts = ({ config, warnings }: LoadedConfig): Parts => {
  const clock = systemClock;
  const log = createLog(config, { service: config.service });
  for (const warning of warnings) log.warn(warning);
  return {
    config,
    clock,
    log,
    metrics: createMetrics(),
    cache: openCache({ redis: config.redis, log: moduleLog(log, 'cache'), clock }),
    secrets: openSecrets(config, { env: processEnv(), clock }),
  };
};

/** Edge and core in one process (`npm start`, `bin/api`): no hop between them. */
export const runApi = async (loaded: LoadedConfig, connection: ConnectionOptions): Promise<Running> => {
  const parts = openParts(loaded);
  const { config, log, clock, metrics } = parts;
  const core = await openSafeCore(parts, connection);
  const app = buildServer({ config, log: moduleLog(log, 'http'), clock, metrics, name: 'api' });
  const edge = mountEdge(app, { ...parts, directory: localDirectory({ db: core.parts.db, clock }) });
  mountCore(app, core.parts, edge.events);
  const probes = { database: core.ping, cache: () => parts.cache.probe(), internal: core.ping };
  mountPublic(app, parts, probes);
  return run(parts, probes, { app, ...publicAddress(config), close: core.close });
};

/** The edge alone: it has no database and asks `sapi`. */
export const runEapi = async (loaded: LoadedConfig): Promise<Running> => {
  const parts = openParts(loaded);
  const { app, directory } = buildEapi(parts);
  const ask = () => directory.health();
  const probes = { database: ask, cache: () => parts.cache.probe(), internal: ask };
  mountPublic(app, parts, probes);
  return run(parts, probes, { app, ...publicAddress(parts.config), close: async () => undefined });
};

/** The core alone, on the internal network. */
export const runSapi = async (loaded: LoadedConfig, connection: ConnectionOptions): Promise<Running> => {
  const parts = openParts(loaded);
  const core = await openSafeCore(parts, connection);
  const app = buildSapi({ ...parts, ...core.parts });
  const probes = { database: core.ping, cache: () => parts.cache.probe(), internal: core.ping };
  app.register(healthRoutes({ probes, clock: parts.clock }));
  const { sapiHost: host, sapiPort: port } = parts.config.server;
  return run(parts, probes, { app, host, port, close: core.close });
};

/** The core, once it is sure that no demo credential opens it in production. */
const openSafeCore = async (parts: Parts, connection: ConnectionOptions): Promise<Core> => {
  const core = openCore({ ...parts, connection });
  try {
    await refuseDemo(core.parts, parts.config.env);
    warnWithoutBackend(parts, core);
    return core;
  } catch (error) {
    await core.close();
    await parts.cache.close();
    throw error;
  }
};

/** `book` and `sandbox` are for test mode; whoever runs for real has to know that live payments would be refused. */
const warnWithoutBackend = ({ config: { env }, log }: Parts, { parts: { payments } }: Core): void => {
  const hasBackend = [...payments.connectors.keys()].some((name) => name !== 'book' && name !== 'sandbox');
  if (hasBackend || env === 'dev' || env === 'test') return;
  log.warn('No payment backend is configured: payments in live mode are refused (no_connector)');
};

const publicAddress = ({ server: { host, port } }: Config) => ({ host, port });

/** What everybody may reach on the public port, besides the API. */
const mountPublic = (app: App, { config, clock, metrics }: Parts, probes: Probes): void => {
  app.register(healthRoutes({ probes, clock }));
  app.register(apiHealthRoutes({ probes, clock }));
  app.register(metricsRoutes({ metrics, token: config.metrics.token }));
  app.register(
    documentationRoutes({
      document: () => publishedDocument({ publicUrl: config.server.publicUrl, env: config.env }),
    }),
  );
  app.get('/', { config: { requires: 'public' }, schema: { hide: true } }, async (_, reply) =>
    reply.redirect('/docs'),
  );
};

type Service = { app: App; host: string; port: number; close(): Promise<void> };

/** Listens, with the internal listener and the redirect where they are configured. */
const run = async (parts: Parts, probes: Probes, service: Service): Promise<Running> => {
  const { config, log, cache } = parts;
  const listening: Listening[] = [];
  const stop = async (): Promise<void> => {
    // The public port first: it answers what it accepted while the rest still works.
    for (const listener of listening) await listener.stop();
    await service.close();
    await cache.close();
  };
  try {
    const { app, host, port } = service;
    const main = await startListening(app, { host, port, log, tls: config.server.tls });
    listening.push(main);
    const internal = await startInternal(parts, probes);
    if (internal) listening.push(internal);
    if (config.server.redirectPort !== undefined)
      listening.push(await redirect(parts, config.server.redirectPort));
    log.info('All services initialized');
    return { urls: urlsOf(config, main, internal), reload: () => reload(parts, app), stop };
  } catch (error) {
    await service.app.close();
    await stop();
    throw explained(error);
  }
};

/** A taken port is the operator's to solve, so the message says how. */
const explained = (error: unknown): unknown => {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'EADDRINUSE') return error;
  const port = 'port' in error ? String(error.port) : 'the port';
  const advice = 'Stop what listens there, or choose another port: PORT=3001 npm start';
  return new Error(`Port ${port} is taken by another program. ${advice}`, { cause: error });
};

const reload = ({ config, log }: Parts, app: App): void => {
  if (!config.server.tls.enabled) return;
  try {
    reloadCertificate(app.server, config.server.tls);
    log.info('Certificate reloaded');
  } catch (err) {
    log.error({ err }, 'The certificate could not be reloaded; the old one stays');
  }
};

/** The internal listener, where one is configured. */
const startInternal = async (parts: Parts, probes: Probes): Promise<Listening | undefined> => {
  const { healthHost: host, healthPort: port } = parts.config.server;
  if (port === undefined) return undefined;
  return startInternalListener({ ...parts, log: moduleLog(parts.log, 'http'), probes, host, port });
};

const redirect = ({ config: { server }, log, clock }: Parts, port: number): Promise<Listening> =>
  startRedirect({ host: server.host, port, httpsPort: server.port, limits: server, log, clock });

const urlsOf = (
  config: Config,
  main: Listening,
  internal: Listening | undefined,
): Record<string, string> => ({
  ...(config.service === 'sapi'
    ? { sapi: `http://${main.host}:${main.port}` }
    : { api: `${config.server.publicUrl}/api/v1`, documentation: `${config.server.publicUrl}/docs` }),
  health: internal ? `http://${internal.host}:${internal.port}/health` : `${config.server.publicUrl}/health`,
});
