import { Server as SecureServer } from 'node:https';
import { setTimeout as wait } from 'node:timers/promises';
import { openCache, type Cache } from '../lib/cache.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import type { Config, LoadedConfig } from '../lib/config/config.ts';
import { processEnv } from '../lib/config/environment.ts';
import type { ConnectionOptions } from '../lib/database.ts';
import { watchCertificate, type CertificateWatch } from '../lib/http/certificate.ts';
import type { Drain } from '../lib/http/drain.ts';
import { startListening, type Listening } from '../lib/http/listen.ts';
import { startRedirect } from '../lib/http/redirect.ts';
import { buildServer, serving, type App } from '../lib/http/server.ts';
import type { RunningJobs } from '../lib/jobs.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import { openObservers, type Observers } from '../lib/observers.ts';
import { takes } from '../payments/module.ts';
import { openSecrets } from '../secrets/secrets.ts';
import type { SecretSource } from '../secrets/source.ts';
import { senderOf } from '../access/credential.ts';
import { localDirectory } from '../access/local.ts';
import { serviceTokens } from '../access/service-token.ts';
import { refuseDemo } from '../vendors/demo.ts';
import { openCore, type Core } from './core.ts';
import { documentationRoutes } from './documentation.ts';
import { buildEapi } from './eapi.ts';
import { mountEdge } from './edge.ts';
import { apiHealthRoutes, healthRoutes, type Probes } from './health.ts';
import { startInternalListener } from './listener.ts';
import { metricsRoutes, plainMetricsRoutes } from './metrics.ts';
import { publishedDocument } from './document.ts';
import { describer } from './payments.ts';
import { mountCore } from './routes.ts';
import { buildSapi } from './sapi.ts';
import { buildWorker, localSettle, openWorker, startWorker } from './worker.ts';

/** A service that runs: where it is reached, and how to stop it without losing what it accepted. */
export type Running = {
  urls: Readonly<Record<string, string>>;
  /** Takes up a renewed certificate; open connections keep theirs. */
  reload(): void;
  /** Refuses new work, finishes what was accepted, tells what is left to tell. */
  stop(): Promise<void>;
  /** How long `stop` may take when all goes as it should. */
  stopWithinMs: number;
};

/** What every service is given and opens. */
type Parts = Observers & {
  config: Config;
  clock: Clock;
  log: Log;
  cache: Cache;
  secrets: SecretSource;
  drain: Drain;
  stopObservers(): Promise<void>;
};

const openParts = ({ config, warnings }: LoadedConfig): Parts => {
  const clock = systemClock;
  const observers = openObservers(config, clock);
  const { log } = observers;
  for (const warning of warnings) log.warn(warning);
  return {
    ...observers,
    config,
    clock,
    cache: openCache({ redis: config.redis, log: moduleLog(log, 'cache'), clock }),
    secrets: openSecrets(config, { env: processEnv(), clock }),
    drain: { isDraining: false },
  };
};

/** Edge and core in one process (`npm start`, `bin/api`): no hop between them. `npm start` runs a worker in it too. */
export const runApi = async (
  loaded: LoadedConfig,
  connection: ConnectionOptions,
  { withWorker = false }: { withWorker?: boolean } = {},
): Promise<Running> => {
  const parts = openParts(loaded);
  const { config, log, clock } = parts;
  const core = await openSafeCore(parts, connection);
  const httpLog = moduleLog(log, 'http');
  const app = buildServer({ ...serving(parts), log: httpLog, config, name: 'api', senderOf });
  const edge = mountEdge(app, { ...parts, directory: localDirectory({ db: core.parts.db, clock }) });
  mountCore(app, core.parts, edge.events);
  const probes = { database: core.ping, cache: () => parts.cache.probe(), internal: core.ping };
  mountPublic(app, parts, probes);
  const worker = withWorker ? startOwnWorker(parts, core, connection) : undefined;
  const close = async (): Promise<void> => {
    await worker?.stop();
    await core.close();
  };
  return run(parts, probes, { app, ...publicAddress(config), close });
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
  app.register(healthRoutes({ ...parts, probes }));
  app.register(plainMetricsRoutes(parts));
  const { sapiHost: host, sapiPort: port } = parts.config.server;
  return run(parts, probes, { app, host, port, close: core.close });
};

