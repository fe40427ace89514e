import { Stripe } from 'stripe';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../lib/clock.ts';
import { Secret } from '../../lib/secret.ts';
import type { Connector, ConnectorCall } from './connector.ts';
import { fromStripe, toStripe } from './stripe-money.ts';
import { openStripe } from './stripe.ts';
import { intentWith, listWith, openStripeDouble, type StripeReply } from './stripe.testing.ts';

const clock = manualClock('2026-11-22T08:00:00Z');
const double = await openStripeDouble();
afterAll(() => double[Symbol.asyncDispose]());

let connector: Connector;
const open = (secretKey = 'sk_test_1', url = double.url): Connector =>
  openStripe({
    secretKey: new Secret(secretKey),
    webhookSecret: new Secret('whsec_of_the_endpoint'),
    url,
    timeoutMs: 2_000,
    clock,
  });
beforeEach(() => {
  double.requests.length = 0;
  connector = open();
});
afterEach(() => connector.close?.());

const operationId = 'op_01h455vb4pex5vsknk084sn02q';
const paymentId = 'pay_01h455vb4pex5vsknk084sn02q';
const metadata = { florin_operation: operationId, florin_payment: paymentId };
const call = (more: Partial<ConnectorCall> = {}): ConnectorCall => ({
  operationId,
  paymentId,
  mode: 'test',
  paymentMethod: 'stripe:pm_Card1',
  amountMinor: 10_000n,
  currency: 'USD',
  authorisation: 'pi_1',
  signal: AbortSignal.timeout(2_000),
  ...more,
});
const answer = (body: object, status = 200): void => {
  double.reply = () => ({ status, body });
};
const refuse = (status: number, error: object): void => answer({ error }, status);
const charge = (more: Partial<ConnectorCall> = {}) => connector.authorise({ ...call(more), capture: true });
const moved = { amountMinor: 10_000n, currency: 'USD' };

describe('what Stripe is asked', () => {
  test('a charge is a PaymentIntent that is confirmed at once, under the operation as its idempotency key', async () => {
    answer(intentWith({ metadata }));
    expect(await charge()).toEqual({ outcome: 'approved', backendReference: 'pi_1', moved });
    expect(double.requests).toHaveLength(1);
    expect(double.requests[0]).toMatchObject({
      method: 'POST',
      path: '/v1/payment_intents',
      form: {
        amount: '10000',
        currency: 'usd',
        payment_method: 'pm_Card1',
        confirm: 'true',
        capture_method: 'automatic',
        'automatic_payment_methods[enabled]': 'true',
        'automatic_payment_methods[allow_redirects]': 'never',
        error_on_requires_action: 'true',
        'metadata[florin_operation]': operationId,
        'metadata[florin_payment]': paymentId,
      },
      headers: {
        'idempotency-key': operationId,
        'stripe-version': '2026-10-28.endive',
        authorization: 'Bearer sk_test_1',
        'content-type': 'application/x-www-form-urlencoded',
      },
    });
  });

  test('an authorisation is captured, canceled and refunded by its PaymentIntent', async () => {
    answer(intentWith({ status: 'requires_capture', amount_capturable: 10_000, capture_method: 'manual' }));
    expect(await connector.authorise({ ...call(), capture: false })).toMatchObject({
      outcome: 'approved',
      moved,
    });
    answer(intentWith({ amount_received: 6_000, capture_method: 'manual' }));
    expect(await connector.capture(call({ amountMinor: 6_000n }))).toMatchObject({
      outcome: 'approved',
      moved: { amountMinor: 6_000n },
    });
    answer(intentWith({ status: 'canceled' }));
    expect(await connector.cancel(call())).toEqual({ outcome: 'approved', backendReference: 'pi_1' });
    answer({ id: 're_1', object: 'refund', status: 'succeeded', amount: 1_000, currency: 'usd', metadata });
    expect(await connector.refund(call({ amountMinor: 1_000n }))).toMatchObject({
      outcome: 'approved',
      backendReference: 're_1',
    });
    expect(
      double.requests.map(({ method, path, form, headers }) => [
        method,
        path,
        form,
        headers['idempotency-key'],
      ]),
    ).toMatchObject([
      ['POST', '/v1/payment_intents', { capture_method: 'manual' }, operationId],
      [
        'POST',
        '/v1/payment_intents/pi_1/capture',
        { amount_to_capture: '6000', 'metadata[florin_capture]': operationId },
        operationId,
      ],
      ['POST', '/v1/payment_intents/pi_1/cancel', {}, operationId],
      [
        'POST',
        '/v1/refunds',
        { payment_intent: 'pi_1', amount: '1000', 'metadata[florin_operation]': operationId },
        operationId,
      ],
    ]);
  });
});

