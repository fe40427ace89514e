import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { isPassing } from '../database.ts';
import { AppError, databaseGone, type ErrorCode, errorKinds, type FieldFault } from '../errors.ts';
import { shortened } from './field.ts';
import { problemBounds, problemType, type problemBody } from './schemas.ts';

export const problemMediaType = 'application/problem+json';

export type Problem = Static<typeof problemBody>;

/**
 * The body that tells a caller about a refusal (RFC 9457). Nothing of `cause` gets into it, and no text is longer than
 * documented: what is wrong with a request is often told in its own words.
 */
export const problemOf = (error: AppError, requestId: string): Problem => {
  const detail = shortened(error.message, problemBounds.detail);
  return {
    type: problemType(error.code),
    title: errorKinds[error.code].title,
    status: error.status,
    detail,
    code: error.code,
    request_id: requestId,
    error: detail,
    ...(error.faults && { errors: error.faults.slice(0, problemBounds.faults).map(bounded) }),
  };
};

const bounded = ({ field, message }: FieldFault): FieldFault => ({
  field: shortened(field, problemBounds.field),
  message: shortened(message, problemBounds.message),
});

/** Answers a request with what went wrong. Errors that are nobody's refusal are logged whole and shown as 500. */
export const sendProblem = (request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply => {
  const error = advised(request, refusalOf(thrown));
  request.refusal = error;
  if (error.status >= 500) {
    const { url: route = 'unmatched' } = request.routeOptions;
    request.log.error({ err: error.cause ?? thrown, route, request_id: request.id }, error.message);
  }
  reply.headers(problemHeaders(error));
  return reply.code(error.status).type(problemMediaType).send(problemOf(error, request.id));
};

/** What is too large is refused before its route sees it, by the framework and at the edge; the route knows what to do. */
const advised = ({ routeOptions }: FastifyRequest, error: AppError): AppError => {
  const { bodyTooLarge } = routeOptions.config;
  if (error.code !== 'body_too_large' || bodyTooLarge === undefined) return error;
  return new AppError('body_too_large', bodyTooLarge, { cause: error });
};

/** The header fields that go with a refusal, besides its content type. */
export const problemHeaders = (error: AppError): Record<string, string> => ({
  ...(error.retryAfterS === undefined ? {} : { 'retry-after': String(error.retryAfterS) }),
  ...(error.replayed ? { 'idempotent-replayed': 'true' } : {}),
  // RFC 9110, 11.6.1: a 401 names at least one way to authenticate.
  ...(error.status === 401 ? { 'www-authenticate': 'Bearer realm="florin"' } : {}),
});

/** What a caller is told about any thrown value: refusals as they are, the framework's by table, the rest as 500. */
export const refusalOf = (thrown: unknown): AppError => {
  if (thrown instanceof AppError) return thrown;
  const known = frameworkRefusals[codeOf(thrown)];
  if (known)
    return new AppError(known.code, known.text, {
      cause: thrown,
      ...(known.fault ? bodyFault(known.fault) : {}),
    });
  if (isPassing(thrown)) return databaseGone(thrown);
  const code = codesByStatus[statusOf(thrown)];
  if (code) return new AppError(code, `${errorKinds[code].title}.`, { cause: thrown });
  return new AppError(
    'internal_error',
    'Something went wrong on our side. Quote the request id when you ask for help.',
    {
      cause: thrown,
    },
  );
};

type Refusal = { code: ErrorCode; text: string; fault?: string };

/** The errors of Fastify and of Node's HTTP parser that a caller can cause, by their code. */
const frameworkRefusals: Record<string, Refusal | undefined> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'unsupported_media_type',
    text: 'Send the body as application/json.',
  },
  FST_ERR_CTP_INVALID_JSON_BODY: {
    code: 'invalid_request',
    text: 'The body is not valid JSON.',
    fault: 'must be valid JSON',
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'invalid_request',
    text: 'The body is not as long as Content-Length says.',
  },
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'body_too_large',
    text: 'The body is larger than this service accepts.',
  },
  FST_ERR_BAD_URL: { code: 'invalid_request', text: 'The URL is not validly encoded.' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'not_found', text: 'No such object.' },
  HPE_HEADER_OVERFLOW: {
    code: 'headers_too_large',
    text: 'The header fields are larger than this service accepts.',
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    code: 'body_too_large',
    text: 'The chunk extensions are larger than this service accepts.',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { code: 'request_timeout', text: 'The request did not arrive in time.' },
};

const bodyFault = (message: string) => ({ faults: [{ field: 'body', message }] });

/** For errors of plugins, which carry a status and no code that we know. */
const codesByStatus: Record<number, ErrorCode | undefined> = {
  400: 'invalid_request',
  404: 'not_found',
  408: 'request_timeout',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  429: 'rate_limited',
  503: 'unavailable',
};

const codeOf = (thrown: unknown): string => String(memberOf(thrown, 'code'));
const statusOf = (thrown: unknown): number => Number(memberOf(thrown, 'statusCode'));

const memberOf = (thrown: unknown, name: 'code' | 'statusCode'): unknown =>
  typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, name) : undefined;
