import { errorKinds, type ErrorCode } from '../errors.ts';
import { problemMediaType } from '../http/problem.ts';
import type { Operation } from './errors.ts';
import { plain, type PlainSchema } from './example.ts';

const refs = (kind: 'headers' | 'examples', names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/${kind}/${name}` }]));

const always = ['X-Request-Id', 'traceparent', 'Access-Control-Allow-Origin'];
const limits = ['RateLimit', 'RateLimit-Policy'];

/** The header fields of a success. */
export const successHeaders = (operation: Operation): PlainSchema => ({
  ...refs('headers', always),
  ...(operation.probe ? {} : refs('headers', limits)),
  ...(operation.writes && operation.requires !== 'public' ? refs('headers', ['Idempotent-Replayed']) : {}),
});

/**
 * The responses of these error codes, one a status, each code with its example. A status that the route describes
 * itself (a health answer's 503) stays as it is.
 */
export const responsesFor = (codes: readonly ErrorCode[], described: PlainSchema): PlainSchema => {
  const statuses = [...new Set(codes.map((code) => errorKinds[code].status))].filter(
    (status) => !(status in described),
  );
  return Object.fromEntries(
    statuses.map((status) => [
      String(status),
      responseOf(
        status,
        codes.filter((code) => errorKinds[code].status === status),
      ),
    ]),
  );
};

const responseOf = (status: number, codes: readonly ErrorCode[]): PlainSchema => ({
  description: codes.map((code) => `\`${code}\`: ${errorKinds[code].title}.`).join('\n\n'),
  headers: {
    ...refs('headers', always),
    ...refs('headers', limits),
    ...(status === 429 || status === 503 || status === 409 ? refs('headers', ['Retry-After']) : {}),
  },
  content: {
    [problemMediaType]: {
      schema: plain({ $ref: '#/components/schemas/Problem' }),
      examples: refs('examples', codes),
    },
  },
});