describe('what Stripe says', () => {
  test.each([
    ['insufficient_funds', 'insufficient_funds'],
    ['expired_card', 'card_expired'],
    ['stolen_card', 'suspected_fraud'],
    ['card_velocity_exceeded', 'limit_exceeded'],
    ['authentication_required', 'do_not_honor'],
  ])('a card that is declined with %s fails with %s', async (declineCode, failureCode) => {
    refuse(402, { type: 'card_error', code: 'card_declined', decline_code: declineCode });
    expect(await charge()).toEqual({ outcome: 'declined', failureCode });
  });

  test.each([
    ['a request it does not understand', 400, { type: 'invalid_request_error' }],
    ['a key it does not know', 401, { type: 'invalid_request_error' }],
    ['too many requests', 429, { type: 'invalid_request_error', code: 'rate_limit' }],
  ])('%s was refused before anything happened', async (_, status, error) => {
    refuse(status, error);
    expect(await charge()).toEqual({ outcome: 'declined', failureCode: 'backend_error' });
    expect(double.requests).toHaveLength(1);
  });

  test.each<[string, StripeReply]>([
    ['500', { status: 500, body: { error: { type: 'api_error' } } }],
    ['a reset', 'reset'],
    ['silence', 'hang'],
    [
      'another state than ours',
      {
        status: 400,
        body: { error: { type: 'invalid_request_error', code: 'payment_intent_unexpected_state' } },
      },
    ],
    ['a key that is in use', { status: 409, body: { error: { type: 'idempotency_error' } } }],
  ])('%s leaves open what happened, and nothing is sent a second time', async (_, reply) => {
    double.reply = () => reply;
    await expect(connector.capture(call({ signal: AbortSignal.timeout(200) }))).rejects.toBeInstanceOf(Error);
    expect(double.requests).toHaveLength(1);
  });

  test('where nobody listens, nothing was sent', async () => {
    const gone = await openStripeDouble();
    await gone[Symbol.asyncDispose]();
    const nowhere = open('sk_test_1', gone.url);
    await expect(nowhere.authorise({ ...call(), capture: true })).rejects.toMatchObject({ name: 'NotSent' });
    await nowhere.close?.();
  });

  test('what is still processed is open, and not a failure of Stripe', async () => {
    answer(intentWith({ status: 'processing' }));
    expect(await charge()).toEqual({ outcome: 'unknown', isPending: true });
  });

  test('another amount is reported as it is, for the books to disagree', async () => {
    answer(intentWith({ amount_received: 9_999 }));
    expect(await charge()).toMatchObject({ outcome: 'approved', moved: { amountMinor: 9_999n } });
  });
});

