import type { Logger } from 'pino';
import type { Context, Mode } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import { AppError } from '../lib/errors.ts';
import type { Payer } from '../customers/customers.ts';
import type { Id } from '../lib/ids.ts';
import type { Accounts } from '../ledger/ledger.ts';
import type { FeeTerms } from './postings.ts';
import type { CallbackResult } from './callbacks.ts';
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
  /** Counts a message that a backend sent by itself: `payments_callbacks_total`. */
  countCallback(connector: string, result: CallbackResult): void;
};

/** What is needed to write the end of an operation. */
export type Settling = Pick<PaymentsModule, 'db' | 'clock' | 'log' | 'accounts' | 'countError'>;

/** What was agreed with the vendor, as far as its payments go. */
export type TenantTerms = FeeTerms & { mode: Mode; idempotencyRequired: boolean; overdraftAllowed: boolean };

export type NamedCustomer = {
  customer_id?: Id<'customer'> | undefined;
  customer_email?: string | undefined;
  customer_name?: string | undefined;
};

/** How a payment is paid that does not say: in our own books in test mode, by the operator's own backend in live mode. */
export const defaultMethod = ({ connectors }: PaymentsModule, mode: Mode): string =>
  mode === 'live' && connectors.has('http') ? 'http' : 'book';

/**
 * The backend for a payment method. In test mode `book` is the default and `sandbox:<case>` the simulator; live mode
 * has only backends that were configured.
 * @throws AppError `no_connector`; `invalid_request` for a method that the backend can't take
 */
export const connectorFor = (module: PaymentsModule, mode: Mode, paymentMethod: string): Connector => {
  const [name = ''] = paymentMethod.split(':');
  const connector = module.connectors.get(name);
  if (!connector || !takes(connector, mode)) {
    throw new AppError(
      'no_connector',
      mode === 'live'
        ? 'No payment backend is configured for live mode. Configure one, or use a test credential.'
        : `No payment backend takes the payment method "${paymentMethod}". In test mode use "book" or "sandbox:<case>".`,
    );
  }
  if (name === 'sandbox') checkSandboxCase(paymentMethod);
  connector.check?.(paymentMethod);
  return connector;
};

/** Whether a backend takes payments of a mode: what is only ours moves no real money. */
export const takes = ({ name, modes }: Connector, mode: Mode): boolean =>
  (modes === undefined || modes.includes(mode)) &&
  (mode === 'test' || (name !== 'book' && name !== 'sandbox'));

/**
 * Stands before a call is claimed: while a backend answers nobody, nothing is begun, and the same request may be sent again.
 * @throws AppError `unavailable`
 */
export const assertReachable = (connector: Connector): void => {
  // A dry run calls nobody, and must not use up the one attempt that finds out whether the backend is back.
  const waitMs = currentDryRun() ? 0 : (connector.admit?.() ?? 0);
  if (waitMs <= 0) return;
  throw new AppError(
    'unavailable',
    'The payment backend does not answer at the moment. Nothing was begun: send the request again later.',
    { retryAfterS: Math.ceil(waitMs / 1000) },
  );
};
