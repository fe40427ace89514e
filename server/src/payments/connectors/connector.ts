import type { IncomingHttpHeaders } from 'node:http';
import type { Mode } from '../../lib/caller.ts';
import type { Id } from '../../lib/ids.ts';
import type { FailureCode } from '../schema.ts';

/** What a backend says it moved. Compared with what it was asked for: another amount is not believed. */
export type MovedAmount = { amountMinor: bigint; currency: string };

/**
 * What a backend said. `unknown` is no failure: nobody knows yet, and asking (`status`) will tell. `isPending`: the
 * backend itself said so, it is working on it.
 */
export type ConnectorResult =
  | { outcome: 'approved'; backendReference?: string; moved?: MovedAmount; repeated?: boolean }
  | { outcome: 'declined'; failureCode: FailureCode }
  | { outcome: 'unknown'; isPending?: boolean };

/**
 * What a backend says about an earlier call. `absent`: it never heard of it. A call may still be on its way, so that is
 * believed only when it is said again some time later.
 */
export type ConnectorStatus = ConnectorResult | { outcome: 'absent' };

/** One call to a backend about one payment. */
export type ConnectorCall = {
  /** Our reference: the backend does one thing for it, however often it is asked. */
  operationId: Id<'operation'>;
  paymentId: Id<'payment'>;
  mode: Mode;
  paymentMethod: string;
  amountMinor: bigint;
  currency: string;
  /** The backend's own reference of the payment's charge or authorisation, for what follows it. */
  authorisation: string | undefined;
  /** Aborts when the time for an answer is over; the outcome is `unknown` then. */
  signal: AbortSignal;
};

export type OperationKind = 'authorise' | 'capture' | 'cancel' | 'refund';

/** A message that a backend sent by itself, as it arrived. */
export type CallbackMessage = { headers: IncomingHttpHeaders; body: Buffer };

/** What such a message says: which operation ended, and how. `id` is the backend's own, the same when it repeats itself. */
export type Callback = { id: string; operationId: Id<'operation'>; result: ConnectorResult };

/** A payment backend. Calls are idempotent by `operationId`; they never throw for a decline. */
export type Connector = {
  name: string;
  /** The backend is our own ledger: there is nobody to call, so nothing can be slow, declined or unknown. */
  internal: boolean;
  /** Whose payments it takes: both unless it says so. A test key moves no real money, a live key no play money. */
  modes?: readonly Mode[];
  /** @throws AppError `invalid_request` naming `payment_method` for one that it can't take */
  check?(paymentMethod: string): void;
  /**
   * Whether it may be called now: 0, or for how many milliseconds it had better not, because its last calls all failed.
   * Asked before a call is claimed, so that nothing is begun.
   */
  admit?(): number;
  authorise(call: ConnectorCall & { capture: boolean }): Promise<ConnectorResult>;
  capture(call: ConnectorCall): Promise<ConnectorResult>;
  cancel(call: ConnectorCall): Promise<ConnectorResult>;
  refund(call: ConnectorCall): Promise<ConnectorResult>;
  /** What became of an operation whose answer never came. Only asks: it must not make the backend do anything. */
  status(call: ConnectorCall & { kind: OperationKind }): Promise<ConnectorStatus>;
  /**
   * Reads a message of the backend; nothing for one that concerns no operation. A connector without it takes none.
   * @throws AppError `invalid_credentials` when it is not proven to come from the backend, `invalid_request`
   */
  readCallback?(message: CallbackMessage): Promise<Callback | undefined>;
  /** Closes its connections. */
  close?(): Promise<void>;
};

/** A request that certainly never left: there was no connection to send it on. Nothing can have happened. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
}
