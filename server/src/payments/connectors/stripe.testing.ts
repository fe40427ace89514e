import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

/** One request as Stripe would have got it: its form, decoded. */
export type StripeRequest = {
  method: string;
  path: string;
  form: Record<string, string>;
  headers: Record<string, string>;
};

/** What the double answers to a request. `hang` and `reset` are no answers. */
export type StripeReply = { status: number; body: object } | 'hang' | 'reset';

/** An HTTP server in the place of Stripe's: it keeps what arrives, and answers what a test tells it to. */
export const openStripeDouble = async () => {
  const requests: StripeRequest[] = [];
  const double = {
    requests,
    reply: (_request: StripeRequest): StripeReply => ({
      status: 404,
      body: { error: { type: 'invalid_request_error' } },
    }),
    url: '',
    [Symbol.asyncDispose]: async (): Promise<void> => {
      server.close();
      server.closeAllConnections();
    },
  };
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const target = new URL(incoming.url ?? '/', 'http://stripe');
      const form = new URLSearchParams(
        incoming.method === 'GET' ? target.search : Buffer.concat(chunks).toString('utf8'),
      );
      const request = {
        method: incoming.method ?? '',
        path: target.pathname,
        form: Object.fromEntries(form),
        headers: incoming.headers as Record<string, string>, // none is sent twice
      };
      requests.push(request);
      const reply = double.reply(request);
      if (reply === 'reset') incoming.socket.resetAndDestroy();
      if (typeof reply === 'string') return;
      response.writeHead(reply.status, { 'content-type': 'application/json', 'request-id': 'req_1' });
      response.end(JSON.stringify(reply.body));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  double.url = `http://127.0.0.1:${port}`;
  return double;
};

/** A PaymentIntent as far as the connector reads it. */
export const intentWith = (more: object): object => ({
  id: 'pi_1',
  object: 'payment_intent',
  amount: 10_000,
  amount_received: 10_000,
  amount_capturable: 0,
  currency: 'usd',
  capture_method: 'automatic',
  status: 'succeeded',
  metadata: {},
  ...more,
});

/** A list as Stripe answers it. */
export const listWith = (data: object[], more: object = {}): StripeReply => ({
  status: 200,
  body: { object: 'list', data, has_more: false, url: '/', ...more },
});
