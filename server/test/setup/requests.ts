import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { sql } from 'kysely';
import { Compile } from 'typebox/schema';
import type { Db } from '../../src/lib/database.ts';
import { plain, type PlainSchema } from '../../src/lib/openapi/example.ts';

/** A parameter of an operation, with what the document says about it. */
export type Parameter = { name: string; in: 'path' | 'query' | 'header'; schema: PlainSchema };

/** One operation of the OpenAPI document, with its references resolved. */
export type Operation = {
  id: string;
  method: string;
  /** As the document writes it: `/api/v1/payments/{id}`. */
  path: string;
  /** Needs no credential. */
  isPublic: boolean;
  isProbe: boolean;
  parameters: readonly Parameter[];
  body: PlainSchema | undefined;
  responses: ReadonlyMap<
    number,
    { mediaType: string; schema: PlainSchema; codes: readonly string[]; headers: readonly string[] }
  >;
};

/** Reads every operation out of a document that `makeDocument` made. */
export const operationsOf = (document: object): Operation[] => {
  const resolved = (value: unknown): PlainSchema => {
    const reference = plain(value)['$ref'];
    if (typeof reference !== 'string') return plain(value);
    return reference
      .split('/')
      .slice(1)
      .reduce((inner, step) => plain(inner[step]), plain(document));
  };
  /** A schema with the shared ones that it refers to in it. */
  const whole = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(whole);
    if (typeof part !== 'object' || part === null) return part;
    return Object.fromEntries(Object.entries(resolved(part)).map(([name, inner]) => [name, whole(inner)]));
  };
  return Object.entries(plain(plain(document)['paths'])).flatMap(([path, methods]) =>
    Object.entries(plain(methods)).map(([method, value]) => {
      const described = plain(value);
      const body = plain(plain(plain(described['requestBody'])['content'])['application/json'])['schema'];
      return {
        id: String(described['operationId']),
        method: method.toUpperCase(),
        path,
        isPublic: listOf(described['security']).length === 0,
        isProbe: listOf(described['tags']).includes('Health'),
        // The document has no other members in its parameters.
        parameters: listOf(described['parameters']).map(resolved) as unknown as Parameter[],
        body: body === undefined ? undefined : resolved(body),
        responses: new Map(
          Object.entries(plain(described['responses'])).map(([status, response]) => {
            const { content, headers } = resolved(response);
            const [[mediaType, media] = ['none', {}]] = Object.entries(plain(content));
            const { schema, examples } = plain(media);
            const codes = Object.keys(plain(examples));
            return [
              Number(status),
              { mediaType, schema: plain(whole(schema)), codes, headers: Object.keys(plain(headers)) },
            ];
          }),
        ),
      };
    }),
  );
};

/** A list of the document; what is none is empty. */
export const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

export type Sent = {
  method: string;
  url: string;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer | undefined;
  /** Without a Content-Length. */
  chunked?: boolean;
};

export type Received = {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  body: Record<string, unknown>;
};

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** Sends a request exactly as it is told to: no header field is added that HTTP can do without. */
export const transmit = ({ method, url, headers = {}, body, chunked = false }: Sent): Promise<Received> => {
  const length = chunked
    ? { 'transfer-encoding': 'chunked' }
    : { 'content-length': String(Buffer.byteLength(body ?? '')) };
  const framing = body === undefined ? {} : length;
  const { promise, resolve, reject } = Promise.withResolvers<Received>();
  // The URL goes out as it is written; a URL object would tidy it up.
  const [, origin = '', path = '/'] = /^(https?:\/\/[^/]+)(.*)$/.exec(url) ?? [];
  const { hostname, port } = new URL(origin);
  const request = httpRequest(
    { agent, hostname, port, path, method, headers: { ...headers, ...framing } },
    (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) });
      });
    },
  );
  request.on('error', reject);
  if (chunked && body !== undefined) request.write(body);
  request.end(chunked ? undefined : body);
  return promise;
};

const parsed = (text: string): Record<string, unknown> => {
  try {
    return plain(JSON.parse(text));
  } catch {
    return {};
  }
};

const validators = new Map<PlainSchema, ReturnType<typeof Compile>>();

/** How a value differs from a documented schema; members that the document does not name count too. */
export const mismatches = (schema: PlainSchema, value: unknown): string[] => {
  const validator = validators.get(schema) ?? Compile(closed(schema));
  validators.set(schema, validator);
  if (validator.Check(value)) return [];
  return validator
    .Errors(value)[1]
    .map(({ instancePath, message }) => `${instancePath || 'the answer'} ${message}`);
};

