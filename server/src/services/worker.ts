import { sql } from 'kysely';
import { internalApi } from '../access/remote.ts';
import type { ServiceTokens } from '../access/service-token.ts';
import { openCustomerKeys } from '../customers/keys.ts';
import { sequencerJob } from '../journal/sequencer.ts';
import { entriesChannel, sealedChannel } from '../lib/bell.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { openDatabase, type ConnectionOptions, type Db } from '../lib/database.ts';
import type { Drain } from '../lib/http/drain.ts';
import { buildServer, serving, type App, type ServerSettings } from '../lib/http/server.ts';
import { startJobs, type Job, type RunningJobs } from '../lib/jobs.ts';
import { openListener, type Listener } from '../lib/listen.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Observers } from '../lib/observers.ts';
import { openOutbound } from '../lib/outbound/outbound.ts';
import { schedulesJob } from '../lib/schedules.ts';
import type { Connector } from '../payments/connectors/connector.ts';
import type { PaymentsModule } from '../payments/module.ts';
import type { OperationState } from '../payments/operation-store.ts';
import { paymentSchedules } from '../payments/housekeeping.ts';
import { resolve } from '../payments/operations.ts';
import { resolverJob, type Resolver } from '../payments/resolver.ts';
import { settlementOf } from '../payments/settlement.ts';
import type { SecretSource } from '../secrets/source.ts';
import { webhookSchedules } from '../webhooks/housekeeping.ts';
import { webhookJobs, type WebhookParts } from '../webhooks/jobs.ts';
import { openEndpointKeys } from '../webhooks/secrets.ts';
import { healthRoutes, type Probes } from './health.ts';
import { plainMetricsRoutes } from './metrics.ts';
import { closeConnectors, describer, openConnectors } from './payments.ts';

type Settle = Resolver['settle'];

/** What the jobs of a worker work with. */
export type WorkerParts = Observers & {
  db: Db;
  /** For a job that needs a connection of its own: locks of a session, LISTEN. */
  connection: ConnectionOptions;
  secrets: SecretSource;
  connectors: ReadonlyMap<string, Connector>;
  connectorTimeoutMs: number;
  /** Writes money, in `sapi`: `localSettle` or `remoteSettle`. */
  settle: Settle;
  clock: Clock;
  log: Log;
  retention: Config['retention'];
} & Pick<WebhookParts, 'outbound' | 'endpointKeys' | 'describeCustomers' | 'webhooks'>;

type ResolverParts = Pick<
  WorkerParts,
  'db' | 'connectors' | 'connectorTimeoutMs' | 'settle' | 'clock' | 'log' | 'metrics'
>;

/** Everything a worker does: a new job is one line here. Several workers may run them side by side. */
const workerJobs = (parts: WorkerParts, listener: Listener): readonly Job[] => [
  sequencerJob({
    ...parts,
    log: moduleLog(parts.log, 'sequencer'),
    wake: listener.wakeOf(entriesChannel),
  }),
  resolverJob(resolverOf(parts)),
  ...webhookJobs({ ...parts, listener }),
  housekeepingJob(parts),
];

/** What is too old is removed: a new schedule is one line of its module. Journal entries stay. */
const housekeepingJob = (parts: WorkerParts): Job =>
  schedulesJob([...paymentSchedules(parts), ...webhookSchedules(parts)], {
    ...parts,
    log: moduleLog(parts.log, 'schedules'),
    onRun: (_, result) => parts.metrics.messages.inc({ kind: 'schedule', result }),
  });

/** The resolver of a worker; what it does is told by its metrics and its log. */
export const resolverOf = ({ metrics, log, ...parts }: ResolverParts): Resolver => ({
  ...parts,
  log: moduleLog(log, 'resolver'),
  onAsked: (result) => metrics.messages.inc({ kind: 'resolve', result }),
  onMeasured: ({ count, oldestAgeS }) => {
    metrics.unresolvedOperations.set(count);
    metrics.unresolvedAge.set(oldestAgeS);
  },
});

/** A job that failed, because the database was away, is back within seconds of it. */
const pauseMs = { first: 250, max: 5_000 };