/** The worker alone, as often as one likes. It reads the database, and lets `sapi` write money. */
export const runWorker = async (loaded: LoadedConfig, connection: ConnectionOptions): Promise<Running> => {
  const parts = openParts(loaded);
  const serviceTokensOfWorker = serviceTokens(parts.config.auth.serviceSecret, parts.clock);
  const worker = openWorker({ ...parts, connection, serviceTokens: serviceTokensOfWorker });
  const probes = { database: worker.ping, cache: () => parts.cache.probe(), internal: worker.ping };
  const app = buildWorker({ ...parts, log: moduleLog(parts.log, 'http'), probes });
  const { workerHost: host, workerPort: port } = parts.config.server;
  return run(parts, probes, { app, host, port, close: worker.close });
};

/** A worker in the process of the core: nobody has to be asked to write money. */
const startOwnWorker = (parts: Parts, core: Core, connection: ConnectionOptions): RunningJobs => {
  const { db, customerKeys, endpointKeys, outbound, payments } = core.parts;
  const { webhooks, retention, server } = parts.config;
  return startWorker(
    {
      ...parts,
      connection,
      db,
      outbound,
      endpointKeys,
      describeCustomers: describer(db, customerKeys),
      connectors: payments.connectors,
      connectorTimeoutMs: payments.connectorTimeoutMs,
      settle: localSettle(payments),
      webhooks,
      retention,
    },
    { graceMs: server.shutdownGraceMs },
  );
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
  const hasBackend = [...payments.connectors.values()].some((connector) => takes(connector, 'live'));
  if (hasBackend || env === 'dev' || env === 'test') return;
  log.warn('No payment backend is configured: payments in live mode are refused (no_connector)');
};

const publicAddress = ({ server: { host, port } }: Config) => ({ host, port });

/** What everybody may reach on the public port, besides the API. */
const mountPublic = (app: App, parts: Parts, probes: Probes): void => {
  const { config, metrics } = parts;
  app.register(healthRoutes({ ...parts, probes }));
  app.register(apiHealthRoutes({ ...parts, probes }));
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
  const { config, log } = parts;
  const listening: Listening[] = [];
  let certificate: CertificateWatch | undefined;
  const close = async (): Promise<void> => {
    certificate?.stop();
    // The public port first: it answers what it accepted while the rest still works.
    for (const listener of listening) await listener.stop();
    await service.close();
    await parts.cache.close();
  };
  const stop = async (): Promise<void> => {
    await leave(parts);
    await close();
    log.info('Stopped');
    await parts.stopObservers();
  };
  try {
    const { app, host, port } = service;
    certificate = watchOf(parts, app);
    const main = await startListening(app, { host, port, log, tls: config.server.tls });
    listening.push(main);
    const internal = await startInternal(parts, probes);
    if (internal) listening.push(internal);
    if (config.server.redirectPort !== undefined)
      listening.push(await redirect(parts, config.server.redirectPort));
    log.info('All services initialized');
    const { drainDelayMs, shutdownGraceMs } = config.server;
    return {
      urls: urlsOf(config, main, internal),
      reload: () => void certificate?.reload(),
      stop,
      stopWithinMs: drainDelayMs + shutdownGraceMs + closingMs,
    };
  } catch (error) {
    await service.app.close();
    await close();
    await parts.stopObservers();
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

/** What databases, caches, traces and the log may take to be closed, after the last request was answered. */
const closingMs = 10_000;

/** Tells everybody that this process takes no new work, and gives them the time to notice; until then it takes it. */
const leave = async ({ drain, log, config }: Parts): Promise<void> => {
  const { drainDelayMs } = config.server;
  drain.isDraining = true;
  log.info({ drain_delay_ms: drainDelayMs }, 'Stopping: not ready any more');
  await wait(drainDelayMs);
};

/** The one listener with a certificate is the public port: the internal one and the redirect are plain HTTP. */
const watchOf = (parts: Parts, { server }: App): CertificateWatch | undefined =>
  server instanceof SecureServer
    ? watchCertificate({ ...parts, server, tls: parts.config.server.tls })
    : undefined;

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
  ...(config.service === 'sapi' || config.service === 'worker'
    ? { [config.service]: `http://${main.host}:${main.port}` }
    : { api: `${config.server.publicUrl}/api/v1`, documentation: `${config.server.publicUrl}/docs` }),
  health: internal ? `http://${internal.host}:${internal.port}/health` : `${config.server.publicUrl}/health`,
});
