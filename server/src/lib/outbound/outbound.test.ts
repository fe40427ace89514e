import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { manualClock } from '../clock.ts';
import { rehearse } from '../dry-run.ts';
import { AppError } from '../errors.ts';
import { openOutbound, type Outbound } from './outbound.ts';
import { requestTo, startReceiver, type Receiver } from './testing.ts';

const opened: Outbound[] = [];
const started: Receiver[] = [];
afterEach(async () => {
  for (const outbound of opened.splice(0)) await outbound.close();
  for (const receiver of started.splice(0)) await receiver[Symbol.asyncDispose]();
});

/** A way out for which this machine is allowed, and a receiver on it. */
const serving = async (listener: RequestListener, options: Parameters<typeof openOutbound>[1] = {}) => {
  const receiver = await startReceiver(listener);
  const outbound = openOutbound({ allow: [], allowLoopback: true }, options);
  started.push(receiver);
  opened.push(outbound);
  const url = `http://127.0.0.1:${receiver.port}/hooks?shop=1`;
  return { receiver, outbound, url };
};

const bodyOf = async (request: Parameters<RequestListener>[0]): Promise<string> => {
  let body = '';
  request.setEncoding('utf8');
  for await (const chunk of request) body += String(chunk);
  return body;
};

describe('a call', () => {
  test('sends what it was given, byte by byte, and gives status, fields and body of the answer', async () => {
    const seen: unknown[] = [];
    const { outbound, url } = await serving(async (request, response) => {
      const { method, url: path, headers } = request;
      seen.push({ method, path, headers, body: await bodyOf(request) });
      response.writeHead(202, { 'x-one': '1', 'set-cookie': ['a=1', 'b=2'] }).end('accepted: ü');
    });
    const body = Buffer.from('{"amount": "1.00", "to": "ü"}\n');
    const headers = { 'webhook-id': 'evt_1', 'content-type': 'application/json' };
    const answer = await outbound.send(requestTo(url, { headers, body }));
    expect(seen).toEqual([
      {
        method: 'POST',
        path: '/hooks?shop=1',
        body: body.toString(),
        headers: {
          host: new URL(url).host,
          connection: 'keep-alive',
          'accept-encoding': 'identity',
          'content-length': String(body.length),
          ...headers,
        },
      },
    ]);
    expect(answer).toMatchObject({ status: 202, isCut: false });
    expect(answer.headers).toMatchObject({ 'x-one': '1', 'set-cookie': 'a=1, b=2' });
    expect(answer.body.toString()).toBe('accepted: ü');
    expect(Number.isInteger(answer.durationMs)).toBe(true);
  });

  test('by GET has no body', async () => {
    const { outbound, url } = await serving((request, response) => {
      response.end(`${request.method} ${request.headers['content-length']}`);
    });
    const answer = await outbound.send({
      url,
      method: 'GET',
      headers: {},
      timeoutMs: 10_000,
      answerMaxBytes: 100,
    });
    expect(answer.body.toString()).toBe('GET undefined');
  });

  test('gives every status as an answer, and follows no redirect', async () => {
    const paths: (string | undefined)[] = [];
    const { outbound, url } = await serving((request, response) => {
      paths.push(request.url);
      const status = Number(request.url?.slice(1));
      response.writeHead(status, { location: '/200' }).end('moved');
    });
    for (const status of [200, 204, 301, 302, 303, 307, 308, 400, 410, 500, 503]) {
      const answer = await outbound.send(requestTo(new URL(`/${status}`, url).href));
      expect(answer.status).toBe(status);
    }
    expect(paths).toHaveLength(11);
  });

  test('hears the answer after informational ones', async () => {
    const { outbound, url } = await serving((_request, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.writeProcessing();
      response.writeHead(201, { 'x-final': 'yes' }).end();
    });
    const answer = await outbound.send(requestTo(url));
    expect(answer.status).toBe(201);
    expect(answer.headers).toMatchObject({ 'x-final': 'yes' });
    expect(answer.headers).not.toHaveProperty('link');
  });

  test('reads of a body what it was told to, and says whether there is more', async () => {
    const { outbound, url } = await serving((request, response) => {
      response.end('x'.repeat(Number(new URL(`http://x${request.url}`).searchParams.get('length'))));
    });
    const read = async (length: number, answerMaxBytes: number): Promise<[number, boolean]> => {
      const { body, isCut } = await outbound.send(
        requestTo(new URL(`/?length=${length}`, url).href, { answerMaxBytes }),
      );
      return [body.length, isCut];
    };
    expect(await read(1024, 1024)).toEqual([1024, false]);
    expect(await read(1025, 1024)).toEqual([1024, true]);
    expect(await read(0, 0)).toEqual([0, false]);
    expect(await read(1, 0)).toEqual([0, true]);
    expect(await read(300_000, 200_000)).toEqual([200_000, true]);
  });

  test('is not made in a dry run', async () => {
    const { outbound, url, receiver } = await serving((_request, response) => response.end());
    await expect(rehearse(() => outbound.send(requestTo(url)))).rejects.toThrow(/dry run/);
    expect(receiver.connections).toBe(0);
  });

  test('with a header field that cannot be sent is a bug, and is told as one', async () => {
    const { outbound, url } = await serving((_request, response) => response.end());
    const sent = outbound.send(requestTo(url, { headers: { 'x-one': 'a\r\nx-two: b' } }));
    await expect(sent).rejects.toMatchObject({ code: 'UND_ERR_INVALID_ARG' });
  });
});