/** Runs the jobs until they are stopped. */
export const startWorker = (parts: WorkerParts, { graceMs }: { graceMs: number }): RunningJobs => {
  const { connection, log, clock, metrics, reports } = parts;
  const workerLog = moduleLog(log, 'worker');
  const listener = openListener(connection, {
    channels: [entriesChannel, sealedChannel],
    applicationName: 'florin-listener',
    onLost: (err) => workerLog.warn({ err }, 'Notifications are not heard: new entries are looked for'),
  });
  const jobs = startJobs(workerJobs(parts, listener), {
    log: workerLog,
    clock,
    graceMs,
    pauseMs,
    onFailure: (job, error) => {
      metrics.jobFailures.inc({ job });
      reports?.report(error, { job });
    },
  });
  const stop = async (): Promise<void> => {
    await jobs.stop();
    await listener.close();
  };
  return { stop };
};

/** In one process with the core. */
export const localSettle =
  (payments: PaymentsModule): Settle =>
  (key, result) =>
    resolve(payments, { actor: 'system:worker', requestId: undefined }, key, result);

/** How long sapi may take to write a settlement: longer than it waits for a lock. */
const settleTimeoutMs = 20_000;

/** From a process of its own: sapi's internal API. */
export const remoteSettle = (parts: { sapiUrl: string; serviceTokens: ServiceTokens }): Settle => {
  const ask = internalApi(
    { ...parts, service: 'worker' },
    { timeoutMs: settleTimeoutMs, unavailable: 'sapi could not settle the operation.' },
  );
  return async ({ tenantId, id }, result) => {
    const answer = await ask<{ state: OperationState }>('POST', `/operations/${id}/settle`, {
      tenantId,
      result: settlementOf(result),
    });
    return answer.state;
  };
};

type Options = Observers & {
  config: Pick<
    Config,
    'database' | 'payments' | 'backend' | 'stripe' | 'encryption' | 'outbound' | 'webhooks' | 'retention'
  > & {
    server: Pick<Config['server'], 'sapiUrl' | 'shutdownGraceMs'>;
  };
  connection: ConnectionOptions;
  secrets: SecretSource;
  serviceTokens: ServiceTokens;
  clock: Clock;
  log: Log;
};

/** A worker in a process of its own, running; it reads the database, and lets sapi write money. */
export const openWorker = (options: Options): { ping(): Promise<unknown>; close(): Promise<void> } => {
  const { config, connection, serviceTokens, clock, log, metrics } = options;
  const { sapiUrl, shutdownGraceMs } = config.server;
  const databaseLog = moduleLog(log, 'database');
  const database = openDatabase({
    connection,
    poolMax: config.database.poolMax,
    applicationName: 'florin-worker',
    onConnectionLost: (err) => databaseLog.warn({ err }, 'A database connection was lost'),
  });
  metrics.watchPool('worker', database.pool);
  const { db } = database;
  const connectors = openConnectors(config, options);
  const outbound = openOutbound(config.outbound, { clock });
  const parts = {
    ...options,
    db,
    connectors,
    connectorTimeoutMs: config.payments.connectorTimeoutMs,
    settle: remoteSettle({ sapiUrl, serviceTokens }),
    outbound,
    endpointKeys: openEndpointKeys(config.encryption),
    describeCustomers: describer(db, openCustomerKeys(config.encryption, { clock })),
    webhooks: config.webhooks,
    retention: config.retention,
  };
  const jobs = startWorker(parts, { graceMs: shutdownGraceMs });
  const close = async (): Promise<void> => {
    await jobs.stop();
    await closeConnectors(connectors);
    await outbound.close();
    await database.close();
  };
  return { ping: () => sql`select 1`.execute(db), close };
};

type ServerParts = Observers & {
  config: ServerSettings;
  log: Log;
  clock: Clock;
  probes: Probes;
  drain?: Drain;
};

/** What a worker answers: health and metrics, in plain HTTP on the internal network, and nothing else. */
export const buildWorker = (parts: ServerParts): App => {
  const { config, metrics } = parts;
  const app = buildServer({ ...serving(parts), config, name: 'worker', tls: false });
  app.register(healthRoutes(parts));
  app.register(plainMetricsRoutes({ metrics }));
  return app;
};
