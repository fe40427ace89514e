import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createSecureServer, type ServerOptions as SecureOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { AppError, type ErrorCode } from '../errors.ts';
import { newId } from '../ids.ts';
import { securityHeaders } from './headers.ts';
import { problemMediaType, problemOf, refusalOf } from './problem.ts';

/** The most bytes of request line and header fields. */
const headerBytesMax = 16 * 1024;
const headerFieldsMax = 100;

export type ConnectionLimits = {
  /** How long a client may take to send its header fields. */
  headersTimeoutMs: number;
  /** How long a client may take to send a whole request, and to take anything of its answer. */
  requestTimeoutMs: number;
  /** How long a connection stays open without a request. */
  keepAliveTimeoutMs: number;
  /** How many connections may be open at once. */
  connectionsMax: number;
};

/** An HTTP or HTTPS server with bounds on everything a client may send or hold. */
export const createBoundedServer = (
  limits: ConnectionLimits,
  handle: RequestListener,
  { secure, onDropped }: { secure?: SecureOptions | undefined; onDropped?: () => void } = {},
): Server => {
  const options = {
    maxHeaderSize: headerBytesMax,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Timeouts are only as exact as this check; Node's default of 30 s lets slow clients hold on for half a minute.
    connectionsCheckingInterval: Math.max(25, Math.min(5000, limits.headersTimeoutMs / 4)),
    // A missing Host is answered by us, with the same body and header fields as every other refusal.
    requireHostHeader: false,
    insecureHTTPParser: false,
  };
  const listener = boundPipelines(handle);
  const server = secure
    ? // Node would give a client two minutes for the handshake.
      createSecureServer({ ...options, handshakeTimeout: limits.headersTimeoutMs, ...secure }, listener)
    : createServer(options, listener);
  // Node would leave out the fields beyond its count without a word; `headerFault` refuses them instead.
  server.maxHeadersCount = 0;
  server.maxConnections = limits.connectionsMax;
  server.on('drop', () => {
    // Whoever holds connections without using them makes room for those who come.
    server.closeIdleConnections();
    onDropped?.();
  });
  server.setTimeout(limits.requestTimeoutMs, closeSilent);
  // An expectation that we do not know may be ignored (RFC 9110, 10.1.1).
  server.on('checkExpectation', listener);
  return server;
};

/** How many requests of one connection may wait for their answers. */
const pipelineMax = 16;

/**
 * Ends a connection with the answer to the last request that it may send without waiting. What came behind it is not
 * looked at, and the client knows so (RFC 9112, 9.3.2): a kilobyte would hold a dozen requests, and what was read at once
 * is worked on at once, while nobody else is served.
 */
const boundPipelines = (handle: RequestListener): RequestListener => {
  const waiting = new WeakMap<Socket, number>();
  return (request, response) => {
    const { socket } = request;
    const count = (waiting.get(socket) ?? 0) + 1;
    if (count > pipelineMax) return;
    const isLast = count === pipelineMax;
    waiting.set(socket, isLast ? Infinity : count);
    if (isLast) response.setHeader('connection', 'close');
    response.once('close', () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
    handle(request, response);
  };
};

/**
 * Closes a connection on which nothing moved for a while: one that waits for no answer, or whose client does not take
 * the one it gets. While an answer is still being made, it stays.
 */
const closeSilent = (socket: Socket & CurrentAnswer): void => {
  const isBeingMade = socket._httpMessage && socket.writableLength === 0;
  if (!isBeingMade) socket.destroy();
};

/**
 * Node hangs the answer that it is sending on the socket, and the request that it is reading on its parser; its own
 * default handlers look at the same members.
 */
type CurrentAnswer = {
  _httpMessage?: { headersSent: boolean } | null;
  parser?: { incoming: { complete: boolean } | null } | null;
};

/**
 * Answers what Node could not read as HTTP: problem+json and a closed connection. Only closes it when it is too late for
 * an answer, or when nothing came at all, as from browsers that connect in advance.
 */
export const answerUnreadable = (
  { log, clock, onRefused }: { log: Logger; clock: Clock; onRefused?: (code: ErrorCode) => void },
  error: Error,
  socket: Socket,
): void => {
  const isGone = !socket.writable || ('code' in error && error.code === 'ECONNRESET');
  if (isGone || socket.bytesRead === 0 || answerBegan(socket)) {
    socket.destroy(error);
    return;
  }
  const refusal = unreadable(error);
  onRefused?.(refusal.code);
  const requestId = newId('request');
  log.info(
    { status: refusal.status, reason: error.message, origin: socket.remoteAddress, request_id: requestId },
    'unreadable request',
  );
  socket.end(rawAnswer(refusal, requestId, clock.now()));
};

const unreadable = (error: Error): AppError => {
  const refusal = refusalOf(error);
  return refusal.code === 'internal_error' ? refusalOf({ statusCode: 400 }) : refusal;
};

/** Whether the request that is being read has its answer, or a part of it: another one would pass for the next one's. */
const answerBegan = ({ _httpMessage: current, parser }: Socket & CurrentAnswer): boolean =>
  current ? current.headersSent : parser?.incoming?.complete === false;

const rawAnswer = (error: AppError, requestId: string, now: Date): string => {
  const body = JSON.stringify(problemOf(error, requestId));
  const headers = {
    ...securityHeaders,
    'x-request-id': requestId,
    'content-type': problemMediaType,
    'content-length': String(Buffer.byteLength(body)),
    date: now.toUTCString(),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\n${lines.join('')}\r\n${body}`;
};

/**
 * What is wrong with the header fields of a request that Node lets pass: more than 100, or not exactly one Host, as
 * HTTP/1.1 demands (RFC 9112, 3.2).
 */
export const headerFault = ({ rawHeaders, httpVersion }: IncomingMessage): AppError | undefined => {
  if (rawHeaders.length > headerFieldsMax * 2) {
    return new AppError('headers_too_large', `Send at most ${headerFieldsMax} header fields.`);
  }
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts === 1 || (hosts === 0 && httpVersion === '1.0')) return undefined;
  return new AppError('invalid_request', 'Send exactly one Host header.');
};