describe('asking Stripe', () => {
  const ask = (kind: 'authorise' | 'capture' | 'cancel' | 'refund') => connector.status({ ...call(), kind });
  const paths = () => double.requests.map(({ method, path }) => `${method} ${path}`);

  test('finds a charge by its metadata, and makes Stripe do nothing', async () => {
    double.reply = () => listWith([intentWith({ metadata })]);
    expect(await ask('authorise')).toMatchObject({ outcome: 'approved', moved });
    expect(paths()).toEqual(['GET /v1/payment_intents/search']);
    expect(double.requests[0]?.form['query']).toBe(`metadata['florin_operation']:'${operationId}'`);
  });

  test('reads the list of that time before it calls a charge absent: a search finds things late', async () => {
    double.reply = ({ path, form }) => {
      if (path.endsWith('/search')) return listWith([]);
      const first = intentWith({ id: 'pi_0', metadata: {} });
      return form['starting_after']
        ? listWith([intentWith({ metadata })])
        : listWith([first], { has_more: true });
    };
    expect(await ask('authorise')).toMatchObject({ outcome: 'approved' });
    expect(paths()).toEqual([
      'GET /v1/payment_intents/search',
      'GET /v1/payment_intents',
      'GET /v1/payment_intents',
    ]);
    // The id of the operation was made at 1688096058, as a UUID of version 7 says.
    expect(double.requests[1]?.form).toMatchObject({
      'created[gte]': '1688088858',
      'created[lte]': '1688103258',
    });
    double.reply = () => listWith([]);
    expect(await ask('authorise')).toEqual({ outcome: 'absent' });
    double.reply = ({ path }) =>
      path.endsWith('/search') ? listWith([]) : listWith([intentWith({ id: 'pi_0' })], { has_more: true });
    // More than can be read: nobody knows.
    expect(await ask('authorise')).toMatchObject({ outcome: 'unknown' });
  });

  test('a capture and a cancellation are known by the state of the PaymentIntent', async () => {
    answer(intentWith({ status: 'requires_capture' }));
    expect(await ask('capture')).toEqual({ outcome: 'absent' });
    expect(await ask('cancel')).toEqual({ outcome: 'absent' });
    answer(intentWith({ metadata: { florin_capture: operationId } }));
    expect(await ask('capture')).toMatchObject({ outcome: 'approved', moved });
    expect(await ask('cancel')).toMatchObject({ outcome: 'declined' });
    answer(intentWith({ metadata: { florin_capture: 'another' } }));
    expect(await ask('capture')).toMatchObject({ outcome: 'unknown' });
    answer(intentWith({ status: 'canceled' }));
    expect(await ask('cancel')).toMatchObject({ outcome: 'approved' });
    expect(await ask('capture')).toMatchObject({ outcome: 'declined' });
    expect(new Set(paths())).toEqual(new Set(['GET /v1/payment_intents/pi_1']));
  });

  test('a refund is found among those of its PaymentIntent', async () => {
    double.reply = () =>
      listWith([{ id: 're_1', status: 'succeeded', amount: 10_000, currency: 'usd', metadata }]);
    expect(await ask('refund')).toMatchObject({ outcome: 'approved', backendReference: 're_1' });
    expect(double.requests[0]).toMatchObject({ method: 'GET', form: { payment_intent: 'pi_1' } });
    double.reply = () => listWith([]);
    expect(await ask('refund')).toEqual({ outcome: 'absent' });
  });
});

