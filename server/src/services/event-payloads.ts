import { Type, type TSchema } from 'typebox';
import { CustomerAnswer } from '../customers/schema.ts';
import { eventTypes, type EventObject } from '../events/catalogue.ts';
import type { SentMessage } from '../lib/openapi/webhooks.ts';
import { MismatchSnapshot, PaymentAnswer, RefundSnapshot } from '../payments/schema.ts';
import { Reconciliation, ReconciliationBreak } from '../reconciliation/schema.ts';
import { WebhookEndpoint } from '../webhooks/schema.ts';

/** What events carry as `data`, by what they are about: the object as the API answers it. */
export const eventPayloads: Readonly<Record<EventObject, { name: string; schema: TSchema }>> = {
  payment: { name: 'Payment', schema: PaymentAnswer },
  refund: { name: 'Refund', schema: RefundSnapshot },
  customer: { name: 'Customer', schema: CustomerAnswer },
  webhook_endpoint: { name: 'WebhookEndpoint', schema: WebhookEndpoint },
  reconciliation: {
    name: 'ReconciliationEvent',
    schema: Type.Union([Reconciliation, ReconciliationBreak, MismatchSnapshot], {
      description: '`object` says which: `reconciliation`, `reconciliation_break` or `mismatch`.',
    }),
  },
};

/** Every type of event with what it carries, for the document of the API. */
export const sentEvents = (): SentMessage[] =>
  eventTypes.map((type) => ({ ...type, payload: eventPayloads[type.object] }));
