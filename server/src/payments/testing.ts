import { pino } from 'pino';
import type { Context, Mode } from '../lib/caller.ts';
import { manualClock } from '../lib/clock.ts';
import { openPipeline, type ConnectionOptions, type Db } from '../lib/database.ts';
import type { Id } from '../lib/ids.ts';
import { createAccounts } from '../ledger/ledger.ts';
import type { GivenAnswer } from '../journal/idempotency.ts';
import { book } from './connectors/book.ts';
import type { Connector } from './connectors/connector.ts';
import { sandbox } from './connectors/sandbox.ts';
import type { PaymentsModule, TenantTerms } from './module.ts';
import type { PaymentSnapshot, RefundSnapshot } from './schema.ts';
import { createPaymentWriter } from './writer.ts';

export const testNow = '2026-01-16T12:00:00.000Z';

/** A payments module on a test database, with terms that a test may change. */
export const testPayments = (
  database: { db: Db; connection: ConnectionOptions },
  connectors: Connector[] = [],
) => {
  const clock = manualClock(testNow);
  const pipeline = openPipeline(database.connection, { name: 'test-writer' });
  const terms: TenantTerms = {
    mode: 'test',
    feeBasisPoints: 0,
    feeFixed: {},
    idempotencyRequired: false,
    overdraftAllowed: false,
  };
  const errors: string[] = [];
  const module: PaymentsModule = {
    db: database.db,
    clock,
    log: pino({ enabled: false }),
    accounts: createAccounts(),
    writer: createPaymentWriter(pipeline, clock),
    connectors: new Map([book, sandbox, ...connectors].map((connector) => [connector.name, connector])),
    connectorTimeoutMs: 50,
    termsOf: async () => terms,
    customerOf: async () => null,
    fingerprint: (text) => text,
    countError: (reason) => errors.push(reason),
  };
  return { module, clock, terms, errors, close: () => pipeline.close() };
};

let tenants = 1_000;

/** A tenant that no other test uses. */
export const newTenant = (): number => (tenants += 1);

export const contextFor = (tenantId: number, now: Date | string = testNow, mode: Mode = 'test'): Context => ({
  tenantId,
  actor: `client:${mode}`,
  origin: '127.0.0.1',
  requestId: 'req_test',
  now: new Date(now),
});

/** The snapshot that an answer is made of, as a payment. */
export const paymentIn = (answer: GivenAnswer) =>
  answer.entry.snapshot as PaymentSnapshot & { id: Id<'payment'> };
export const refundIn = (answer: GivenAnswer) =>
  answer.entry.snapshot as RefundSnapshot & { id: Id<'refund'> };
