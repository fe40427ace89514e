import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bodyOf, exchange, testServer } from './testing.ts';
import { answerUnreadable } from './connection.ts';

let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  server = await testServer(
    (app) => {
      app.get('/', { config: { requires: 'public' } }, () => ({ ok: true }));
      app.post('/', { config: { requires: 'public' } }, (request) => ({ got: request.body }));
    },
    { headersTimeoutMs: 200, requestTimeoutMs: 400 },
  );
});
afterAll(() => server.app.close());

const send = (bytes: string): Promise<string> => exchange(server.port, bytes);
/** The status and code of a refusal that is complete: problem+json, security header fields, one request id. */
const refusalIn = (answer: string): string => {
  const [, status = ''] = /^HTTP\/1\.1 (\d+) /.exec(answer) ?? [];
  expect(answer).toMatch(/^x-content-type-options: nosniff\r$/im);
  expect(answer).toMatch(/^strict-transport-security: /im);
  expect(answer).toMatch(/^content-type: application\/problem\+json/im);
  const body = bodyOf(answer);
  expect(body['status']).toBe(Number(status));
  expect(answer.toLowerCase()).toContain(`x-request-id: ${String(body['request_id'])}`);
  return `${status} ${String(body['code'])}`;
};
const stillServes = async (): Promise<void> => {
  expect((await fetch(server.url)).status).toBe(200);
};

describe('what is not HTTP', () => {
  test('malformed requests are 400 and close the connection', async () => {
    for (const bytes of [
      'nonsense\r\n\r\n',
      'GET / HTTP/9.9\r\nhost: a\r\n\r\n',
      'GET / HTTP/1.1\r\nhost: a\r\nbad header: x\r\n\r\n',
      'GET / HTTP/1.1\r\nhost: a\r\nx: \u0000\r\n\r\n',
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n',
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n',
    ]) {
      expect(refusalIn(await send(bytes))).toBe('400 invalid_request');
    }
    await stillServes();
  });

  test('a request that could be smuggled is 400', async () => {
    const head = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n';
    for (const bytes of [
      `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${head}content-length: 2\r\ncontent-length: 4\r\n\r\n{}{}`,
      `${head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
      `${head}transfer-encoding: chunked\r\n\r\nzz\r\n\r\n`,
      `${head}transfer-encoding : chunked\r\n\r\n0\r\n\r\n`,
      `${head}content-length: 2\n\n{}`,
    ]) {
      expect(refusalIn(await send(bytes))).toBe('400 invalid_request');
    }
    await stillServes();
  });

  test('header fields over the limit are 431', async () => {
    expect(refusalIn(await send(`GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`))).toBe(
      '431 headers_too_large',
    );
    const many = (count: number) =>
      `GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${'a: b\r\n'.repeat(count - 2)}\r\n`;
    expect(refusalIn(await send(many(101)))).toBe('431 headers_too_large');
    expect(await send(many(100))).toContain('200 OK');
    await stillServes();
  });

  test('a request without a host, or with two, is 400', async () => {
    expect(refusalIn(await send('GET / HTTP/1.1\r\nconnection: close\r\n\r\n'))).toBe('400 invalid_request');
    expect(refusalIn(await send('GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n'))).toBe(
      '400 invalid_request',
    );
    expect(await send('GET / HTTP/1.0\r\n\r\n')).toContain('200 OK');
  });

  test('TLS sent to a plain port is 400', async () => {
    expect(refusalIn(await exchange(server.port, Buffer.from('160301020001000001fc0303', 'hex')))).toBe(
      '400 invalid_request',
    );
  });
});

describe('clients that are slow', () => {
  test('header fields that do not arrive in time are 408', async () => {
    expect(refusalIn(await send('GET / HTTP/1.1\r\nhost: a\r\nx: '))).toBe('408 request_timeout');
    await stillServes();
  });

  test('a body that does not arrive in time is 408', async () => {
    const head =
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n';
    expect(refusalIn(await send(`${head}{"a":`))).toBe('408 request_timeout');
    await stillServes();
  });

  test('a hundred slow clients keep nobody from being served', async () => {
    const slow = Array.from({ length: 100 }, () => send('GET / HTTP/1.1\r\nhost: a\r\nx: '));
    await stillServes();
    for (const answer of await Promise.all(slow)) expect(answer).toContain('HTTP/1.1 408');
  });
});

describe('one line about every request', () => {
  test('it names the route template and never the URL', async () => {
    await fetch(`${server.url}/?secret=hunter2`, { headers: { 'x-request-id': 'line-1' } });
    await fetch(`${server.url}/secret/path`, { headers: { 'x-request-id': 'line-2' } });
    const lines = server.lines.filter((line) => String(line['request_id']).startsWith('line-'));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({
      message: 'request',
      method: 'GET',
      route: '/',
      status: 200,
      server: 'test',
    });
    expect(lines[0]?.['duration_ms']).toBeTypeOf('number');
    expect(lines[0]?.['trace_id']).toMatch(/^[0-9a-f]{32}$/);
    expect(lines[1]).toMatchObject({ route: 'unmatched', status: 404 });
    expect(JSON.stringify(server.lines)).not.toContain('secret');
  });

  test('a request that is not HTTP has a line too', async () => {
    const answer = await send('nonsense\r\n\r\n');
    const id = bodyOf(answer)['request_id'];
    expect(server.lines.find((line) => line['request_id'] === id)).toMatchObject({
      message: 'unreadable request',
      status: 400,
    });
  });
});

test('a connection whose answer has begun is closed, not answered twice', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using streaming = await testServer((app) => {
    app.get('/', { config: { requires: 'public' } }, (_request, reply) => {
      reply.hijack();
      reply.raw.write('begun');
      const { socket } = reply.raw;
      if (socket)
        answerUnreadable(
          { log: app.log as never, clock: { now: () => new Date() } },
          new Error('late'),
          socket,
        );
      resolve();
    });
  });
  const answer = exchange(streaming.port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  await promise;
  expect((await answer).match(/HTTP\/1\.1/g) ?? []).not.toHaveLength(2);
});

test('a request that was refused before its body came gets no second answer', async () => {
  const head = 'POST /?%ff HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n';
  const late = await send(`${head}content-length: 100\r\n\r\n{"a":`);
  const broken = await send(`${head}transfer-encoding: chunked\r\n\r\nzz\r\n`);
  for (const answer of [late, broken]) expect(answer.match(/HTTP\/1\.1 \d+/g)?.length ?? 0).toBeLessThan(2);
  expect(late).toContain('percent-encoded');
});

test('a connection that sends requests without waiting is closed after sixteen, and no further one is looked at', async () => {
  const before = server.lines.length;
  const answer = await send('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(1_000));
  expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(16);
  expect(answer.match(/^connection: close\r$/gim)).toHaveLength(1);
  expect(server.lines.slice(before)).toHaveLength(16);
});

test('a connection that says nothing is closed in time, without a word', async () => {
  const before = server.lines.length;
  expect(await send('')).toBe('');
  expect(server.lines).toHaveLength(before);
});

test('pipelined requests are all answered, in order', async () => {
  const socket = connect(server.port, '127.0.0.1');
  const one = 'GET / HTTP/1.1\r\nhost: a\r\nx-request-id: p%\r\n\r\n';
  socket.write(
    one.replace('%', '1') +
      one.replace('%', '2') +
      one.replace('%', '3').replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'),
  );
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  expect(text.match(/x-request-id: p\d/g)).toEqual([
    'x-request-id: p1',
    'x-request-id: p2',
    'x-request-id: p3',
  ]);
});
