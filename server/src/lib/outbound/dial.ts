import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP, type LookupFunction, type Socket } from 'node:net';
import { addAbortSignal } from 'node:stream';
import { checkServerIdentity, connect as connectSecurely, type SecureContext } from 'node:tls';
import { codeOf, OutboundError } from './error.ts';

/** Where a connection goes. The addresses were checked; nothing is resolved any more. */
export type Target = {
  /** Scheme, host and port, as a URL has them. */
  origin: string;
  isSecure: boolean;
  /** The name, or literal address, that the certificate has to be for. */
  host: string;
  port: number;
  addresses: readonly string[];
  isLoopback: boolean;
};

/** How many bytes a receiver may still send before its connection is cut. */
export type Allowance = { bytes: number };

/** How connections leave this machine. */
export type Way = { proxyUrl: string | undefined; secureContext: SecureContext };

/**
 * Connects to one of the target's addresses, directly or through the proxy, and over TLS if it is secure: with 1.2 or
 * newer, and a certificate that an authority gave for the target's host.
 * @param allowance what the connection may be sent, from TLS upwards; whoever makes a call on it sets it anew
 * @param signal ends the attempt, and the connection
 * @throws OutboundError `connection`, `proxy` or `tls`
 */
export const dial = async (
  target: Target,
  way: Way,
  { allowance, signal }: { allowance: Allowance; signal: AbortSignal },
): Promise<Socket> => {
  // The proxy's loopback is not ours.
  const tunnel = target.isLoopback || way.proxyUrl === undefined ? undefined : new URL(way.proxyUrl);
  const socket =
    tunnel === undefined ? await direct(target, signal) : await throughProxy(tunnel, target, signal);
  return sipping(target.isSecure ? await secured(socket, target, way) : socket, allowance);
};

const sipBytes = 1_024;

/**
 * Has a socket be read in sips, no further than its allowance, and not at all once it is destroyed. undici bounds fields and
 * leaves the rest of what a receiver can say at length (answers before the answer, extensions of chunks). And it goes on
 * parsing what has arrived on a connection that it gave up, and makes an error, with its stack, for every header field
 * beyond the limit (7.30): a hundred thousand of them would hold up the process for a tenth of a second.
 */
const sipping = (socket: Socket, allowance: Allowance): Socket => {
  const read = socket.read.bind(socket);
  // The stream itself reads 0 bytes, to ask for more.
  socket.read = (size?: number) => {
    if (socket.destroyed) return null;
    // Without an encoding, it gives buffers.
    const sip = read(size ?? (socket.readableLength > sipBytes ? sipBytes : undefined)) as Buffer | null;
    allowance.bytes -= sip?.length ?? 0;
    if (allowance.bytes >= 0) return sip;
    socket.destroy(new OutboundError('answer', 'the receiver answered at greater length than HTTP needs'));
    return null;
  };
  return socket;
};

/** How long one of several addresses is tried before the next; the last may take what is left. */
const attemptMs = 500;
const addressesMax = 8;

const direct = async ({ addresses, port }: Target, signal: AbortSignal): Promise<Socket> => {
  const socket = connect({
    // A name that nobody resolves: `lookup` knows the answer.
    host: 'checked',
    port,
    lookup: answering(addresses),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: attemptMs,
    noDelay: true,
    signal,
  });
  return established(socket, 'connect', (cause) => {
    const why = codeOf(cause) === 'ECONNREFUSED' ? 'refused the connection' : 'could not be reached';
    return new OutboundError('connection', `the receiver ${why}: is it running, and open to the internet?`, {
      cause,
    });
  });
};

const answering = (addresses: readonly string[]): LookupFunction => {
  const answers = addresses.slice(0, addressesMax).map((address) => ({ address, family: isIP(address) }));
  return (_host, _options, callback) => callback(null, answers);
};

/** Asks the proxy for a tunnel to the checked address, so that it resolves nothing either (RFC 9110, section 9.3.6). */
const throughProxy = async (
  proxy: URL,
  { addresses: [address = ''], port }: Target,
  signal: AbortSignal,
): Promise<Socket> => {
  const authority = isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  const request = proxy.protocol === 'https:' ? httpsRequest : httpRequest;
  const asking = request(proxy, {
    method: 'CONNECT',
    path: authority,
    headers: { host: authority },
    agent: false,
    signal,
  });
  const failed = (cause?: unknown): OutboundError =>
    new OutboundError('proxy', 'the receiver could not be reached through the proxy of this service', {
      cause,
    });
  asking.end();
  const connected = once(asking, 'connect').catch((error: unknown) => {
    throw failed(error);
  });
  // The arguments of that event, as node:http documents them.
  const [answer, socket, head] = (await connected) as [IncomingMessage, Socket, Buffer];
  socket.on('error', () => socket.destroy());
  // The request is over, and what it was given for ending with it.
  addAbortSignal(signal, socket);
  if (answer.statusCode !== 200) {
    socket.destroy();
    throw failed(new Error(`the proxy answered ${answer.statusCode}`));
  }
  if (head.length > 0) socket.unshift(head);
  return socket;
};

const secured = (socket: Socket, { host }: Target, { secureContext }: Way): Promise<Socket> => {
  const secure = connectSecurely({
    socket,
    secureContext,
    // An address is no server name (RFC 6066, section 3), and yet what the certificate has to be for.
    servername: isIP(host) === 0 ? host : '',
    checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
    ALPNProtocols: ['http/1.1'],
    // Said here, so that no variable of the environment says otherwise.
    rejectUnauthorized: true,
  });
  return established(
    secure,
    'secureConnect',
    (cause) => new OutboundError('tls', tlsFault(cause), { cause }),
  );
};

const tlsFaults: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'is for another host name',
  CERT_HAS_EXPIRED: 'has expired',
  CERT_NOT_YET_VALID: 'is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is self-signed: get one from a public authority',
  SELF_SIGNED_CERT_IN_CHAIN: 'is of an authority that is not public',
  UNABLE_TO_GET_ISSUER_CERT: 'comes without the intermediate certificates of its authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'is of an authority that is not public, or comes without its intermediate certificates',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'is of an authority that is not public, or comes without its intermediate certificates',
  CERT_REVOKED: 'was revoked',
};

const tlsFault = (error: unknown): string => {
  const fault = tlsFaults[codeOf(error)];
  return fault === undefined
    ? 'the receiver and we agreed on no TLS connection: it has to speak TLS 1.2 or newer on this port'
    : `the receiver's certificate ${fault}`;
};

/** Waits for the event that says that a socket is ready; what fails first is told as `failure` words it. */
const established = async (
  socket: Socket,
  event: 'connect' | 'secureConnect',
  failure: (cause: unknown) => OutboundError,
): Promise<Socket> => {
  // A socket without a listener ends the process when it breaks while nobody holds it.
  socket.on('error', () => socket.destroy());
  try {
    await once(socket, event);
    return socket;
  } catch (error) {
    socket.destroy();
    throw failure(error);
  }
};
