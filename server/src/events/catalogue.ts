/** The family that an event belongs to, which is mostly the type of its object. */
export type EventObject = 'payment' | 'refund' | 'customer' | 'webhook_endpoint' | 'reconciliation';

/** One kind of event that vendors are told, named like the kind of its journal entry. */
export type EventType = {
  /** `<family>.<what happened>`, e.g. `payment.succeeded`. */
  type: string;
  object: EventObject;
  title: string;
  description: string;
};

const family = (
  object: EventObject,
  rows: Readonly<Record<string, readonly [title: string, description: string]>>,
): EventType[] =>
  Object.entries(rows).map(([name, [title, description]]) => ({
    type: `${object}.${name}`,
    object,
    title,
    description,
  }));

/**
 * Every public kind of journal entry. What is in the journal under the name of one of these families and has no row here is
 * a bug, which a test finds; `services/event-payloads.ts` has the schema of what each carries.
 */
export const eventTypes: readonly EventType[] = [
  ...family('payment', {
    processing: ['A payment waits for its backend', 'The backend was asked and has not said yet.'],
    requires_capture: [
      'A payment is authorised',
      'The money is set aside and waits to be captured or canceled. Also told when a capture or cancellation was declined; ' +
        '`failure_code` says why then.',
    ],
    succeeded: ['A payment succeeded', 'The money was taken.'],
    partially_refunded: ['A payment was refunded in part', 'Each further refund in part tells it again.'],
    refunded: ['A payment was refunded', 'Nothing of it is left to refund.'],
    canceled: ['A payment was canceled', 'The authorisation was released; no money moved.'],
    failed: ['A payment failed', 'The backend declined; `failure_code` says why.'],
    unknown: [
      'The outcome of a payment is unknown',
      'The backend did not answer. Florin asks it until it does, and never charges a second time; another event tells the end.',
    ],
  }),
  ...family('refund', {
    processing: ['A refund waits for its backend', 'The backend was asked and has not said yet.'],
    succeeded: ['A refund succeeded', 'The money is on its way back to the payer.'],
    failed: ['A refund failed', 'The backend declined; `failure_code` says why. The payment is as it was.'],
    unknown: [
      'The outcome of a refund is unknown',
      'The backend did not answer. Florin asks it until it does; another event tells the end.',
    ],
  }),
  ...family('customer', {
    created: [
      'A customer was created',
      'By a request of yours, or by the first payment of a new email address.',
    ],
    updated: ['A customer was changed', 'The event carries the customer after the change.'],
  }),
  ...family('webhook_endpoint', {
    created: ['A webhook endpoint was created', 'Without its secret.'],
    updated: ['A webhook endpoint was changed', 'The event carries the endpoint after the change.'],
    enabled: ['A webhook endpoint was enabled', 'It is told what happens from then on.'],
    disabled: [
      'A webhook endpoint was disabled',
      'By a request, or by Florin: `disabled_reason` is `gone` after an answer 410, and `failing` when it accepted nothing for days.',
    ],
    deleted: ['A webhook endpoint was deleted', 'It is told nothing any more.'],
    secret_rotated: ['The secret of a webhook endpoint was rotated', 'Without the secrets.'],
    tested: [
      'A test of a webhook endpoint',
      'Sent to the endpoint that is tested, whatever events it asked for, and to no other one.',
    ],
  }),
  ...family('reconciliation', {
    completed: ['A statement was compared with the books', 'Carries the reconciliation with its numbers.'],
    mismatch: [
      'A payment backend and the books disagree',
      'Carries the reconciliation that found breaks, or, about a payment, the one call that its backend contradicts; ' +
        '`data.object` says which.',
    ],
    corrected: [
      'A break was corrected',
      'Carries the break with its correction. Payments and refunds stay as they are.',
    ],
  }),
];

/** The pattern of everything. */
export const everyEvent = '*';

/** Whether events can be chosen by this text: `*`, a family such as `payment.*`, or a type such as `payment.succeeded`. */
export const isEventPattern = (pattern: string): boolean => patterns.has(pattern);

/** Every pattern there is: everything, the families, the types. */
export const eventPatterns = (): readonly string[] => [...patterns];

const patterns = new Set([
  everyEvent,
  ...eventTypes.map(({ object }) => `${object}.*`),
  ...eventTypes.map(({ type }) => type),
]);
