import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { sql } from 'kysely';
import { Compile } from 'typebox/schema';
import type { Db } from '../../src/lib/database.ts';
import { exampleOf, plain, type PlainSchema } from '../../src/lib/openapi/example.ts';

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
              { mediaType, schema: resolved(schema), codes, headers: Object.keys(plain(headers)) },
            ];
          }),
        ),
      };
    }),
  );
};

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

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

/** A value that a field must refuse, as JSON text, and the fields that the refusal may name. */
export type Spoilt = { what: string; json: string; fields: readonly string[] };

/** One that is certainly bad, or else bad only if the schema says so. */
type Candidate = Spoilt & { certain: boolean };

/** Words of a text, for lists. */
export const words = (text: string): string[] => text.split(' ');

export const cardNumbers = ['4242 4242 4242 4242', '4242-4242-4242-4242', '4242424242424242'];

/** Times that RFC 3339 allows and that cannot be kept: a leap second, and what is the year 10000 in UTC. */
export const edgesOfTime = ['2026-12-31T23:59:60Z', '9999-12-31T23:59:59-23:59'];

/** Credentials of the demo vendors, which no log may show. */
export const secrets = ['test-key', 'test_client_secret'];

const anyTypes = words('0 -1.5 1e30 1e400 "text" true null [] ["text"] [[]] {} {"text":1} {"text":{}}');
const deep = [100, 10_000].flatMap((depth) => [
  `${'['.repeat(depth)}${']'.repeat(depth)}`,
  `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
]);
const poisons = words('{"__proto__":{"x":"y"}} {"\\u005f_proto__":{}} {"constructor":{"prototype":{}}}');

/**
 * Bad values for a schema of the document: what the schema itself refuses, and what no field may take, such as control
 * characters and card numbers. A kind of schema that is not known here fails, so that nobody forgets to test it.
 * @param where the path of the field; empty for a whole body
 */
export const spoil = (schema: PlainSchema, where = ''): Spoilt[] => {
  const validator = Compile(schema);
  const candidates = [
    ...anyTypes.map((json) => bad(where, json, json)),
    ...deep.map((json) => bad(where, `${json.slice(0, 10)}… ${json.length} characters deep`, json)),
    ...branchesOf(schema).flatMap((branch) => candidatesOf(branch, where)),
  ];
  return candidates.filter(({ certain, json }) => certain || !validator.Check(JSON.parse(json)));
};

const bad = (where: string, what: string, json: string, certain = false): Candidate => ({
  what: `${where || 'body'}: ${what}`,
  json,
  fields: [where],
  certain,
});

const branchesOf = (schema: PlainSchema): PlainSchema[] =>
  Array.isArray(schema['anyOf']) ? schema['anyOf'].flatMap((branch) => branchesOf(plain(branch))) : [schema];

/** The bound that a schema sets, or the advice to set one: everything a caller may send is bounded. */
const boundOf = (schema: PlainSchema, keyword: string, where: string): number => {
  if (typeof schema[keyword] === 'number') return schema[keyword];
  throw new Error(`${where || 'body'} has no ${keyword}: give it one in its schema`);
};

const candidatesOf = (schema: PlainSchema, where: string): Candidate[] => {
  if (Array.isArray(schema['enum'])) return [bad(where, 'none of the choices', '"nonsense"')];
  switch (schema['type']) {
    case 'string':
      return badTexts(schema, where);
    case 'integer':
    case 'number': {
      const limits = [schema['minimum'], schema['maximum']].filter((limit) => typeof limit === 'number');
      return limits
        .flatMap((limit) => [limit - 1, limit + 1])
        .map((each) => bad(where, `${each}`, `${each}`));
    }
    case 'boolean':
    case 'null':
      return [];
    case 'array': {
      const items = plain(schema['items']);
      const many = Array.from({ length: boundOf(schema, 'maxItems', where) + 1 }, () =>
        validOf(items, where),
      );
      const each = spoil(items, `${where}.0`).map((one) => ({
        ...one,
        json: `[${one.json}]`,
        certain: true,
      }));
      return [bad(where, 'too many items', `[${many.join()}]`), ...each];
    }
    case 'object':
      return 'properties' in schema ? badMembers(schema, where) : badMaps(schema, where);
    default:
      throw new Error(
        `No bad values are known for ${where}, ${JSON.stringify(schema)}: add its kind in setup/requests.ts`,
      );
  }
};

const badTexts = (schema: PlainSchema, where: string): Candidate[] => {
  const lengthMax = boundOf(schema, 'maxLength', where);
  const example = String(exampleOf(schema));
  const refusable = {
    empty: '',
    blank: ' ',
    'too long': example + 'x'.repeat(lengthMax + 1 - example.length),
    'far too long': 'x'.repeat(100_000),
    'too long in combining marks': `${example}${'\u0301'.repeat(lengthMax)}`,
  };
  const certain = {
    ...Object.fromEntries(
      ['\u0000', '\u0007', '\u001b', '\u0085', '\ud800'].map((sign) => [
        JSON.stringify(sign),
        example + sign,
      ]),
    ),
    ...Object.fromEntries(cardNumbers.map((card) => [`a card number ${card}`, card])),
    'a card number in a text': `Card ${cardNumbers[0]}, please`,
    'secrets and a control character': `${secrets.join(' ')}\u0000`,
    ...Object.fromEntries((schema['format'] === 'date-time' ? edgesOfTime : []).map((time) => [time, time])),
  };
  return [
    ...Object.entries(refusable).map(([what, text]) => bad(where, what, JSON.stringify(text))),
    ...Object.entries(certain).map(([what, text]) => bad(where, what, JSON.stringify(text), true)),
  ];
};

/** An object whose members have names that the caller chooses. */
const badMaps = (schema: PlainSchema, where: string): Candidate[] => {
  const [example] = Object.entries(plain(exampleOf(schema)));
  if (!example) throw new Error(`${where} needs an example in its schema`);
  const [name, value] = example;
  const inner = plain(Object.values(plain(schema['patternProperties']))[0] ?? schema['additionalProperties']);
  const named = (given: string): string => objectText({ [given]: JSON.stringify(value) });
  const many = Array.from({ length: boundOf(schema, 'maxProperties', where) + 1 }, (_, index) => [
    `K${index}`,
    '"v"',
  ]);
  const names = [
    ...cardNumbers,
    '\u0007',
    '\ud800',
    '',
    'K'.repeat(5_000),
    `${'K'.repeat(59)}😀${'K'.repeat(9)}`,
  ];
  const long = `${`{"${'n'.repeat(60)}":`.repeat(60)}"\\u0000"${'}'.repeat(60)}`;
  return [
    ...spoil(inner, inside(where, name)).map((one) => ({
      ...one,
      json: objectText({ [name]: one.json }),
      certain: true,
    })),
    bad(where, 'too many members', objectText(Object.fromEntries(many))),
    ...names.map((given) => bad(where, `a member ${JSON.stringify(given).slice(0, 70)}`, named(given), true)),
    bad(where, 'a control character deep inside long names', long, true),
    ...poisons.map((json) => ({ ...bad(where, json, json, true), fields: [where, 'body'] })),
  ];
};

const badMembers = (schema: PlainSchema, where: string): Candidate[] => {
  if (schema['additionalProperties'] !== false)
    throw new Error(`${where || 'body'} takes unknown members: close it`);
  const members = validMembers(schema, where);
  const withMember = (name: string, json: string | undefined): string =>
    objectText({ ...members, [name]: json });
  const unknown = [...words('nonsense constructor toString'), 'n'.repeat(5_000), `${'n'.repeat(59)}😀`];
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`unknown_${index}`, '1']));
  const parts = Object.entries(plain(schema['properties'])).flatMap(([name, property]) =>
    spoil(plain(property), inside(where, name)).map((one) => ({
      ...one,
      json: withMember(name, one.json),
      certain: true,
    })),
  );
  return [
    ...parts,
    ...listOf(schema['required']).map((name) =>
      bad(inside(where, String(name)), 'missing', withMember(String(name), undefined)),
    ),
    // A long name is shortened where it is named.
    ...unknown.map((name) =>
      bad(
        name.length > 50 ? where : inside(where, name),
        `unknown ${name.slice(0, 70)}`,
        withMember(name, '1'),
      ),
    ),
    bad(where, '10,000 unknown members', objectText({ ...members, ...many })),
    ...poisons.map((json) => ({ ...bad(where, json, json), fields: [where, 'body'] })),
  ];
};

const inside = (where: string, name: string): string => (where === '' ? name : `${where}.${name}`);

/** An object from the JSON texts of its members. */
export const objectText = (members: Record<string, string | undefined>): string => {
  const given = Object.entries(members).filter(([, json]) => json !== undefined);
  return `{${given.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join()}}`;
};

/** The members that an object needs at least to be accepted, as JSON texts. */
export const validMembers = (schema: PlainSchema, where = ''): Record<string, string> => {
  const [first = {}] = branchesOf(schema);
  const properties = plain(first['properties']);
  const required = listOf(first['required']).map(String);
  const least = Number(first['minProperties'] ?? 0);
  const needed = required.length >= least ? required : Object.keys(properties).slice(0, least);
  return Object.fromEntries(
    needed.map((name) => [name, validOf(plain(properties[name]), inside(where, name))]),
  );
};

let addresses = 0;

/** A value that a schema accepts, as JSON text; an email address is another one each time. */
const validOf = (schema: PlainSchema, where: string): string => {
  const [first = {}] = branchesOf(schema);
  if (first['format'] === 'email') return JSON.stringify(`somebody.${(addresses += 1)}@example.com`);
  if (first['type'] === 'object' && 'properties' in first) return objectText(validMembers(first, where));
  const value = exampleOf(first);
  if (!Compile(schema).Check(value)) throw new Error(`${where} needs an example in its schema`);
  return JSON.stringify(value);
};
