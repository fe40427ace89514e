import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import { openReceiver, until } from '../webhooks/testing.ts';
import { describer } from './payments.ts';
import { apiForTests, send, testKey } from './testing.ts';
import { localSettle, startWorker } from './worker.ts';

const api = apiForTests();

const webhooks = {
  retryMax: 14,
  schedule: 'standard',
  timeoutMs: 5_000,
  signatureVersion: 'sha256',
  endpointsMax: 20,
  disableAfterDays: 5,
  inFlightMax: 64,
  inFlightPerEndpointMax: 16,
} as const;

const retention = { idempotencyKeysH: 72, webhookAttemptsDays: 30, eventsDays: 90 };

/** A worker like the one of `npm start`. */
const openWorker = () => {
  const { payments, customerKeys } = api.parts;
  const running = startWorker(
    {
      ...api.parts,
      connection: api.database.connection,
      connectors: payments.connectors,
      connectorTimeoutMs: payments.connectorTimeoutMs,
      settle: localSettle(payments),
      describeCustomers: describer(api.database.db, customerKeys),
      webhooks,
      retention,
    },
    { graceMs: 10_000 },
  );
  return { [Symbol.asyncDispose]: () => running.stop() };
};

const ask = (method: string, path: string, json?: object) =>
  send(`${api.url}/api/v1${path}`, { method, headers: testKey, json });

test('a payment reaches the vendor signed, with who paid, and what was answered is shown', async () => {
  await using receiver = await openReceiver((_, response) => {
    response.writeHead(200, { 'x-handled-by': 'shop' }).end('ada@example.com paid 1.00');
  });
  await using _ = openWorker();
  const { body: endpoint } = await ask('POST', '/webhook-endpoints', {
    url: receiver.url,
    events: ['payment.succeeded'],
  });
  const { body: payment } = await ask('POST', '/payments', {
    amount: '1.00',
    currency: 'USD',
    customer_email: 'ada@example.com',
    customer_name: 'Ada',
  });
  await until(() => expect(receiver.received).toHaveLength(1));
  const [got] = receiver.received;
  expect(got?.event).toMatchObject({
    type: 'payment.succeeded',
    object: { type: 'payment', id: payment['id'] },
    data: { id: payment['id'], customer_email: 'ada@example.com', customer_name: 'Ada' },
  });
  const webhook = new Webhook(String(endpoint['secret']));
  const signature = webhook.sign(String(got?.event['id']), api.parts.clock.now(), got?.body ?? '');
  expect(got?.headers['webhook-signature']).toBe(signature);

  const list = `/deliveries?event=${String(got?.event['id'])}`;
  await until(async () => {
    const { body } = await ask('GET', list);
    expect(body['data']).toMatchObject([{ status: 'delivered', endpoint_id: endpoint['id'] }]);
  });
  const { body: found } = await ask('GET', list);
  const [delivery] = found['data'] as { id: string }[]; // `data` of a list
  const { body: shown } = await ask('GET', `/deliveries/${delivery?.id}`);
  expect(shown).toMatchObject({
    attempts: 1,
    last_status: 200,
    tries: [
      {
        number: 1,
        status: 200,
        error: null,
        request_headers: { 'webhook-id': got?.event['id'] },
        response_headers: { 'x-handled-by': 'shop' },
        // It sent back whose data it was told: that is kept nowhere.
        response_body: '[REDACTED] paid 1.00',
      },
    ],
  });
});
