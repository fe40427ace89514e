import { sql } from 'kysely';
import { revocationChannel } from '../access/watch.ts';
import { openCustomerKeys } from '../customers/keys.ts';
import { entriesChannel, openBell } from '../lib/bell.ts';
import type { Cache } from '../lib/cache.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { keyFrom } from '../lib/crypto.ts';
import { openDatabase, type ConnectionOptions } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Observers } from '../lib/observers.ts';
import { openOutbound } from '../lib/outbound/outbound.ts';
import type { SecretSource } from '../secrets/source.ts';
import { openEndpointKeys } from '../webhooks/secrets.ts';
import { closeConnectors, openConnectors, openPayments } from './payments.ts';
import type { CoreParts } from './routes.ts';
import { transactionSpans } from './spans.ts';

type Options = Observers & {
  config: Pick<
    Config,
    'backend' | 'database' | 'encryption' | 'outbound' | 'payments' | 'retention' | 'stripe' | 'webhooks'
  >;
  connection: ConnectionOptions;
  secrets: SecretSource;
  cache: Cache;
  clock: Clock;
  log: Log;
};

/** What the core works with, opened; `close` finishes the payments that were accepted, then leaves the database. */
export type Core = { parts: CoreParts; ping(): Promise<unknown>; close(): Promise<void> };

/**
 * The cache never throws: a Redis that is away costs the second until the next poll. A dry run revokes nothing, so there is
 * nothing to announce.
 */
export const announcer = (cache: Cache) => (): void => {
  if (!currentDryRun()) void cache.publish(revocationChannel, '');
};

/** Opens the core of `sapi`: the database, the keys, the payments. */
export const openCore = (options: Options): Core => {
  const { config, connection, secrets, cache, clock, log, metrics, tracing } = options;
  const databaseLog = moduleLog(log, 'database');
  const recordTransaction = tracing && transactionSpans(tracing);
  const database = openDatabase({
    connection,
    poolMax: config.database.poolMax,
    applicationName: 'florin',
    onConnectionLost: (err) => databaseLog.warn({ err }, 'A database connection was lost'),
    onTransaction: (transaction) => {
      if (transaction.committed) bell.ring();
      metrics.onTransaction(transaction);
      recordTransaction?.(transaction);
    },
  });
  // Outside of every transaction and dry run; one that fails costs the moment until the worker looks by itself.
  const bell = openBell(() => database.pool.query('select pg_notify($1, $2)', [entriesChannel, '']));
  const { db } = database;
  metrics.watchPool('core', database.pool);
  const customerKeys = openCustomerKeys(config.encryption, { clock });
  const { connectorTimeoutMs } = config.payments;
  const connectors = openConnectors(config, options);
  const onWritten = (): void => bell.ring();
  const payments = openPayments({
    ...options,
    db,
    customerKeys,
    connectors,
    connectorTimeoutMs,
    onWritten,
  });
  const outbound = openOutbound(config.outbound, { clock });
  return {
    parts: {
      db,
      secrets,
      masterKey: keyFrom(config.encryption.masterKey),
      customerKeys,
      payments: payments.module,
      outbound,
      endpointKeys: openEndpointKeys(config.encryption),
      webhooks: config.webhooks,
      retention: config.retention,
      clock,
      announceRevocation: announcer(cache),
    },
    ping: () => sql`select 1`.execute(db),
    close: async () => {
      await payments.close();
      await closeConnectors(connectors);
      await outbound.close();
      await bell.close();
      await database.close();
    },
  };
};
