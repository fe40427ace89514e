import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import {
  OutboundError,
  openOutbound,
  type Outbound,
  type OutboundAnswer,
} from '../../src/lib/outbound/outbound.ts';
import { requestTo, startRawReceiver, startReceiver, type Receiver } from '../../src/lib/outbound/testing.ts';

/* Receivers of webhooks that mean ill, or are broken. What one of them costs is bounded, and the process survives it. */

const opened: Outbound[] = [];
const started: Receiver[] = [];
afterEach(async () => {
  for (const outbound of opened.splice(0)) await outbound.close();
  for (const receiver of started.splice(0)) await receiver[Symbol.asyncDispose]();
});

type Outcome = { outbound: Outbound; url: string; hungUp: Promise<void> };

/** A way out, and a receiver that reads what it is sent, does what `onSocket` does, and knows when it was hung up on. */
const against = async (onSocket: (socket: Socket) => void): Promise<Outcome> => {
  const { promise: hungUp, resolve } = Promise.withResolvers<void>();
  const receiver = await startRawReceiver((socket) => {
    socket.on('close', () => resolve());
    socket.resume();
    onSocket(socket);
  });
  const outbound = openOutbound({ allow: [], allowLoopback: true });
  started.push(receiver);
  opened.push(outbound);
  return { outbound, url: `http://127.0.0.1:${receiver.port}/`, hungUp };
};

const send = ({ outbound, url }: Outcome, timeoutMs = 10_000): Promise<OutboundAnswer> =>
  outbound.send(requestTo(url, { timeoutMs }));

const codeOf = (sent: Promise<unknown>): Promise<string> =>
  sent.then(
    () => 'answered',
    (error: unknown) => {
      if (error instanceof OutboundError) return error.code;
      throw error;
    },
  );

/** Writes for as long as the other side listens. */
const flood = async (socket: Socket, chunk: string | Buffer): Promise<number> => {
  let written = 0;
  while (!socket.destroyed) {
    written += chunk.length;
    if (!socket.write(chunk))
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
  }
  return written;
};

describe('a receiver that takes its time costs the time of one call:', () => {
  const silent = (): void => undefined;
  const trickle = (head: string, bytes: string) => (socket: Socket) => {
    socket.write(head);
    let sent = 0;
    const timer = setInterval(() => {
      socket.write(bytes[sent % bytes.length] ?? '');
      sent += 1;
    }, 5);
    socket.on('close', () => clearInterval(timer));
  };

  test.each([
    { name: 'it says nothing', onSocket: silent },
    { name: 'it trickles its status line', onSocket: trickle('', `HTTP/1.1 200 ${'O'.repeat(9_999)}`) },
    { name: 'it trickles header fields', onSocket: trickle('HTTP/1.1 200 OK\r\n', 'x-a: b\r\n') },
    { name: 'it trickles a body', onSocket: trickle('HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n', 'x') },
    {
      name: 'it trickles a chunk',
      onSocket: trickle('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'),
    },
    { name: 'it trickles a body without an end', onSocket: trickle('HTTP/1.1 200 OK\r\n\r\n', 'x') },
    {
      name: 'it stops after the fields',
      onSocket: trickle('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n', ''),
    },
  ])('$name', async ({ onSocket }) => {
    const receiver = await against(onSocket);
    const sent = send(receiver, 300);
    await expect(sent).rejects.toMatchObject({
      code: 'timeout',
      message: 'the receiver gave no whole answer within 300 ms',
    });
    // Timers may fire a little early; what matters is that it did not end for another reason.
    await expect(sent).rejects.toSatisfy(({ durationMs }: OutboundError) => durationMs >= 295);
    await receiver.hungUp;
  });

  test('it accepts no connection', async () => {
    // TEST-NET-1 (RFC 5737), where nobody is; some networks say so at once.
    const outbound = openOutbound({ allow: ['192.0.2.1'], allowLoopback: false });
    opened.push(outbound);
    const sent = outbound.send(requestTo('https://192.0.2.1/', { timeoutMs: 300 }));
    expect(['timeout', 'connection', 'tls']).toContain(await codeOf(sent));
  });

  test('its name server says nothing', async () => {
    const never = new Promise<string[]>(() => undefined);
    const outbound = openOutbound({ allow: [], allowLoopback: false }, { lookup: () => never });
    opened.push(outbound);
    expect(await codeOf(outbound.send(requestTo('https://shop.example/', { timeoutMs: 100 })))).toBe(
      'timeout',
    );
  });

  test('it speaks no TLS', async () => {
    const outbound = openOutbound({ allow: [], allowLoopback: true });
    const { url, hungUp } = await against(silent);
    opened.push(outbound);
    const sent = outbound.send(requestTo(url.replace('http:', 'https:'), { timeoutMs: 100 }));
    expect(await codeOf(sent)).toBe('timeout');
    await hungUp;
  });

  test('it does not read what it is sent', async () => {
    const receiver = await against((socket) => socket.pause());
    const body = Buffer.alloc(20_000_000, 'x');
    const sent = receiver.outbound.send(requestTo(receiver.url, { body, timeoutMs: 300 }));
    expect(await codeOf(sent)).toBe('timeout');
  });
});

