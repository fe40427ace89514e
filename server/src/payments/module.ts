import type { Logger } from 'pino';
import type { Context, Mode } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { AppError, invalidField } from '../lib/errors.ts';
import type { Payer } from '../customers/customers.ts';
import type { Id } from '../lib/ids.ts';
import type { Accounts } from '../ledger/ledger.ts';
import type { FeeTerms } from './postings.ts';
import type { PaymentWriter } from './writer.ts';
import type { Connector } from './connectors/connector.ts';
import { checkSandboxCase } from './connectors/sandbox.ts';

/** What payments need from the rest of the house; put together by `services`. */
export type PaymentsModule = {
  db: Db;
  clock: Clock;
  log: Logger;
  accounts: Accounts;
  /** The micro-batch through which plain payments are written. */
  writer: PaymentWriter;
  connectors: ReadonlyMap<string, Connector>;
  /** How long a backend may take to answer. */
  connectorTimeoutMs: number;
  termsOf(tenantId: number): Promise<TenantTerms>;
  /** Who pays, as a request names them by id or address. Refuses an unknown id. */
  payerOf(context: Context, person: NamedCustomer): Promise<Payer | null>;
  /** A keyed digest of personal data: what is compared when a request is repeated, and tells nothing once keys are gone. */
  fingerprint(text: string): string;
  /** Counts a refused or declined payment by its reason: `payments_payment_errors_total`. */
  countError(reason: string): void;
};

/** What was agreed with the vendor, as far as its payments go. */
export type TenantTerms = FeeTerms & { mode: Mode; idempotencyRequired: boolean; overdraftAllowed: boolean };

export type NamedCustomer = {
  customer_id?: Id<'customer'> | undefined;
  customer_email?: string | undefined;
  customer_name?: string | undefined;
};

/**
 * The backend for a payment method. In test mode `book` is the default and `sandbox:<case>` the simulator; live mode
 * has only backends that were configured.
 * @throws AppError `no_connector`; `invalid_request` for a case that the sandbox does not have
 */
export const connectorFor = (module: PaymentsModule, mode: Mode, paymentMethod: string): Connector => {
  const [name = '', detail] = paymentMethod.split(':');
  if (name === 'sandbox' && mode === 'test') {
    if (detail === undefined) throw invalidField('payment_method', 'name a case, such as "sandbox:approve"');
    checkSandboxCase(paymentMethod);
  }
  const testOnly = name === 'book' || name === 'sandbox';
  const connector = testOnly && mode === 'live' ? undefined : module.connectors.get(name);
  if (!connector) {
    throw new AppError(
      'no_connector',
      mode === 'live'
        ? 'No payment backend is configured for live mode. Configure one, or use a test credential.'
        : `No payment backend takes the payment method "${paymentMethod}". In test mode use "book" or "sandbox:<case>".`,
    );
  }
  return connector;
};