describe('connections', () => {
  test('one carries many calls, one after the other', async () => {
    const { outbound, url, receiver } = await serving((_request, response) => response.end('ok'));
    for (let call = 0; call < 50; call += 1) await outbound.send(requestTo(url));
    expect(receiver.connections).toBe(1);
  });

  test('there are as many as calls at once, and they are used again', async () => {
    const { outbound, url, receiver } = await serving((_request, response) => response.end('ok'));
    const burst = (): Promise<unknown> =>
      Promise.all(Array.from({ length: 16 }, () => outbound.send(requestTo(url))));
    await burst();
    expect(receiver.connections).toBe(16);
    await burst();
    expect(receiver.connections).toBe(16);
  });

  test('one is given up after a minute, so that a receiver that moves is followed', async () => {
    const clock = manualClock('2026-11-22T08:00:00Z');
    const { outbound, url, receiver } = await serving((_request, response) => response.end('ok'), { clock });
    await outbound.send(requestTo(url));
    clock.advance(60_001);
    await outbound.send(requestTo(url));
    expect(receiver.connections).toBe(1);
    await outbound.send(requestTo(url));
    expect(receiver.connections).toBe(2);
  });

  test('one that the receiver closes is replaced', async () => {
    const { outbound, url, receiver } = await serving((_request, response) => {
      response.writeHead(200, { connection: 'close' }).end('ok');
    });
    for (let call = 0; call < 5; call += 1) await outbound.send(requestTo(url));
    expect(receiver.connections).toBe(5);
  });

  test('one that a call left in the middle of an answer carries no other', async () => {
    const { outbound, url, receiver } = await serving((_request, response) => response.end('x'.repeat(5000)));
    for (let call = 0; call < 3; call += 1)
      expect((await outbound.send(requestTo(url))).body).toHaveLength(1024);
    expect(receiver.connections).toBe(3);
  });

  test('a receiver that listens on one of its addresses only is found there', async () => {
    const listener: RequestListener = (_request, response) => response.end('ok');
    await using receiver = await startReceiver(listener);
    const lookup = async (): Promise<string[]> => ['::1', '127.0.0.1'];
    const outbound = openOutbound({ allow: [], allowLoopback: true }, { lookup });
    opened.push(outbound);
    const answer = await outbound.send(requestTo(`http://localhost:${receiver.port}/`));
    expect(answer.status).toBe(200);
  });
});

describe('the end', () => {
  test('a signal ends a call with its own reason', async () => {
    const { outbound, url, receiver } = await serving(() => undefined);
    const abort = new AbortController();
    const sent = outbound.send(requestTo(url, { signal: abort.signal }));
    await expect.poll(() => receiver.connections).toBe(1);
    const reason = new Error('the worker stops');
    abort.abort(reason);
    await expect(sent).rejects.toBe(reason);
    await expect(outbound.send(requestTo(url, { signal: abort.signal }))).rejects.toBe(reason);
  });

  test('closing waits for the calls under way, and nothing is called afterwards', async () => {
    const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
    const { outbound, url, receiver } = await serving(async (_request, response) => {
      await mayAnswer;
      response.end('late');
    });
    const sent = outbound.send(requestTo(url));
    await expect.poll(() => receiver.connections).toBe(1);
    const order: string[] = [];
    const closed = outbound.close().then(() => order.push('closed'));
    await expect(outbound.send(requestTo(url))).rejects.toThrow('the way out is closed');
    answer();
    const { body } = await sent;
    order.push(body.toString());
    await closed;
    expect(order).toEqual(['late', 'closed']);
  });

  test('closing closes the connections that wait for calls', async () => {
    const { promise: isClosed, resolve } = Promise.withResolvers<void>();
    const { outbound, url } = await serving((request, response) => {
      void once(request.socket, 'close').then(() => resolve());
      response.end('ok');
    });
    await outbound.send(requestTo(url));
    await outbound.close();
    await isClosed;
    await expect(outbound.close()).resolves.toBeUndefined();
  });
});

describe('checking a URL', () => {
  const outbound = openOutbound({ allow: [], allowLoopback: false });

  test('gives it as it will be called', () => {
    expect(outbound.checkUrl(' https://SHOP.example:443/a b ', 'url').href).toBe(
      'https://shop.example/a%20b',
    );
  });

  test('refuses with the field and what to change', () => {
    const refusalOf = (text: string): unknown => {
      try {
        return outbound.checkUrl(text, 'url');
      } catch (error) {
        return error instanceof AppError ? { code: error.code, ...error.faults?.[0] } : error;
      }
    };
    for (const text of [
      '',
      'shop.example',
      '/hooks',
      'https://',
      'https://256.1.1.1/',
      'https://[fe80::1%25eth0]/',
    ])
      expect.soft(refusalOf(text), text).toEqual({
        code: 'invalid_request',
        field: 'url',
        message: 'must be the whole address, such as https://shop.example/hooks',
      });
    expect(refusalOf('http://shop.example/')).toMatchObject({ message: 'must begin with https://' });
    expect(refusalOf('https://10.0.0.1/')).toMatchObject({ message: expect.stringMatching(/not called$/) });
  });

  test('is done again when it is called: what was allowed once may not be any more', async () => {
    for (const url of ['http://127.0.0.1:1/', 'https://10.0.0.1/', 'nonsense', 'https://a:b@shop.example/'])
      await expect(outbound.send(requestTo(url))).rejects.toMatchObject({ code: 'address_refused' });
  });
});
