import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openOutbound, type Outbound } from './outbound.ts';
import { createAuthority, requestTo, startRawReceiver, startReceiver, type Authority } from './testing.ts';

let authority: Authority;
beforeAll(() => {
  authority = createAuthority();
});
afterAll(() => authority[Symbol.dispose]());

const disposables: (Outbound | AsyncDisposable)[] = [];
afterEach(async () => {
  for (const one of disposables.splice(0)) await ('close' in one ? one.close() : one[Symbol.asyncDispose]());
});

const kept = <T extends Outbound | AsyncDisposable>(one: T): T => {
  disposables.push(one);
  return one;
};

const ok: RequestListener = (request, response) => {
  response.end(`${request.headers.host}`);
};

/** A way out on which `*.example` is this machine, and which trusts our authority. */
const toHere = (): Outbound =>
  kept(
    openOutbound(
      { allow: ['127.0.0.1', '::1'], allowLoopback: false },
      { ca: authority.ca, lookup: async () => ['127.0.0.1'] },
    ),
  );

describe('TLS', () => {
  test('a receiver with a certificate for its name, by an authority that is trusted, is called', async () => {
    const tls = authority.issue('DNS:shop.example', 'DNS:*.hooks.example', 'IP:127.0.0.1');
    const { port } = kept(await startReceiver(ok, { tls }));
    const outbound = toHere();
    for (const host of ['shop.example', 'a.hooks.example', 'shop.example.', '127.0.0.1']) {
      const answer = await outbound.send(requestTo(`https://${host}:${port}/`));
      expect(answer.body.toString()).toBe(`${host}:${port}`);
    }
  });

  test('the name that the receiver is told is that of the URL', async () => {
    const tls = authority.issue('DNS:shop.example', 'IP:127.0.0.1');
    const names: unknown[] = [];
    const { port } = kept(
      await startReceiver(
        (request, response) => {
          // Of TLS sockets, as node:tls documents it.
          names.push((request.socket as Socket & { servername?: unknown }).servername);
          response.end();
        },
        { tls },
      ),
    );
    const outbound = toHere();
    await outbound.send(requestTo(`https://shop.example:${port}/`));
    await outbound.send(requestTo(`https://127.0.0.1:${port}/`));
    expect(names).toEqual(['shop.example', false]);
  });

  const refusal = (outbound: Outbound, url: string): Promise<unknown> =>
    outbound.send(requestTo(url)).then(
      () => 'answered',
      (error: unknown) => error,
    );

  test('a self-signed certificate is refused, and so is one of another authority', async () => {
    const listener: RequestListener = () => expect.unreachable('a request was sent');
    const self = kept(await startReceiver(listener, { tls: authority.selfSigned('DNS:shop.example') }));
    expect(await refusal(toHere(), `https://shop.example:${self.port}/`)).toMatchObject({
      code: 'tls',
      message: expect.stringContaining('self-signed'),
    });
    const issued = kept(await startReceiver(listener, { tls: authority.issue('DNS:shop.example') }));
    const outbound = kept(
      openOutbound({ allow: ['shop.example'], allowLoopback: false }, { lookup: async () => ['127.0.0.1'] }),
    );
    expect(await refusal(outbound, `https://shop.example:${issued.port}/`)).toMatchObject({
      code: 'tls',
      message: expect.stringContaining('authority that is not public'),
    });
  });

  test('a certificate for another name is refused, also where the URL has an address', async () => {
    const listener: RequestListener = () => expect.unreachable('a request was sent');
    const { port } = kept(await startReceiver(listener, { tls: authority.issue('DNS:shop.example') }));
    for (const host of ['other.example', 'a.shop.example', '127.0.0.1'])
      expect(await refusal(toHere(), `https://${host}:${port}/`)).toMatchObject({
        code: 'tls',
        message: "the receiver's certificate is for another host name",
      });
  });

  test('a variable of the environment does not switch it off', async () => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      const { port } = kept(await startReceiver(ok, { tls: authority.selfSigned('DNS:shop.example') }));
      expect(await refusal(toHere(), `https://shop.example:${port}/`)).toMatchObject({ code: 'tls' });
    } finally {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
    }
  });

  test('what speaks no TLS is refused', async () => {
    const plain = kept(await startRawReceiver((socket) => socket.end('220 mail.example ESMTP\r\n')));
    expect(await refusal(toHere(), `https://shop.example:${plain.port}/`)).toMatchObject({ code: 'tls' });
    const mute = kept(await startRawReceiver((socket) => socket.destroy()));
    expect(await refusal(toHere(), `https://shop.example:${mute.port}/`)).toMatchObject({ code: 'tls' });
  });
});

