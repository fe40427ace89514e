import { errors, type Dispatcher } from 'undici';
import type { Connection } from './connections.ts';
import { codeOf, OutboundError } from './error.ts';

/** What is sent to a path of the receiver that a connection leads to. */
export type Message = {
  path: string;
  method: 'GET' | 'POST';
  headers: Readonly<Record<string, string>>;
  body: string | Buffer | undefined;
  answerMaxBytes: number;
};

export type Answer = { status: number; headers: Record<string, string>; body: Buffer; isCut: boolean };

/** What an answer may take besides its body: fields, trailers, and the answers before it (1xx, RFC 9110 section 15.2). */
const aroundBodyMaxBytes = 32_768;
/** The worst that a body may take for each of its bytes: a chunk of its own. */
const bytesPerByte = 8;

/**
 * Sends one message and reads its answer, of its body no more than was asked for: then the connection is dropped.
 * Redirects are answers like any other. Takes as long as it takes; whoever calls it drops the connection when it is late.
 * @throws OutboundError `connection`, `answer`, or what connecting threw
 */
export const exchange = (
  { client, allowance }: Pick<Connection, 'client' | 'allowance'>,
  { path, method, headers, body, answerMaxBytes }: Message,
): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const chunks: Buffer[] = [];
  const answer = { status: 0, headers: {}, length: 0 };
  allowance.bytes = aroundBodyMaxBytes + answerMaxBytes * bytesPerByte;
  const finish = (isCut: boolean): void =>
    resolve({ status: answer.status, headers: answer.headers, body: Buffer.concat(chunks), isCut });

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: () => undefined,
    onResponseStart: (_controller, status, fields) => {
      answer.status = status;
      answer.headers = flattened(fields);
    },
    onResponseData: (controller, chunk) => {
      const space = answerMaxBytes - answer.length;
      chunks.push(chunk.subarray(0, space));
      answer.length += Math.min(space, chunk.length);
      if (chunk.length <= space) return;
      finish(true);
      controller.abort(new Error('the rest of the answer is not read'));
    },
    onResponseEnd: () => finish(false),
    onResponseError: (_controller, error) => reject(failureOf(error)),
  };
  const sent = { ...headers, 'accept-encoding': 'identity' };
  client.dispatch({ path, method, headers: sent, body: body ?? null }, handler);
  return promise;
};

/** Fields that come more than once are one, as RFC 9110 (section 5.2) combines them. */
const flattened = (fields: Record<string, string | string[] | undefined>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  );

const notHttp = (cause: unknown): OutboundError =>
  new OutboundError('answer', 'the receiver answered with something that is not HTTP/1.1', { cause });

const failureOf = (error: Error): Error => {
  const code = codeOf(error);
  // Connecting failed, which words itself; or we sent what can't be sent, which is a bug of ours.
  if (error instanceof OutboundError || code === 'UND_ERR_INVALID_ARG') return error;
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return new OutboundError('answer', 'the receiver answered with more than 16 KiB of header fields', {
      cause: error,
    });
  if (error instanceof errors.HTTPParserError || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH')
    return notHttp(error);
  return new OutboundError('connection', 'the receiver ended the connection before its answer was complete', {
    cause: error,
  });
};
