import { sql } from 'kysely';
import { revocationChannel } from '../access/watch.ts';
import { openCustomerKeys } from '../customers/keys.ts';
import type { Cache } from '../lib/cache.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { keyFrom } from '../lib/crypto.ts';
import { openDatabase, type ConnectionOptions } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Observers } from '../lib/observers.ts';
import type { SecretSource } from '../secrets/source.ts';
import { openPayments } from './payments.ts';
import type { CoreParts } from './routes.ts';
import { transactionSpans } from './spans.ts';

type Options = Observers & {
  config: Pick<Config, 'database' | 'encryption' | 'payments'>;
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
      metrics.onTransaction(transaction);
      recordTransaction?.(transaction);
    },
  });
  const { db } = database;
  metrics.watchPool('core', database.pool);
  const customerKeys = openCustomerKeys(config.encryption, { clock });
  const { connectorTimeoutMs } = config.payments;
  const payments = openPayments({ ...options, db, customerKeys, connectorTimeoutMs });
  return {
    parts: {
      db,
      secrets,
      masterKey: keyFrom(config.encryption.masterKey),
      customerKeys,
      payments: payments.module,
      clock,
      announceRevocation: announcer(cache),
    },
    ping: () => sql`select 1`.execute(db),
    close: async () => {
      await payments.close();
      await database.close();
    },
  };
};
