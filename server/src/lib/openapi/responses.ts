import { errorKinds, type ErrorCode } from '../errors.ts';
import { problemMediaType } from '../http/problem.ts';
import type { Operation } from './errors.ts';
import { previewBody } from '../http/dry-run.ts';
import { exampleOf, plain, type PlainSchema } from './example.ts';

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
 * The successes of an operation, with that of a dry run. It refers to one shared schema, because a preview's `result` is
 * described by the operation's other successes.
 */
export const withPreview = (succeeded: PlainSchema, { previews }: Operation): PlainSchema => {
  if (!previews) return succeeded;
  const preview = plain({ $ref: '#/components/schemas/Preview' });
  const real = plain(succeeded['200']);
  const schema = plain(plain(plain(real['content'])['application/json'])['schema']);
  const media =
    '200' in succeeded
      ? { schema: { oneOf: [schema, preview] }, example: exampleOf(schema) }
      : { schema: preview, example: exampleOf(plain(previewBody)) };
  const description =
    '200' in succeeded
      ? 'Done. With `Dry-Run: true`: what would be done.'
      : 'With `Dry-Run: true`: what would be done.';
  const headers = { ...plain(real['headers']), ...refs('headers', ['Dry-Run']) };
  return { ...succeeded, 200: { ...real, description, headers, content: { 'application/json': media } } };
};

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
