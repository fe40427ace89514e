import { agedCache } from '../access/cache.ts';
import { describeCustomers, getCustomer, payerOf, type Payer } from '../customers/customers.ts';
import type { CustomerKeys } from '../customers/keys.ts';
import { createAccounts } from '../ledger/ledger.ts';
import type { Context } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { openPipeline, type ConnectionOptions, type Db } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { book } from '../payments/connectors/book.ts';
import { sandbox } from '../payments/connectors/sandbox.ts';
import type { NamedCustomer, PaymentsModule, TenantTerms } from '../payments/module.ts';
import { createPaymentWriter } from '../payments/writer.ts';
import { findTenantSettings } from '../vendors/vendors.ts';

type Parts = {
  db: Db;
  /** The micro-batch writer has a connection of its own. */
  connection: ConnectionOptions;
  customerKeys: CustomerKeys;
  connectorTimeoutMs: number;
  clock: Clock;
  log: Log;
  metrics: Metrics;
};

/** The payments of this process, and how to let the accepted ones finish. */
export const openPayments = (parts: Parts): { module: PaymentsModule; close(): Promise<void> } => {
  const { db, connection, customerKeys, connectorTimeoutMs, clock, log, metrics } = parts;
  const pipeline = openPipeline(connection, { name: 'florin-writer' });
  const writer = createPaymentWriter(pipeline, clock);
  const module: PaymentsModule = {
    db,
    clock,
    log: moduleLog(log, 'payments'),
    accounts: createAccounts(),
    writer,
    connectors: new Map([book, sandbox].map((connector) => [connector.name, connector])),
    connectorTimeoutMs,
    termsOf: termsOf(db, clock),
    payerOf: (context, person) => payerFor(db, customerKeys, context, person),
    fingerprint: (text) => customerKeys.fingerprint(text),
    countError: (reason) => metrics.paymentErrors.inc({ reason }),
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

/** How old a vendor's terms may be when a payment is taken on them. */
const termsAgeMs = 1_000;

const termsOf = (db: Db, clock: Clock): PaymentsModule['termsOf'] => {
  const known = agedCache<TenantTerms>({ clock, maxAgeMs: termsAgeMs, maxEntries: 20_000 });
  return (tenantId) =>
    known.through(String(tenantId), async () => {
      const settings = await findTenantSettings(db, tenantId);
      if (!settings)
        throw new AppError('vendor_required', 'Name the vendor to act for in the header Florin-Vendor.');
      return { ...settings, feeFixed: Object.fromEntries(settings.feeFixedMinor) };
    });
};

const payerFor = async (
  db: Db,
  keys: CustomerKeys,
  context: Context,
  { customer_id: id, customer_email: email, customer_name: name }: NamedCustomer,
): Promise<Payer | null> => {
  if (id !== undefined) return (await getCustomer(db, keys, context.tenantId, id)).id;
  return email === undefined ? null : payerOf(db, keys, context, { email, name });
};
