import type Stripe from 'stripe';
import { toUuid, type Id } from '../../lib/ids.ts';
import type { ConnectorCall, ConnectorStatus, OperationKind } from './connector.ts';
import { resultOfCancel, resultOfCharge, resultOfRefund } from './stripe-results.ts';

/**
 * Asks Stripe what became of an operation; makes it do nothing. A charge is searched by its metadata, which finds it within
 * about a minute. That a search does not find it says nothing, so before it is called absent, the list of that time is
 * read through, which Stripe keeps up to date.
 */
export const statusAtStripe = (
  stripe: Stripe,
  call: ConnectorCall & { kind: OperationKind },
): Promise<ConnectorStatus> => {
  switch (call.kind) {
    case 'authorise':
      return statusOfCharge(stripe, call.operationId);
    case 'refund':
      return statusOfRefund(stripe, call);
    default:
      return statusOfIntent(stripe, call);
  }
};

const pageSize = 100;
const pagesMax = 20;

/** How far our clock and Stripe's may be apart for a charge still to be found in the list. */
const windowS = 2 * 60 * 60;

const statusOfCharge = async (stripe: Stripe, id: Id<'operation'>): Promise<ConnectorStatus> => {
  const found = await stripe.paymentIntents.search({
    query: `metadata['florin_operation']:'${id}'`,
    limit: 1,
  });
  const intent = found.data[0] ?? (await findInList(stripe, id));
  if (intent === 'perhaps') return { outcome: 'unknown', isPending: true };
  if (intent === undefined) return { outcome: 'absent' };
  return resultOfCharge(intent, { isCaptured: intent.capture_method !== 'manual' });
};

/** `perhaps` when there are more than can be read. */
const findInList = async (
  stripe: Stripe,
  id: Id<'operation'>,
): Promise<Stripe.PaymentIntent | 'perhaps' | undefined> => {
  const madeS = secondsOf(id);
  const created = { gte: madeS - windowS, lte: madeS + windowS };
  let after: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const { data, has_more: hasMore } = await stripe.paymentIntents.list({
      created,
      limit: pageSize,
      ...(after !== undefined && { starting_after: after }),
    });
    const intent = data.find(({ metadata }) => metadata['florin_operation'] === id);
    if (intent || !hasMore) return intent;
    after = data.at(-1)?.id;
  }
  return 'perhaps';
};

/** An id holds the time at which it was made (UUIDv7, RFC 9562). */
const secondsOf = (id: Id<'operation'>): number =>
  Math.floor(Number.parseInt(toUuid(id).replaceAll('-', '').slice(0, 12), 16) / 1000);

const statusOfRefund = async (
  stripe: Stripe,
  { authorisation, operationId }: ConnectorCall,
): Promise<ConnectorStatus> => {
  if (authorisation === undefined) return { outcome: 'unknown' };
  // A PaymentIntent has a handful of refunds.
  const { data, has_more: hasMore } = await stripe.refunds.list({
    payment_intent: authorisation,
    limit: pageSize,
  });
  const refund = data.find(({ metadata }) => metadata?.['florin_operation'] === operationId);
  if (refund) return resultOfRefund(refund);
  return hasMore ? { outcome: 'unknown', isPending: true } : { outcome: 'absent' };
};

/** Of a capture or a cancellation: while the money is still set aside, neither has happened. */
const statusOfIntent = async (
  stripe: Stripe,
  { authorisation, kind, operationId }: ConnectorCall & { kind: OperationKind },
): Promise<ConnectorStatus> => {
  if (authorisation === undefined) return { outcome: 'unknown' };
  const intent = await stripe.paymentIntents.retrieve(authorisation);
  if (intent.status === 'requires_capture') return { outcome: 'absent' };
  if (kind === 'cancel')
    return intent.status === 'succeeded'
      ? { outcome: 'declined', failureCode: 'backend_error' }
      : resultOfCancel(intent);
  // Canceled, or captured by somebody else: not by this operation.
  const isOurs = intent.metadata['florin_capture'] === operationId;
  if (intent.status === 'canceled') return { outcome: 'declined', failureCode: 'backend_error' };
  return isOurs ? resultOfCharge(intent, { isCaptured: true }) : { outcome: 'unknown', isPending: true };
};
