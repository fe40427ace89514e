import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../lib/clock.ts';
import { Secret } from '../../lib/secret.ts';
import type { Connector, ConnectorCall } from './connector.ts';
import { openHttp } from './http.ts';
import { backendSecret } from './testing.ts';

const clock = manualClock('2026-11-22T08:00:00Z');

describe('what is sent', () => {
  type Arrived = { url: string; headers: Record<string, string>; body: string };
  let server: Server;
  let arrived: Arrived[];
  let reply: { status: number; body: string };
  let connector: Connector;
  beforeEach(async () => {
    arrived = [];
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const headers = request.headers as Record<string, string>; // none is sent twice
        arrived.push({ url: request.url ?? '', headers, body: Buffer.concat(chunks).toString('utf8') });
        response.writeHead(reply.status, { location: '/elsewhere' }).end(reply.body);
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo; // it listens on TCP
    const url = `http://127.0.0.1:${port}/base/path`;
    connector = openHttp({ url, secret: new Secret(backendSecret), timeoutMs: 1_000, clock });
  });
  afterEach(async () => {
    await connector.close?.();
    server.close();
  });

  const operationId = 'op_01h455vb4pex5vsknk084sn02q';
  const call = (): ConnectorCall => ({
    operationId,
    paymentId: 'pay_01h455vb4pex5vsknk084sn02q',
    mode: 'live',
    paymentMethod: 'http:card_1',
    amountMinor: 10_000n,
    currency: 'USD',
    authorisation: 'ch_1',
    signal: AbortSignal.timeout(1_000),
  });
  const said = (more: object): { status: number; body: string } => ({
    status: 200,
    body: JSON.stringify({ operation_id: operationId, ...more }),
  });
  const approved = { outcome: 'approved', amount_minor: '10000', currency: 'USD', reference: 'ch_2' };

  test('says what is asked, under the operation as the idempotency key, signed as any library can check', async () => {
    reply = said(approved);
    await connector.refund(call());
    const [{ url, headers, body } = { url: '', headers: {}, body: '' }] = arrived;
    expect(url).toBe('/base/path/refund');
    expect(headers).toMatchObject({ 'idempotency-key': operationId, 'content-type': 'application/json' });
    expect(JSON.parse(body)).toEqual({
      kind: 'refund',
      operation_id: operationId,
      payment_id: 'pay_01h455vb4pex5vsknk084sn02q',
      mode: 'live',
      amount_minor: '10000',
      currency: 'USD',
      payment_method: 'card_1',
      reference: 'ch_1',
    });
    const webhook = new Webhook(backendSecret, { format: 'raw' });
    const signature = webhook.sign(String(headers['webhook-id']), clock.now(), body);
    expect(headers['webhook-signature']).toBe(signature);
    expect(Number(headers['webhook-timestamp'])).toBe(Math.floor(clock.now().getTime() / 1000));
  });

  test('asking names the operation, and asks for nothing to be done', async () => {
    reply = said({ outcome: 'absent' });
    expect(await connector.status({ ...call(), kind: 'capture' })).toEqual({ outcome: 'absent' });
    expect(arrived[0]?.url).toBe('/base/path/status');
    expect(JSON.parse(arrived[0]?.body ?? '')).toMatchObject({ kind: 'status', of: 'capture' });
  });

  test('an answer is believed as it is meant', async () => {
    reply = said(approved);
    expect(await connector.authorise({ ...call(), capture: true })).toEqual({
      outcome: 'approved',
      backendReference: 'ch_2',
      moved: { amountMinor: 10_000n, currency: 'USD' },
    });
    reply = said({ outcome: 'pending' });
    expect(await connector.capture(call())).toEqual({ outcome: 'unknown', isPending: true });
    reply = said({ ...approved, reference: '4242424242424242' });
    expect(await connector.capture(call())).not.toHaveProperty('backendReference');
  });

  test.each([
    [
      'another operation',
      { status: 200, body: JSON.stringify({ ...approved, operation_id: 'op_01h455vb4pex5vsknk084sn02r' }) },
    ],
    ['an approval without an amount', said({ outcome: 'approved' })],
    ['an amount with decimals', said({ ...approved, amount_minor: '100.00' })],
    ['an outcome nobody knows', said({ outcome: 'maybe' })],
    ['no JSON', { status: 200, body: '<h1>' }],
    ['nothing', { status: 200, body: '' }],
    ['"absent" to a call', said({ outcome: 'absent' })],
    [
      '404 of a gateway',
      { status: 404, body: JSON.stringify({ operation_id: operationId, outcome: 'absent' }) },
    ],
    ['a redirect', { status: 307, body: '' }],
    ['422', { status: 422, body: JSON.stringify({ operation_id: operationId, outcome: 'declined' }) }],
  ])('%s is no answer: the outcome stays open, and nothing is sent again', async (_, given) => {
    reply = given;
    await expect(connector.authorise({ ...call(), capture: true })).rejects.toBeInstanceOf(Error);
    expect(arrived).toHaveLength(1);
  });

  test('connections are kept: ten calls one after the other need two at most', async () => {
    let connections = 0;
    server.on('connection', () => (connections += 1));
    reply = said(approved);
    for (let made = 0; made < 10; made += 1) await connector.capture(call());
    expect(connections).toBeLessThanOrEqual(2);
  });
});
