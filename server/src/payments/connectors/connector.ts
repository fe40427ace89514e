import type { Id } from '../../lib/ids.ts';
import type { FailureCode } from '../schema.ts';

/** What a backend said. `unknown` is no failure: nobody knows yet, and asking (`status`) will tell. */
export type ConnectorResult =
  | { outcome: 'approved'; backendReference?: string; repeated?: boolean }
  | { outcome: 'declined'; failureCode: FailureCode }
  | { outcome: 'unknown' };

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
  paymentMethod: string;
  amountMinor: bigint;
  currency: string;
  /** Aborts when the time for an answer is over; the outcome is `unknown` then. */
  signal: AbortSignal;
};

export type OperationKind = 'authorise' | 'capture' | 'cancel' | 'refund';

/** A payment backend. Calls are idempotent by `operationId`; they never throw for a decline. */
export type Connector = {
  name: string;
  /** The backend is our own ledger: there is nobody to call, so nothing can be slow, declined or unknown. */
  internal: boolean;
  authorise(call: ConnectorCall & { capture: boolean }): Promise<ConnectorResult>;
  capture(call: ConnectorCall): Promise<ConnectorResult>;
  cancel(call: ConnectorCall): Promise<ConnectorResult>;
  refund(call: ConnectorCall): Promise<ConnectorResult>;
  /** What became of an operation whose answer never came. Only asks: it must not make the backend do anything. */
  status(call: ConnectorCall & { kind: OperationKind }): Promise<ConnectorStatus>;
};