/** A proxy that does CONNECT and nothing else, for which every address is this machine. */
const startProxy = async (refuseWith?: number) => {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('connect', (request, client: Socket) => {
    asked.push(request.url ?? '');
    client.on('error', () => client.destroy());
    if (refuseWith !== undefined) return client.end(`HTTP/1.1 ${refuseWith} No\r\ncontent-length: 0\r\n\r\n`);
    const port = Number(request.url?.split(':').at(-1));
    const target = connect({ host: '127.0.0.1', port }, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(client).pipe(target);
    });
    sockets.add(target);
    target.on('error', () => client.destroy());
    return target;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return kept({
    url: `http://127.0.0.1:${address.port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  });
};

describe('a proxy', () => {
  const viaProxy = async ({
    addresses = ['8.8.8.8'],
    refuseWith,
  }: { addresses?: string[]; refuseWith?: number } = {}) => {
    const { port } = kept(await startReceiver(ok, { tls: authority.issue('DNS:shop.example') }));
    const proxy = await startProxy(refuseWith);
    const settings = { allow: [], allowLoopback: true, proxyUrl: proxy.url };
    const outbound = kept(openOutbound(settings, { ca: authority.ca, lookup: async () => addresses }));
    return { outbound, proxy, url: `https://shop.example:${port}/`, port };
  };

  test('is asked for the address that was checked, and TLS ends at the receiver', async () => {
    const { outbound, proxy, url, port } = await viaProxy();
    for (let call = 0; call < 3; call += 1) {
      const answer = await outbound.send(requestTo(url));
      expect(answer.body.toString()).toBe(`shop.example:${port}`);
    }
    expect(proxy.asked).toEqual([`8.8.8.8:${port}`]);
  });

  test('is asked for IPv6 addresses in brackets', async () => {
    const { outbound, proxy, url, port } = await viaProxy({ addresses: ['2606:4700::1111'] });
    expect((await outbound.send(requestTo(url))).status).toBe(200);
    expect(proxy.asked).toEqual([`[2606:4700::1111]:${port}`]);
  });

  test('is asked for no address that is refused', async () => {
    const { outbound, proxy, url } = await viaProxy({ addresses: ['8.8.8.8', '10.0.0.1'] });
    await expect(outbound.send(requestTo(url))).rejects.toMatchObject({ code: 'address_refused' });
    expect(proxy.asked).toEqual([]);
  });

  test('that refuses, hangs up or is not there is told as such, without where it is', async () => {
    const message = 'the receiver could not be reached through the proxy of this service';
    for (const refuseWith of [403, 407, 502]) {
      const { outbound, url } = await viaProxy({ refuseWith });
      await expect(outbound.send(requestTo(url))).rejects.toMatchObject({ code: 'proxy', message });
    }
    const mute = kept(await startRawReceiver((socket) => socket.destroy()));
    const free = await startRawReceiver(() => undefined);
    await free[Symbol.asyncDispose]();
    for (const { port } of [mute, free]) {
      const settings = { allow: [], allowLoopback: false, proxyUrl: `http://127.0.0.1:${port}` };
      const outbound = kept(openOutbound(settings, { lookup: async () => ['8.8.8.8'] }));
      const sent = outbound.send(requestTo('https://shop.example/'));
      await expect(sent).rejects.toMatchObject({ code: 'proxy', message });
    }
  });

  test('that says nothing costs a call its time and no more', async () => {
    const { promise: hungUp, resolve } = Promise.withResolvers<void>();
    const mute = kept(await startRawReceiver((socket) => void socket.resume().on('close', () => resolve())));
    const settings = { allow: [], allowLoopback: false, proxyUrl: `http://127.0.0.1:${mute.port}` };
    const outbound = kept(openOutbound(settings, { lookup: async () => ['8.8.8.8'] }));
    const sent = outbound.send(requestTo('https://shop.example/', { timeoutMs: 100 }));
    await expect(sent).rejects.toMatchObject({ code: 'timeout' });
    await hungUp;
  });

  test('that tunnels to a receiver that says nothing is hung up on', async () => {
    const { promise: hungUp, resolve } = Promise.withResolvers<void>();
    const mute = kept(await startRawReceiver((socket) => void socket.resume().on('close', () => resolve())));
    const { outbound, proxy } = await viaProxy();
    const sent = outbound.send(requestTo(`https://shop.example:${mute.port}/`, { timeoutMs: 300 }));
    await expect(sent).rejects.toMatchObject({ code: 'timeout' });
    await hungUp;
    expect(proxy.asked).toHaveLength(1);
  });

  test('is passed by for this machine, which is another one for the proxy', async () => {
    const { outbound, proxy } = await viaProxy();
    const { port } = kept(await startReceiver(ok));
    expect((await outbound.send(requestTo(`http://127.0.0.1:${port}/`))).status).toBe(200);
    expect(proxy.asked).toEqual([]);
  });
});
