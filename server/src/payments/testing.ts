import { sql } from 'kysely';
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
    payerOf: async () => null,
    fingerprint: (text) => text,
    countError: (reason) => errors.push(reason),
    countCallback: () => undefined,
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

/** The balances of a tenant by account: `posted/pending/reserved` in minor units. */
export const balancesOf = async (db: Db, tenantId: number): Promise<Record<string, string>> => {
  const { rows } = await sql<{ code: string; posted: bigint; pending: bigint; reserved: bigint }>`
    select code, posted, pending, reserved from ledger.accounts where tenant_id = ${tenantId}
  `.execute(db);
  return Object.fromEntries(rows.map((row) => [row.code, `${row.posted}/${row.pending}/${row.reserved}`]));
};

/** The payment of an answer: entries of payments carry their snapshot, see `apply.ts`. */
export const paymentIn = (answer: GivenAnswer) =>
  answer.entry.snapshot as PaymentSnapshot & { id: Id<'payment'> };

/** The refund of an answer: entries of refunds carry their snapshot too. */
export const refundIn = (answer: GivenAnswer) =>
  answer.entry.snapshot as RefundSnapshot & { id: Id<'refund'> };
