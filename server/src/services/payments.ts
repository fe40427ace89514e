import { describeCustomers, getCustomer, payerOf, type Payer } from '../customers/customers.ts';
import type { CustomerKeys } from '../customers/keys.ts';
import { createAccounts } from '../ledger/ledger.ts';
import type { Context } from '../lib/caller.ts';
import type { RunBatch } from '../lib/batch.ts';
import type { Clock } from '../lib/clock.ts';
import { openPipeline, type ConnectionOptions, type Db } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import type { Id } from '../lib/ids.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Observers } from '../lib/observers.ts';
import { book } from '../payments/connectors/book.ts';
import type { Connector } from '../payments/connectors/connector.ts';
import { sandbox } from '../payments/connectors/sandbox.ts';
import type { NamedCustomer, PaymentsModule } from '../payments/module.ts';
import { createPaymentWriter, type PaymentWrite, rehearsableWriter } from '../payments/writer.ts';
import { writerSpans } from './spans.ts';
import { keptTerms } from './terms.ts';

type Parts = Observers & {
  db: Db;
  /** The micro-batch writer has a connection of its own. */
  connection: ConnectionOptions;
  customerKeys: CustomerKeys;
  connectorTimeoutMs: number;
  clock: Clock;
  log: Log;
};

/** Every payment backend, by its name: `sapi` calls them, and the worker asks them what became of a call. */
export const openConnectors = (): ReadonlyMap<string, Connector> =>
  new Map([book, sandbox].map((connector) => [connector.name, connector]));

/** The payments of this process, and how to let the accepted ones finish. */
export const openPayments = (parts: Parts): { module: PaymentsModule; close(): Promise<void> } => {
  const { db, connection, customerKeys, connectorTimeoutMs, clock, log, metrics, tracing } = parts;
  const pipeline = openPipeline(connection, { name: 'florin-writer' });
  const spans = tracing && writerSpans(tracing);
  const onBatch = (batch: RunBatch<PaymentWrite>): void => {
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
    connectors: openConnectors(),
    connectorTimeoutMs,
    termsOf: keptTerms(db, clock),
    payerOf: (context, person) => payerFor(db, customerKeys, context, person),
    fingerprint: (text) => customerKeys.fingerprint(text),
    countError: (reason) => {
      // Nobody's payment failed in a dry run.
      if (!currentDryRun()) metrics.paymentErrors.inc({ reason });
    },
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
