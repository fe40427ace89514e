import { randomUUID } from 'node:crypto';

/** Calls the API as a vendor in test mode; throws what it refuses. */
export type AskApi = (method: string, path: string, body?: object) => Promise<Record<string, unknown>>;

/** What makes an event of a type happen; gives the id of the object that it is about. */
type Recipe = (ask: AskApi) => Promise<string>;

const pay = async (ask: AskApi, changes: object = {}): Promise<string> =>
  idOf(
    await ask('POST', '/payments', {
      amount: '10.00',
      currency: 'USD',
      payment_method: 'sandbox:approve',
      reference: 'florin events trigger',
      ...changes,
    }),
  );

const refund = async (ask: AskApi, { of, amount }: { of: string; amount?: string }): Promise<string> =>
  idOf(await ask('POST', `/payments/${of}/refunds`, amount === undefined ? {} : { amount }));

const customer = async (ask: AskApi): Promise<string> =>
  idOf(
    await ask('POST', '/customers', {
      email: `trigger.${randomUUID()}@example.com`,
      name: 'Florin events trigger',
    }),
  );

/** Payment and what is done to it, for an event about the payment. */
const afterwards =
  (path: string, changes: object = {}, body: object = {}): Recipe =>
  async (ask) => {
    const id = await pay(ask, changes);
    await ask('POST', `/payments/${id}/${path}`, body);
    return id;
  };

const refundOf =
  (method: string): Recipe =>
  async (ask) =>
    refund(ask, { of: await pay(ask, { payment_method: `sandbox:${method}` }) });

const recipes = new Map<string, Recipe>(
  Object.entries({
    'payment.processing': (ask) => pay(ask),
    'payment.requires_capture': (ask) => pay(ask, { capture: false }),
    'payment.succeeded': (ask) => pay(ask),
    'payment.partially_refunded': afterwards('refunds', {}, { amount: '4.00' }),
    'payment.refunded': afterwards('refunds'),
    'payment.canceled': afterwards('cancel', { capture: false }),
    'payment.failed': (ask) => pay(ask, { payment_method: 'sandbox:decline_do_not_honor' }),
    'payment.unknown': (ask) => pay(ask, { payment_method: 'sandbox:timeout_for_ever' }),
    'refund.processing': refundOf('approve'),
    'refund.succeeded': refundOf('approve'),
    'refund.failed': refundOf('refund_declined'),
    'refund.unknown': refundOf('refund_timeout'),
    'customer.created': customer,
    'customer.updated': async (ask) => {
      const id = await customer(ask);
      await ask('PATCH', `/customers/${id}`, { name: 'Florin events trigger, changed' });
      return id;
    },
  } satisfies Record<string, Recipe>),
);

/** The types that can be made to happen. */
export const triggered: readonly string[] = [...recipes.keys()];

/**
 * Makes an event really happen, by requests to the API: what belongs to it happens too, such as the payment of a refund.
 * @returns the id of the object that the event is about
 * @throws Error for a type that is not made, or what the API refused
 */
export const trigger = async (ask: AskApi, type: string): Promise<string> => {
  const recipe = recipes.get(type);
  if (!recipe)
    throw new Error(
      `${type} can not be triggered. These can: ${triggered.join(', ')}. ${instead(type)}`.trim(),
    );
  return recipe(ask);
};

const instead = (type: string): string => {
  if (type === 'webhook_endpoint.tested')
    return 'An endpoint is tested with POST /api/v1/webhook-endpoints/:id/test.';
  if (type.startsWith('webhook_endpoint.')) return 'Change a webhook endpoint, and it happens.';
  if (type.startsWith('reconciliation.')) return 'Compare a statement that differs: florin reconcile.';
  return '';
};

const idOf = ({ id }: Record<string, unknown>): string => String(id);