/** A copy in which no object may have members that are not described. */
const closed = (schema: unknown): PlainSchema => {
  const copy = Object.fromEntries(
    Object.entries(plain(schema)).map(([name, part]) => [name, closedPart(part)]),
  );
  return 'properties' in copy && !('additionalProperties' in copy)
    ? { ...copy, additionalProperties: false }
    : copy;
};

const closedPart = (part: unknown): unknown =>
  Array.isArray(part)
    ? part.map(closedPart)
    : typeof part === 'object' && part !== null
      ? closed(part)
      : part;

/** How an answer is told in a failure: `404 not_found`. */
export const shown = ({ status, body: { code } }: Received): string =>
  `${status} ${typeof code === 'string' ? code : 'without a code'}`;

/** Whether an operation answers with a status and an error code that the document does not give for it. */
export const undocumented = (operation: Operation, answer: Received): string[] => {
  const codes = operation.responses.get(answer.status)?.codes;
  const isKnown = codes !== undefined && (codes.length === 0 || codes.includes(String(answer.body['code'])));
  return isKnown ? [] : [`${operation.id} answered ${shown(answer)}, which is not documented`];
};

/** What is wrong with an answer by the contract of its operation: status, code, media type, header fields, body. */
export const breaches = (operation: Operation, answer: Received): string[] => {
  const { status, headers, body } = answer;
  const described = operation.responses.get(status);
  if (!described) return undocumented(operation, answer);
  // What every success carries; the other header fields depend on the request.
  const always = described.headers.filter(
    (name) => status < 400 && /^(X-Request-Id|traceparent|RateLimit.*)$/.test(name),
  );
  const mediaType = String(headers['content-type']).split(';')[0];
  return [
    ...(mediaType === described.mediaType ? [] : [`comes as ${mediaType}`]),
    ...always.filter((name) => headers[name.toLowerCase()] === undefined).map((name) => `lacks ${name}`),
    ...mismatches(described.schema, body),
  ]
    .map((fault) => `${operation.id} answered ${shown(answer)}: ${fault}`)
    .concat(undocumented(operation, answer));
};

/** What is wrong with a refusal as such (RFC 9457 and the members of the guides), whatever its operation. */
export const problemFaults = (problem: PlainSchema, { status, headers, body, text }: Received): string[] => {
  const type = headers['content-type'] ?? 'none';
  const strange = [
    [!/^application\/problem\+json(; charset=utf-8)?$/.test(type), `its content type is ${type}`],
    [body['status'] !== status, `its body says ${String(body['status'])}`],
    [body['type'] !== `/docs/errors#${String(body['code'])}`, `its type is ${String(body['type'])}`],
    [body['error'] !== body['detail'], '`error` is not `detail`'],
    [body['request_id'] !== headers['x-request-id'], 'it names another request than X-Request-Id'],
    // JSON itself would let it pass, as an escape; most other languages cannot hold it.
    [/\\ud[89a-f]/i.test(text), 'it holds half of a surrogate pair'],
    [headers['x-content-type-options'] !== 'nosniff', 'it lacks the security header fields'],
  ] as const;
  return [...strange.flatMap(([is, fault]) => (is ? [fault] : [])), ...mismatches(problem, body)];
};

/** The rows of every table of ours, as numbers that change with any of them. */
export type Contents = ReadonlyMap<string, { rows: number; sum: string }>;

/** Makes a function that reads the contents of all tables at once. @param db connected as superuser */
export const tablesOf = async (
  db: Db,
): Promise<{ contents(): Promise<Contents>; find(text: string): Promise<string[]> }> => {
  const { rows: tables } = await sql<{ name: string }>`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema')
  `.execute(db);
  const all = <Row>(select: (name: string) => string) =>
    sql<Row>`${sql.raw(tables.map(({ name }) => select(name)).join(' union all '))}`.execute(db);
  return {
    contents: async () => {
      const { rows } = await all<{ name: string; rows: number; sum: string }>(
        (name) =>
          `select '${name}' as name, count(*)::int as rows, sum(hashtextextended(t::text, 0))::text as sum from ${name} t`,
      );
      return new Map(rows.map(({ name, rows: count, sum }) => [name, { rows: count, sum }]));
    },
    find: async (text) => {
      const { rows } = await all<{ row: string }>(
        (name) => `select '${name} ' || t::text as row from ${name} t where t::text like '%${text}%'`,
      );
      return rows.map(({ row }) => row);
    },
  };
};

/** The tables that differ, such as `journal.entries (1 rows more)`. */
export const changedTables = (before: Contents, after: Contents): string[] =>
  [...after].flatMap(([name, { rows, sum }]) => {
    const was = before.get(name);
    return was?.sum === sum && was.rows === rows ? [] : [`${name} (${rows - (was?.rows ?? 0)} rows more)`];
  });
