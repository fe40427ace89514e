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
  responses: ReadonlyMap<number, { mediaType: string; schema: PlainSchema; codes: readonly string[]; headers: readonly string[] }>;
};

/** Reads every operation out of a document that `makeDocument` made. */
export const operationsOf = (document: object): Operation[] => {
  const resolved = (value: unknown): PlainSchema => {
    const reference = plain(value)['$ref'];
    if (typeof reference !== 'string') return plain(value);
    return reference.split('/').slice(1).reduce((inner, step) => plain(inner[step]), plain(document));
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
            return [Number(status), { mediaType, schema: resolved(schema), codes, headers: Object.keys(plain(headers)) }];
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

export type Received = { status: number; headers: IncomingHttpHeaders; text: string; body: Record<string, unknown> };

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** Sends a request exactly as it is told to: no header field is added that HTTP can do without. */
export const transmit = ({ method, url, headers = {}, body, chunked = false }: Sent): Promise<Received> => {
  const length = body === undefined || chunked ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const { promise, resolve, reject } = Promise.withResolvers<Received>();
  // The URL goes out as it is written; a URL object would tidy it up.
  const [, origin = '', path = '/'] = /^(https?:\/\/[^/]+)(.*)$/.exec(url) ?? [];
  const { hostname, port } = new URL(origin);
  const request = httpRequest({ agent, hostname, port, path, method, headers: { ...headers, ...length } }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) });
    });
  });
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
  return validator.Errors(value)[1].map(({ instancePath, message }) => `${instancePath || 'the answer'} ${message}`);
};

/** A copy in which no object may have members that are not described. */
const closed = (schema: unknown): PlainSchema => {
  const copy = Object.fromEntries(Object.entries(plain(schema)).map(([name, part]) => [name, closedPart(part)]));
  return 'properties' in copy && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy;
};

const closedPart = (part: unknown): unknown =>
  Array.isArray(part) ? part.map(closedPart) : typeof part === 'object' && part !== null ? closed(part) : part;

/** What is wrong with an answer by the contract of its operation: status, code, media type, body, header fields. */
export const breaches = (operation: Operation, { status, headers, body, text }: Received): string[] => {
  const described = operation.responses.get(status);
  const shown = `${operation.id} answered ${status} ${String(body['code'] ?? '')}`;
  if (!described) return [`${shown}, which is not documented`];
  const code = body['code'];
  const isKnownCode = status < 400 || described.codes.length === 0 || described.codes.includes(String(code));
  // Names of what an answer carries always; the others depend on the request.
  const always = described.headers.filter((name) => /^(X-Request-Id|traceparent|RateLimit.*)$/.test(name) && (status < 400 || name.startsWith('X')));
  return [
    ...(isKnownCode ? [] : [`${shown}, whose code is not documented for it`]),
    ...(String(headers['content-type']).split(';')[0] === described.mediaType ? [] : [`${shown} as ${headers['content-type']}`]),
    ...always.filter((name) => headers[name.toLowerCase()] === undefined).map((name) => `${shown} without ${name}`),
    ...mismatches(described.schema, JSON.parse(text)).map((fault) => `${shown}: ${fault}`),
  ];
};