describe('a receiver that says too much is hung up on:', () => {
  test('a body of 10 GB', async () => {
    const { promise: written, resolve } = Promise.withResolvers<number>();
    const receiver = await against((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n');
      void flood(socket, Buffer.alloc(65_536, 'x')).then(resolve);
    });
    const answer = await send(receiver);
    expect(answer).toMatchObject({ status: 200, isCut: true });
    expect(answer.body.toString()).toBe('x'.repeat(1_024));
    await receiver.hungUp;
    // What the buffers of two sockets hold, and not the answer.
    expect(await written).toBeLessThan(100_000_000);
  });

  test('a body without an end', async () => {
    const receiver = await against((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      void flood(socket, `10000\r\n${'x'.repeat(65_536)}\r\n`);
    });
    expect(await send(receiver)).toMatchObject({ isCut: true, body: { length: 1_024 } });
    await receiver.hungUp;
  });

  test('100,000 header fields', async () => {
    const fields = Array.from({ length: 100_000 }, (_, index) => `x-${index}: 1\r\n`).join('');
    const receiver = await against((socket) => socket.write(`HTTP/1.1 200 OK\r\n${fields}\r\n`));
    await expect(send(receiver)).rejects.toMatchObject({
      code: 'answer',
      message: 'the receiver answered with more than 16 KiB of header fields',
    });
    await receiver.hungUp;
  });

  test.each([
    { name: 'one header field of a megabyte', flooded: 'x-a: ', chunk: 'x'.repeat(65_536) },
    { name: 'header fields without an end', flooded: '', chunk: 'x-a: b\r\n'.repeat(1_000) },
  ])('$name', async ({ flooded, chunk }) => {
    const receiver = await against((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${flooded}`);
      void flood(socket, chunk);
    });
    expect(await codeOf(send(receiver))).toBe('answer');
    await receiver.hungUp;
  });

  test('trailers without an end', async () => {
    const receiver = await against((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n');
      void flood(socket, 'x-a: b\r\n'.repeat(1_000));
    });
    expect(await codeOf(send(receiver))).toBe('answer');
    await receiver.hungUp;
  });

  test('extensions of a chunk without an end', async () => {
    const receiver = await against((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=');
      void flood(socket, 'x'.repeat(65_536));
    });
    await expect(send(receiver)).rejects.toMatchObject({
      code: 'answer',
      message: 'the receiver answered at greater length than HTTP needs',
    });
    await receiver.hungUp;
  });

  test('informational answers without an end', async () => {
    const receiver = await against((socket) => {
      void flood(socket, 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n');
    });
    expect(await codeOf(send(receiver))).toBe('answer');
    await receiver.hungUp;
  });
});

describe('a receiver that is broken is told as such:', () => {
  test.each([
    { name: 'it hangs up', answer: '', code: 'connection' },
    { name: 'it hangs up in its fields', answer: 'HTTP/1.1 200 OK\r\nx-a: b', code: 'connection' },
    {
      name: 'it hangs up in its body',
      answer: 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx',
      code: 'connection',
    },
    { name: 'it speaks another protocol', answer: '220 mail.example ESMTP\r\n', code: 'answer' },
    {
      name: 'two lengths',
      answer: 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx',
      code: 'answer',
    },
    {
      name: 'a length and chunks',
      answer: 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
      code: 'answer',
    },
    { name: 'half an end of a line', answer: 'HTTP/1.1 200 OK\nx: y\rz: 1\n\n', code: 'answer' },
    { name: 'a NUL in a field', answer: 'HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n', code: 'answer' },
    { name: 'a status that is none', answer: 'HTTP/1.1 99999 No\r\n\r\n', code: 'answer' },
    { name: 'HTTP/0.9', answer: '<html></html>', code: 'answer' },
    { name: 'HTTP/2', answer: Buffer.from('000012040000000000', 'hex'), code: 'answer' },
    {
      name: 'it changes the protocol unasked',
      answer: 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      code: 'connection',
    },
    { name: 'it wants to be asked to continue', answer: 'HTTP/1.1 100 Continue\r\n\r\n', code: 'connection' },
  ])('$name', async ({ answer, code }) => {
    const receiver = await against((socket) => socket.once('data', () => socket.end(answer)));
    expect(await codeOf(send(receiver))).toBe(code);
  });

  test('it resets the connection', async () => {
    const receiver = await against((socket) => socket.once('data', () => socket.resetAndDestroy()));
    expect(await codeOf(send(receiver))).toBe('connection');
  });

  test('nobody listens', async () => {
    const receiver = await against(() => undefined);
    await started.pop()?.[Symbol.asyncDispose]();
    await expect(send(receiver)).rejects.toMatchObject({
      code: 'connection',
      message: 'the receiver refused the connection: is it running, and open to the internet?',
    });
  });

  test('header fields with names that mean something to JavaScript are fields like others', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then'];
    const fields = names.map((name) => `${name}: 1\r\n${name}: 2\r\n`).join('');
    const receiver = await against((socket) =>
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\n${fields}content-length: 0\r\n\r\n`)),
    );
    const { headers } = await send(receiver);
    expect(Object.keys(headers)).toEqual([...names.map((name) => name.toLowerCase()), 'content-length']);
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
    expect(headers['constructor']).toBe('1, 2');
  });

  test('a second answer that nobody asked for is not given to the next call', async () => {
    let asked = 0;
    const receiver = await against((socket) =>
      socket.on('data', () => {
        asked += 1;
        const answer = (body: string): string => `HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${body}`;
        socket.write(asked === 1 ? answer('1') + answer('!') : answer(String(asked)));
      }),
    );
    expect((await send(receiver)).body.toString()).toBe('1');
    expect((await send(receiver)).body.toString()).toBe('2');
  });
});

test('one that hangs holds up no call to another', async () => {
  const hanging = await startReceiver(() => undefined);
  const healthy = await startReceiver((_request, response) => response.end('ok'));
  started.push(hanging, healthy);
  const outbound = openOutbound({ allow: [], allowLoopback: true });
  opened.push(outbound);
  const stuck = Array.from({ length: 200 }, () =>
    codeOf(outbound.send(requestTo(`http://127.0.0.1:${hanging.port}/`, { timeoutMs: 3_000 }))),
  );
  let waiting = stuck.length;
  for (const one of stuck) void one.then(() => (waiting -= 1));
  for (let call = 0; call < 20; call += 1)
    expect((await outbound.send(requestTo(`http://127.0.0.1:${healthy.port}/`))).status).toBe(200);
  expect(waiting).toBe(200);
  expect(new Set(await Promise.all(stuck))).toEqual(new Set(['timeout']));
});
