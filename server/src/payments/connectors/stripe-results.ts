import type Stripe from 'stripe';
import { isId } from '../../lib/ids.ts';
import type { FailureCode } from '../schema.ts';
import type { Callback, ConnectorResult } from './connector.ts';
import { fromStripe } from './stripe-money.ts';

/** What a PaymentIntent says about its charge, or its authorisation. */
export const resultOfCharge = (
  intent: Stripe.PaymentIntent,
  { isCaptured }: { isCaptured: boolean },
): ConnectorResult => {
  const { id: backendReference, status, amount_received: received, amount_capturable: capturable } = intent;
  if (status === 'succeeded' && isCaptured)
    return { outcome: 'approved', backendReference, moved: fromStripe(received, intent.currency) };
  if (status === 'requires_capture' && !isCaptured)
    return { outcome: 'approved', backendReference, moved: fromStripe(capturable, intent.currency) };
  // Captured by somebody since: the authorisation it was, of all of it.
  if (status === 'succeeded') {
    return { outcome: 'approved', backendReference, moved: fromStripe(intent.amount, intent.currency) };
  }
  if (status === 'requires_payment_method')
    return { outcome: 'declined', failureCode: codeOf(intent.last_payment_error ?? {}) };
  if (status === 'canceled') return { outcome: 'declined', failureCode: 'backend_error' };
  return { outcome: 'unknown', isPending: true };
};

/** What is canceled moved nothing, so there is no amount to compare. */
export const resultOfCancel = ({ id, status }: Stripe.PaymentIntent): ConnectorResult =>
  status === 'canceled'
    ? { outcome: 'approved', backendReference: id }
    : { outcome: 'unknown', isPending: true };

/** What a refund says about itself. One that Stripe takes back later contradicts what was settled. */
export const resultOfRefund = ({ id, status, amount, currency }: Stripe.Refund): ConnectorResult => {
  if (status === 'succeeded')
    return { outcome: 'approved', backendReference: id, moved: fromStripe(amount, currency) };
  return status === 'failed' || status === 'canceled'
    ? { outcome: 'declined', failureCode: 'backend_error' }
    : { outcome: 'unknown', isPending: true };
};

type StripeFailure = { type?: string; code?: string; decline_code?: string; statusCode?: number };

/**
 * What an error of the SDK says about the call, if it says anything for sure: the card was declined, or Stripe refused the
 * request before it did anything. Everything else leaves open what happened.
 */
export const refusalOf = (error: unknown): ConnectorResult | undefined => {
  if (!(error instanceof Error)) return undefined;
  const failure = error as StripeFailure; // members that errors of the SDK have, and all may be missing
  switch (failure.type) {
    case 'StripeCardError':
      return { outcome: 'declined', failureCode: codeOf(failure) };
    case 'StripeAuthenticationError':
    case 'StripePermissionError':
    case 'StripeRateLimitError':
      return { outcome: 'declined', failureCode: 'backend_error' };
    case 'StripeInvalidRequestError':
      // The state is another one than our books have: what was asked for may be done already. Asking will tell.
      return failure.code === 'payment_intent_unexpected_state' || failure.statusCode === 409
        ? undefined
        : { outcome: 'declined', failureCode: 'backend_error' };
    default:
      return undefined;
  }
};

const codes: Readonly<Record<string, FailureCode>> = {
  insufficient_funds: 'insufficient_funds',
  expired_card: 'card_expired',
  fraudulent: 'suspected_fraud',
  lost_card: 'suspected_fraud',
  stolen_card: 'suspected_fraud',
  pickup_card: 'suspected_fraud',
  merchant_blacklist: 'suspected_fraud',
  card_velocity_exceeded: 'limit_exceeded',
  withdrawal_count_limit_exceeded: 'limit_exceeded',
  processing_error: 'backend_error',
};

const codeOf = ({ code, decline_code: declineCode }: StripeFailure): FailureCode =>
  codes[declineCode ?? ''] ?? codes[code ?? ''] ?? 'do_not_honor';

/** What an event of Stripe's says about an operation of ours; nothing when it is about something else. */
export const callbackOf = (event: Stripe.Event): Callback | undefined => {
  switch (event.type) {
    case 'payment_intent.succeeded': {
      const { metadata, capture_method: method } = event.data.object;
      // With an authorisation before it, it is the capture that succeeded, perhaps one of somebody else.
      const operation = method === 'manual' ? metadata['florin_capture'] : metadata['florin_operation'];
      return about(event, operation, () => resultOfCharge(event.data.object, { isCaptured: true }));
    }
    case 'payment_intent.amount_capturable_updated':
    case 'payment_intent.payment_failed': {
      const intent = event.data.object;
      const isCaptured = intent.capture_method !== 'manual';
      // What became of it after this is for other events.
      if (intent.status !== 'requires_capture' && intent.status !== 'requires_payment_method')
        return undefined;
      return about(event, intent.metadata['florin_operation'], () => resultOfCharge(intent, { isCaptured }));
    }
    case 'refund.created':
    case 'refund.updated':
    case 'refund.failed': {
      const refund = event.data.object;
      return about(event, refund.metadata?.['florin_operation'], () => resultOfRefund(refund));
    }
    default:
      return undefined;
  }
};

const about = (
  { id }: Stripe.Event,
  operation: string | undefined,
  result: () => ConnectorResult,
): Callback | undefined =>
  operation !== undefined && isId('operation', operation)
    ? { id, operationId: operation, result: result() }
    : undefined;
