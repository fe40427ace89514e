import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OutboundRequest } from './outbound.ts';

/** A server on loopback that somebody chose as the address of a webhook. */
export type Receiver = AsyncDisposable & {
  port: number;
  /** Connections that were opened to it so far. */
  connections: number;
};

/** An HTTP server, or an HTTPS server with `tls`, on `host`. */
export const startReceiver = (
  listener: RequestListener,
  { tls, host }: { tls?: Pair; host?: string } = {},
): Promise<Receiver> =>
  listening(tls === undefined ? createServer(listener) : createSecureServer(tls, listener), host);

/** A server that says what it likes as soon as somebody connects, or says something. */
export const startRawReceiver = (onSocket: (socket: Socket) => void, host?: string): Promise<Receiver> =>
  listening(createTcpServer(onSocket), host);

const listening = async (server: Server | TcpServer, host = '127.0.0.1'): Promise<Receiver> => {
  const sockets = new Set<Socket>();
  const receiver: Receiver = {
    port: 0,
    connections: 0,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  server.on('connection', (socket: Socket) => {
    receiver.connections += 1;
    sockets.add(socket);
    // The caller hangs up on most of what these tests send.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  // An HTTPS server tells of handshakes that failed; that is what some of them are for.
  server.on('tlsClientError', () => undefined);
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  receiver.port = address.port;
  return receiver;
};

/** What a test sends unless it says something else. */
export const requestTo = (url: string, more: Partial<OutboundRequest> = {}): OutboundRequest => ({
  url,
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: '{}',
  timeoutMs: 10_000,
  answerMaxBytes: 1_024,
  ...more,
});

export type Pair = { key: string; cert: string };

/** An authority of our own, as PEM, and certificates that it gave. */
export type Authority = Disposable & {
  ca: string;
  /** A certificate for these names, such as `DNS:receiver.example` or `IP:127.0.0.1`. */
  issue(...names: string[]): Pair;
  selfSigned(...names: string[]): Pair;
};

export const createAuthority = (): Authority => {
  const folder = mkdtempSync(join(tmpdir(), 'florin-authority-'));
  const path = (name: string): string => join(folder, name);
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { stdio: 'ignore' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const selfSigned = (name: string, ...extensions: string[]): Pair => {
    const files = ['-keyout', path(`${name}.key`), '-out', path(`${name}.pem`)];
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    openssl('req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`, ...files, ...added);
    return {
      key: readFileSync(path(`${name}.key`), 'utf8'),
      cert: readFileSync(path(`${name}.pem`), 'utf8'),
    };
  };
  const { cert: ca } = selfSigned('authority');
  return {
    ca,
    issue: (...names) => {
      const [key, request, cert] = [path('leaf.key'), path('leaf.csr'), path('leaf.pem')];
      openssl('req', ...newKey, '-subj', '/CN=leaf', '-keyout', key, '-out', request);
      writeFileSync(path('names'), `subjectAltName=${names.join(',')}`);
      const signed = ['-CA', path('authority.pem'), '-CAkey', path('authority.key'), '-CAcreateserial'];
      openssl(
        'x509',
        '-req',
        '-in',
        request,
        ...signed,
        '-days',
        '2',
        '-out',
        cert,
        '-extfile',
        path('names'),
      );
      return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
    },
    selfSigned: (...names) => selfSigned('self', `subjectAltName=${names.join(',')}`),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
};