/** What is wrong with a refusal as such (RFC 9457 and the members of the guides), whatever its operation. */
export const problemFaults = (problem: PlainSchema, { status, headers, body, text }: Received): string[] => {
  const strange = [
    [headers['content-type'] !== 'application/problem+json', `its content type is ${headers['content-type']}`],
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
export const tablesOf = async (db: Db): Promise<{ contents(): Promise<Contents>; find(text: string): Promise<string[]> }> => {
  const { rows: tables } = await sql<{ name: string }>`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema')
  `.execute(db);
  const all = <Row>(select: (name: string) => string) =>
    sql<Row>`${sql.raw(tables.map(({ name }) => select(name)).join(' union all '))}`.execute(db);
  return {
    contents: async () => {
      const { rows } = await all<{ name: string; rows: number; sum: string }>(
        (name) => `select '${name}' as name, count(*)::int as rows, sum(hashtextextended(t::text, 0))::text as sum from ${name} t`,
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

/** The tables that differ, such as `journal.entries (+1)`. */
export const changedTables = (before: Contents, after: Contents): string[] =>
  [...after].flatMap(([name, { rows, sum }]) => {
    const was = before.get(name);
    return was?.sum === sum && was.rows === rows ? [] : [`${name} (${rows - (was?.rows ?? 0)} rows more)`];
  });

/** A value that a field must refuse, as JSON text, and the fields that the refusal may name. */
export type Spoilt = { what: string; json: string; fields: readonly string[] };

/** Stands for whatever is wrong with a body before its fields are looked at. */
const wholeBody = 'body';

export const cardNumbers = ['4242 4242 4242 4242', '4242-4242-4242-4242', '4242424242424242'];

/** Credentials of the demo vendors, which no log may show. */
export const secrets = ['test-key', 'test_client_secret'];

/**
 * Bad values for a schema of the document: what the schema itself refuses, and what no field may take, such as control
 * characters and card numbers. A kind of schema that is not known here fails, so that nobody forgets to test it.
 * @param where the path of the field; empty for a whole body
 */
export const spoil = (schema: PlainSchema, where = ''): Spoilt[] => {
  const validator = Compile(schema);
  const here = (what: string, json: string) => ({ what: `${where || wholeBody}: ${what}`, json, fields: [where] });
  const refusedBySchema = [
    ...['0', '-1.5', '1e30', '"text"', 'true', 'null', '[]', '["text"]', '[[]]', '{}', '{"text":1}', '{"text":{}}'].map((json) => here(json, json)),
    ...branchesOf(schema).flatMap((branch) => badOf(branch, where)),
  ].filter(({ json }) => !validator.Check(JSON.parse(json)));
  return [
    ...refusedBySchema,
    ...[100, 10_000].flatMap((depth) => [
      here(`arrays ${depth} deep`, `${'['.repeat(depth)}${']'.repeat(depth)}`),
      here(`objects ${depth} deep`, `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`),
    ]),
    ...branchesOf(schema).flatMap((branch) => alwaysBadOf(branch, where)),
  ];
};

const branchesOf = (schema: PlainSchema): PlainSchema[] =>
  Array.isArray(schema['anyOf']) ? schema['anyOf'].flatMap((branch) => branchesOf(plain(branch))) : [schema];

const kindOf = (schema: PlainSchema, where: string): string => {
  if ('const' in schema || Array.isArray(schema['enum'])) return 'choice';
  const kind = schema['type'] === 'object' && !('properties' in schema) ? 'map' : String(schema['type']);
  if (['string', 'integer', 'number', 'boolean', 'null', 'array', 'object', 'map'].includes(kind)) return kind;
  throw new Error(`No bad values are known for ${where}, ${JSON.stringify(schema)}: add its kind to badOf in server/test/setup/requests.ts`);
};

/** The bound that a schema sets, or the advice to set one: everything a caller may send is bounded. */
const boundOf = (schema: PlainSchema, keyword: string, where: string): number => {
  if (typeof schema[keyword] === 'number') return schema[keyword];
  throw new Error(`${where || wholeBody} has no ${keyword}: give it one in its schema`);
};

/** Candidates that a schema of this kind may refuse. */
const badOf = (schema: PlainSchema, where: string): Spoilt[] => {
  const here = (what: string, value: unknown): Spoilt => ({ what: `${where || wholeBody}: ${what}`, json: JSON.stringify(value), fields: [where] });
  switch (kindOf(schema, where)) {
    case 'choice':
      return [here('none of the choices', 'nonsense'), here('in capitals', String(exampleText(schema)).toUpperCase())];
    case 'string': {
      const lengthMax = boundOf(schema, 'maxLength', where);
      const example = exampleText(schema);
      return [
        here('empty', ''),
        here('blank', ' '),
        here('too long', example + 'x'.repeat(lengthMax + 1 - example.length)),
        here('far too long', 'x'.repeat(100_000)),
        here('too long in combining marks', `${example}${'\u0301'.repeat(lengthMax)}`),
      ];
    }
    case 'integer':
    case 'number':
      return [schema['minimum'], schema['maximum']].flatMap((limit) =>
        typeof limit === 'number' ? [here('out of bounds', limit - 1), here('out of bounds', limit + 1)] : [],
      );
    case 'array': {
      const item = validOf(plain(schema['items']), where);
      const items = Array.from({ length: boundOf(schema, 'maxItems', where) + 1 }, () => item);
      return [
        { what: `${where}: too many items`, json: `[${items.join()}]`, fields: [where] },
        ...spoil(plain(schema['items']), `${where}.0`).map((bad) => ({ ...bad, json: `[${bad.json}]` })),
      ];
    }
    case 'map': {
      const entries = Array.from({ length: boundOf(schema, 'maxProperties', where) + 1 }, (_, index) => [`K${index}`, 'v']);
      return [
        here('too many members', Object.fromEntries(entries)),
        here('a member without a name', { '': 'v' }),
        here('a member with a long name', { ['K'.repeat(41)]: 'v' }),
      ];
    }
    case 'object': {
      if (schema['additionalProperties'] !== false) throw new Error(`${where || wholeBody} takes unknown members: close its schema`);
      const members = validMembers(schema, where);
      const without = (name: string) => objectText({ ...members, [name]: undefined });
      return [
        ...listOf(schema['required']).map(String).map((name) => ({ what: `${inside(where, name)}: missing`, json: without(name), fields: [inside(where, name)] })),
        ...['nonsense', 'constructor', 'toString'].map((name) => ({
          what: `${inside(where, name)}: unknown`,
          json: objectText({ ...members, [name]: '"x"' }),
          fields: [inside(where, name)],
        })),
      ];
    }
    default:
      return [];
  }
};

/** What no schema of this kind has to forbid by itself, because it is forbidden everywhere. */
const alwaysBadOf = (schema: PlainSchema, where: string): Spoilt[] => {
  const here = (what: string, json: string): Spoilt => ({ what: `${where || wholeBody}: ${what}`, json, fields: [where] });
  const poisons = ['"__proto__":{"x":"y"}', '"\\u005f_proto__":{}', '"constructor":{"prototype":{"x":"y"}}'].map((member) => ({
    ...here(`holds ${member}`, `{${member}}`),
    fields: [where, wholeBody],
  }));
  switch (kindOf(schema, where)) {
    case 'string': {
      const example = exampleText(schema);
      const texts = ['\u0000', '\u0007', '\u001b', '\ud800', '\udc00'].map((strange) => example + strange);
      return [
        ...texts.map((text) => here(JSON.stringify(text).slice(-7), JSON.stringify(text))),
        ...cardNumbers.map((card) => here('a card number', JSON.stringify(card))),
        here('a card number in a text', JSON.stringify(`Card ${cardNumbers[0]}, please`)),
        here('secrets and a control character', JSON.stringify(`${secrets.join(' ')}\u0000`)),
      ];
    }
    case 'number':
    case 'integer':
      return [here('1e400', '1e400'), here('-1e400', '-1e400')];
    case 'map': {
      const [name, value] = Object.entries(validMap(schema))[0] ?? [];
      if (name === undefined) throw new Error(`${where} needs an example in its schema`);
      const inner = plain(Object.values(plain(schema['patternProperties']))[0] ?? schema['additionalProperties']);
      const names = [...cardNumbers, '\u0007', '\ud800', 'K'.repeat(5_000), `${'K'.repeat(59)}😀${'K'.repeat(500)}`];
      return [
        ...poisons,
        ...spoil(inner, inside(where, name)).map((bad) => ({ ...bad, json: objectText({ [name]: bad.json }) })),
        ...names.map((strange) => here(`a member ${JSON.stringify(strange).slice(0, 30)}`, objectText({ [strange]: JSON.stringify(value) }))),
        here('a control character deep inside long names', `${`{"${'n'.repeat(60)}":`.repeat(60)}"\\u0000"${'}'.repeat(60)}`),
      ];
    }
    case 'object': {
      const members = validMembers(schema, where);
      const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`unknown_${index}`, '1']));
      const long = ['n'.repeat(5_000), `${'n'.repeat(59)}😀`];
      const inner = Object.entries(plain(schema['properties'])).flatMap(([name, property]) =>
        spoil(plain(property), inside(where, name)).map((bad) => ({ ...bad, json: objectText({ ...members, [name]: bad.json }) })),
      );
      return [
        ...poisons,
        ...inner,
        here('10,000 unknown members', objectText({ ...members, ...many })),
        ...long.map((name) => here(`an unknown member ${name.slice(0, 5)}… `, objectText({ ...members, [name]: '1' }))),
      ];
    }
    default:
      return [];
  }
};

const inside = (where: string, name: string): string => (where === '' ? name : `${where}.${name}`);

const exampleText = (schema: PlainSchema): string => String(exampleOf(schema));

/** An object from the JSON texts of its members. */
export const objectText = (members: Record<string, string | undefined>): string =>
  `{${Object.entries(members)
    .flatMap(([name, json]) => (json === undefined ? [] : [`${JSON.stringify(name)}:${json}`]))
    .join()}}`;

const validMap = (schema: PlainSchema): Record<string, unknown> => plain(exampleOf(schema));

/** The members that an object needs at least to be accepted, as JSON texts. */
export const validMembers = (schema: PlainSchema, where = ''): Record<string, string> => {
  const properties = plain(schema['properties']);
  const required = listOf(schema['required']).map(String);
  const needed = required.length === 0 && schema['minProperties'] === 1 ? Object.keys(properties).slice(0, 1) : required;
  return Object.fromEntries(needed.map((name) => [name, validOf(plain(properties[name]), inside(where, name))]));
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
