import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import { createMetrics } from '../metrics.ts';
import { buildServer, type ServerSettings } from './server.ts';
import { bodyOf, exchange, memoryLog, portOf, testSettings } from './testing.ts';

/** A server whose route `/held` answers when the test says so; the header field `sender` tells its senders apart. */
const openServer = async (changes: Partial<ServerSettings['server']>) => {
  const metrics = createMetrics({ process: false });
  const { log } = memoryLog();
  const app = buildServer({
    config: testSettings(changes),
    log,
    clock: systemClock,
    metrics,
    name: 'test',
    senderOf: (headers) => String(headers['sender'] ?? ''),
  });
  const waiting: (() => void)[] = [];
  let held = 0;
  app.get('/held', { config: { requires: 'public' } }, async () => {
    held += 1;
    await new Promise<void>((resolve) => waiting.push(resolve));
    return 'done';
  });
  app.post('/', { config: { requires: 'public' } }, () => 'ok');
  app.get('/large', { config: { requires: 'public' } }, () => Buffer.alloc(50_000_000));
  app.get('/health', { config: { requires: 'public', probe: true } }, () => 'well');
  await app.listen({ host: '127.0.0.1', port: 0 });
  const port = portOf(app);
  return {
    app,
    port,
    metrics,
    /** Occupies a place for a sender; what is given is the connection. */
    hold: async (sender = ''): Promise<Socket> => {
      const before = held;
      const socket = connect(port, '127.0.0.1');
      socket.write(`GET /held HTTP/1.1\r\nhost: a\r\nsender: ${sender}\r\nconnection: close\r\n\r\n`);
      await soon(() => held).toBe(before + 1);
      return socket;
    },
    release: (): void => waiting.splice(0).forEach((resolve) => resolve()),
    /** The answer to a small request of a sender. */
    ask: (sender = '', path = '/', method = 'POST'): Promise<string> =>
      exchange(
        port,
        `${method} ${path} HTTP/1.1\r\nhost: a\r\nsender: ${sender}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
      ),
  };
};

const served = 'HTTP/1.1 200 OK';
const refused = 'HTTP/1.1 503 Service Unavailable';

describe('a server with places for four requests', () => {
  let server: Awaited<ReturnType<typeof openServer>>;
  beforeEach(async () => {
    server = await openServer({ requestsMax: 4 });
  });
  afterEach(async () => {
    server.release();
    await server.app.close();
  });
  const holdFour = async (): Promise<Socket[]> => {
    const sockets: Socket[] = [];
    while (sockets.length < 4) sockets.push(await server.hold());
    return sockets;
  };

  test('answers the fifth 503 with Retry-After, as problem+json with every header field of a refusal', async () => {
    await holdFour();
    const answer = await server.ask();
    expect(answer).toContain(refused);
    expect(answer).toMatch(/^retry-after: 1\r$/im);
    expect(answer).toMatch(/^content-type: application\/problem\+json\r$/im);
    expect(answer).toMatch(/^x-content-type-options: nosniff\r$/im);
    const { code, status, request_id: id } = bodyOf(answer);
    expect({ code, status }).toEqual({ code: 'overloaded', status: 503 });
    expect(answer.toLowerCase()).toContain(`x-request-id: ${String(id)}`);
  });

  test('serves again as soon as there is a place', async () => {
    await holdFour();
    expect(await server.ask()).toContain(refused);
    server.release();
    expect(await server.ask()).toContain(served);
  });

  test('answers health checks however many others there are', async () => {
    await holdFour();
    expect(await server.ask('', '/health?full=1', 'GET')).toContain(served);
    expect(await server.ask('', '/healthy', 'GET')).toContain(refused);
  });

  test('gives a sender who has less than its share a place beside one who has all', async () => {
    await holdFour();
    await server.hold('other');
    expect(await server.ask('other')).toContain(served);
    expect(await server.ask()).toContain(refused);
  });

  test('works on twice as many at most, whoever sends them', async () => {
    await holdFour();
    for (const sender of ['a', 'b', 'c', 'd']) await server.hold(sender);
    expect(await server.ask('e')).toContain(refused);
  });

  test('keeps the place of a client that left until the work for it is over', async () => {
    for (const socket of await holdFour()) socket.destroy();
    await soon(() => connections(server.app.server)).toBe(0);
    expect(await server.ask()).toContain(refused);
    server.release();
    expect(await server.ask()).toContain(served);
  });

  test('counts what it refused, by reason and as an answer', async () => {
    await holdFour();
    await server.ask();
    const text = await server.metrics.text();
    expect(text).toContain('payments_overload_refusals_total{reason="requests"} 1');
    expect(text).toContain('http_requests_total{method="POST",route="unmatched",status="503"} 1');
  });

  test('goes on reading a connection whose request it refused', async () => {
    await holdFour();
    const one = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\ncontent-type: application/json\r\n';
    const refusals = await exchange(
      server.port,
      `${one}\r\n${'1'.repeat(70_000)}${one}connection: close\r\n\r\n${'1'.repeat(70_000)}`,
    );
    expect(refusals.match(/HTTP\/1\.1 503/g)).toHaveLength(2);
  });
});

describe('connections', () => {
  test('when there are too many, idle ones make room', async () => {
    const { app, port, metrics } = await openServer({
      connectionsMax: 5,
      keepAliveTimeoutMs: 600_000,
      requestTimeoutMs: 600_000,
    });
    const idle = Array.from({ length: 5 }, () => exchange(port, 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n'));
    await soon(() => idleConnections(metrics)).toBe(5);
    const dropped = await exchange(port, 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n');
    expect(dropped).toBe('');
    for (const answer of await Promise.all(idle)) expect(answer).toContain(served);
    const last = 'GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n';
    expect(await exchange(port, last)).toContain(served);
    expect(await metrics.text()).toContain('payments_overload_refusals_total{reason="connections"} 1');
    await app.close();
  });

  test('a client that does not take its answer is closed, one that still waits for it is not', async () => {
    const server = await openServer({ requestTimeoutMs: 200, headersTimeoutMs: 200 });
    const waiting = await server.hold();
    const deaf = connect(server.port, '127.0.0.1').pause();
    deaf.write('GET /large HTTP/1.1\r\nhost: a\r\n\r\n');
    await soon(() => connections(server.app.server)).toBe(2);
    await soon(() => connections(server.app.server)).toBe(1);
    server.release();
    let text = '';
    for await (const chunk of waiting) text += String(chunk);
    expect(text).toContain(served);
    deaf.destroy();
    await server.app.close();
  });
});

/** Polls, with more patience than the default: a machine may be busy. */
const soon = <Value>(value: () => Value) => expect.poll(value, { timeout: 10_000 });

const connections = (server: { getConnections(done: (error: Error | null, count: number) => void): void }) =>
  new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));

const idleConnections = async (metrics: ReturnType<typeof createMetrics>): Promise<number> =>
  Number(/^http_requests_total\{.*"\/health".*\} (\d+)$/m.exec(await metrics.text())?.[1] ?? 0);
