import { describeCustomers, getCustomer, payerOf, type Payer } from '../customers/customers.ts';
import type { CustomerKeys } from '../customers/keys.ts';
import { createAccounts } from '../ledger/ledger.ts';
import type { Context } from '../lib/caller.ts';
import type { RunBatch } from '../lib/batch.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { openPipeline, type ConnectionOptions, type Db } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import type { Id } from '../lib/ids.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Observers } from '../lib/observers.ts';
import { book } from '../payments/connectors/book.ts';
import type { Connector } from '../payments/connectors/connector.ts';
import { guarded } from '../payments/connectors/guard.ts';
import { openHttp } from '../payments/connectors/http.ts';
import { sandbox } from '../payments/connectors/sandbox.ts';
import { openStripe } from '../payments/connectors/stripe.ts';
import type { NamedCustomer, PaymentsModule } from '../payments/module.ts';
import { createPaymentWriter, type PaymentWrite, rehearsableWriter } from '../payments/writer.ts';
import { writerSpans } from './spans.ts';
import { keptTerms } from './terms.ts';

type Parts = Observers & {
  db: Db;
  /** The micro-batch writer has a connection of its own. */
  connection: ConnectionOptions;
  customerKeys: CustomerKeys;
  connectors: ReadonlyMap<string, Connector>;
  connectorTimeoutMs: number;
  /** Told when a batch was committed. */
  onWritten?: () => void;
  clock: Clock;
  log: Log;
};

type ConnectorSettings = Pick<Config, 'backend' | 'stripe' | 'payments'>;

/** What needs no configuration: our own books, and the simulator. */
export const ownConnectors: readonly Connector[] = [book, sandbox];

/** Connectors as they are looked for. */
export const byName = (connectors: readonly Connector[]): ReadonlyMap<string, Connector> =>
  new Map(connectors.map((connector) => [connector.name, connector]));

/** Every payment backend, by its name: `sapi` calls them, and the worker asks them what became of a call. */
export const openConnectors = (
  config: ConnectorSettings,
  { clock, log, metrics }: { clock: Clock; log: Log; metrics: Metrics },
): ReadonlyMap<string, Connector> => {
  const { backend, stripe } = config;
  const { connectorTimeoutMs: timeoutMs } = config.payments;
  const outside: Connector[] = [];
  // `lib/config` refuses an address without a secret.
  if (backend.url && backend.secret)
    outside.push(openHttp({ url: backend.url, secret: backend.secret, timeoutMs, clock }));
  if (stripe.secretKey) {
    const { secretKey, webhookSecret, url } = stripe;
    outside.push(openStripe({ secretKey, webhookSecret, url, timeoutMs, clock }));
  }
  const connectorLog = moduleLog(log, 'connectors');
  const onCircuit = (connector: string, isOpen: boolean): void => {
    metrics.connectorCircuit.set({ connector }, isOpen ? 1 : 0);
    if (isOpen)
      connectorLog.error({ connector }, 'A payment backend answers nobody: it is not called any more');
    else connectorLog.info({ connector }, 'A payment backend answers again');
  };
  for (const { name } of outside) metrics.connectorCircuit.set({ connector: name }, 0);
  const measured = outside.map((connector) =>
    guarded(connector, { clock, onCircuit, onCall: metrics.onConnectorCall }),
  );
  return byName([...ownConnectors, ...measured]);
};

/** Leaves the backends; for when nothing is under way any more. */
export const closeConnectors = async (connectors: ReadonlyMap<string, Connector>): Promise<void> => {
  for (const connector of connectors.values()) await connector.close?.();
};

/** The payments of this process, and how to let the accepted ones finish. */
export const openPayments = (parts: Parts): { module: PaymentsModule; close(): Promise<void> } => {
  const { db, connection, customerKeys, connectors, connectorTimeoutMs, clock, log, metrics, tracing } =
    parts;
  const pipeline = openPipeline(connection, { name: 'florin-writer' });
  const spans = tracing && writerSpans(tracing);
  const onBatch = (batch: RunBatch<PaymentWrite>): void => {
    parts.onWritten?.();
    metrics.onBatch(batch);
    spans?.onBatch(batch);
  };
  const plainWriter = createPaymentWriter(pipeline, clock, { onBatch });
  const writer = spans ? spans.traced(plainWriter) : plainWriter;
  metrics.watchQueue(() => writer.depth());
  const module: PaymentsModule = {
    db,
    clock,
    log: moduleLog(log, 'payments'),
    accounts: createAccounts(),
    writer: rehearsableWriter(writer, db, clock),
    connectors,
    connectorTimeoutMs,
    termsOf: keptTerms(db, clock),
    payerOf: (context, person) => payerFor(db, customerKeys, context, person),
    fingerprint: (text) => customerKeys.fingerprint(text),
    countError: (reason) => {
      // Nobody's payment failed in a dry run.
      if (!currentDryRun()) metrics.paymentErrors.inc({ reason });
    },
    countCallback: (connector, result) => metrics.callbacks.inc({ connector, result }),
  };
  const close = async (): Promise<void> => {
    await writer.drain();
    await pipeline.close();
  };
  return { module, close };
};

/** Who paid, for answers. */
export const describer =
  (db: Db, keys: CustomerKeys) =>
  (tenantId: number, ids: readonly Id<'customer'>[]): ReturnType<typeof describeCustomers> =>
    describeCustomers(db, keys, tenantId, ids);

const payerFor = async (
  db: Db,
  keys: CustomerKeys,
  context: Context,
  { customer_id: id, customer_email: email, customer_name: name }: NamedCustomer,
): Promise<Payer | null> => {
  if (id !== undefined) return (await getCustomer(db, keys, context.tenantId, id)).id;
  return email === undefined ? null : payerOf(db, keys, context, { email, name });
};