describe('webhooks of Stripe', () => {
  const sdk = new Stripe('sk_test_1');
  const read = (event: object, changes: { secret?: string; ageS?: number } = {}) => {
    const payload = JSON.stringify({ id: 'evt_1', object: 'event', ...event });
    const timestamp = Math.floor(clock.now().getTime() / 1000) - (changes.ageS ?? 0);
    const secret = changes.secret ?? 'whsec_of_the_endpoint';
    const signature = sdk.webhooks.generateTestHeaderString({ payload, secret, timestamp });
    return connector.readCallback?.({
      headers: { 'stripe-signature': signature },
      body: Buffer.from(payload),
    });
  };
  const of = (type: string, object: object) => ({ type, data: { object } });

  test('tell how charges, captures and refunds ended', async () => {
    expect(await read(of('payment_intent.succeeded', intentWith({ metadata })))).toEqual({
      id: 'evt_1',
      operationId,
      result: { outcome: 'approved', backendReference: 'pi_1', moved },
    });
    const declined = intentWith({
      metadata,
      status: 'requires_payment_method',
      last_payment_error: { code: 'card_declined', decline_code: 'insufficient_funds' },
    });
    expect(await read(of('payment_intent.payment_failed', declined))).toMatchObject({
      result: { outcome: 'declined', failureCode: 'insufficient_funds' },
    });
    const manual = { capture_method: 'manual', metadata: { ...metadata, florin_capture: operationId } };
    expect(await read(of('payment_intent.succeeded', intentWith(manual)))).toMatchObject({ operationId });
    const refund = { id: 're_1', status: 'failed', amount: 1, currency: 'usd', metadata };
    expect(await read(of('refund.failed', refund))).toMatchObject({ result: { outcome: 'declined' } });
  });

  test('about what is not ours, or says nothing of an end, are ignored', async () => {
    expect(await read(of('payment_intent.succeeded', intentWith({})))).toBeUndefined();
    const byHand = intentWith({ capture_method: 'manual', metadata });
    expect(await read(of('payment_intent.succeeded', byHand))).toBeUndefined();
    const gone = intentWith({ status: 'canceled', metadata });
    expect(await read(of('payment_intent.amount_capturable_updated', gone))).toBeUndefined();
    expect(await read(of('customer.created', { id: 'cus_1' }))).toBeUndefined();
  });

  test('that Stripe did not sign, or signed long ago, are refused', async () => {
    const event = of('payment_intent.succeeded', intentWith({ metadata }));
    await expect(read(event, { secret: 'whsec_other' })).rejects.toMatchObject({
      code: 'invalid_credentials',
    });
    await expect(read(event, { ageS: 301 })).rejects.toMatchObject({ code: 'invalid_credentials' });
    const unsigned = { headers: {}, body: Buffer.from('{}') };
    await expect(connector.readCallback?.(unsigned)).rejects.toMatchObject({ code: 'invalid_credentials' });
  });
});

describe('what Stripe takes', () => {
  test('a test key takes payments of test mode, a live key those of live mode', async () => {
    const opened = ['sk_test_1', 'rk_test_1', 'sk_live_1'].map((key) => open(key));
    expect(opened.map(({ modes }) => modes)).toEqual([['test'], ['test'], ['live']]);
    for (const each of opened) await each.close?.();
  });

  test('a payment method is one of Stripe, capitals and all', () => {
    expect(() => connector.check?.('stripe:pm_1MtwBwLkdIwHu7ix28a3tqPa')).not.toThrow();
    for (const wrong of ['stripe', 'stripe:', 'stripe:tok_visa'])
      expect(() => connector.check?.(wrong)).toThrow('name a payment method of Stripe');
  });

  test('amounts are counted as Stripe counts them, and back', async () => {
    expect([toStripe(1_050n, 'USD'), toStripe(500n, 'JPY'), toStripe(1_050n, 'KWD')]).toEqual([
      1_050, 500, 1_050,
    ]);
    expect([toStripe(5n, 'ISK'), toStripe(5n, 'UGX'), toStripe(500n, 'MGA')]).toEqual([500, 500, 5]);
    expect(fromStripe(500, 'isk')).toEqual({ amountMinor: 5n, currency: 'ISK' });
    expect(fromStripe(5, 'mga')).toEqual({ amountMinor: 500n, currency: 'MGA' });
    expect(() => fromStripe(50, 'isk')).toThrow('no payment of ours has');
    expect(() => fromStripe(1, 'xxx')).toThrow('not in ISO 4217');
    expect(await charge({ amountMinor: 501n, currency: 'MGA' })).toMatchObject({ outcome: 'declined' });
    expect(double.requests).toEqual([]);
  });
});
