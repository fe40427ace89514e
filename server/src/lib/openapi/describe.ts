import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifySchema } from 'fastify';
import type { ErrorCode } from '../errors.ts';
import { absentBodyIsEmpty } from '../http/body.ts';
import { codesOf, type Operation } from './errors.ts';
import { components, securityOf } from './components.ts';
import { exampleOf, plain, spellOut, type PlainSchema } from './example.ts';
import { responsesFor, successHeaders, withPreview } from './responses.ts';
import type { describeWebhooks } from './webhooks.ts';

export type Description = {
  /** The public address, `https://api.example.com`. */
  serverUrl: string;
  /** Which installation it is, unless it is the one in production. */
  environment?: string;
  /** The version of Florin that answers. */
  version: string;
  /** The groups of operations, in the order of the page. */
  tags: readonly { name: string; description: string }[];
  /** What is sent to others. */
  sent?: ReturnType<typeof describeWebhooks>;
};

/**
 * Collects every route registered after it into an OpenAPI 3.1 document, which `app.swagger()` then gives: the schemas
 * as they validate, security from `requires`, and every error code with an example.
 */
export const describeApi = async (app: FastifyInstance, description: Description): Promise<void> => {
  const { serverUrl, environment = 'production', version, tags } = description;
  const operations = new Map<string, Operation>();
  const server = { url: serverUrl, description: `This Florin (${environment})`, 'x-internal': false };
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Florin',
        version,
        description: introduction,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
        contact: { name: 'The operator of this Florin', url: serverUrl },
      },
      servers: [server],
      tags: [...tags],
      components,
    },
    transform: ({ schema, url, route }) => {
      const { operationId } = schema ?? {};
      // What has no id is no operation of the public API: pages, metrics, calls between services.
      if (operationId === undefined) return { schema: { ...schema, hide: true }, url };
      if (operations.has(operationId)) throw new Error(`two routes have the operationId ${operationId}`);
      operations.set(operationId, operationOf(schema, route));
      return { schema: withPlainNouns(schema), url };
    },
    transformObject: (made) => {
      const document = 'openapiObject' in made ? made.openapiObject : {};
      for (const path of Object.values(plain(plain(document)['paths']))) {
        for (const described of Object.values(plain(path)).map(plain)) {
          const operation = operations.get(String(described['operationId']));
          if (operation) complete(described, operation);
        }
      }
      if (description.sent) addSent(plain(document), description.sent);
      keepUsed(plain(document));
      spellOut(document);
      return document;
    },
  });
};

/** Adds what is sent to others, with the schemas and header fields that it refers to. */
const addSent = (document: PlainSchema, { webhooks, ...shared }: NonNullable<Description['sent']>): void => {
  // A copy, because the document is spelt out and the schemas are those that requests are held against.
  document['webhooks'] = structuredClone(webhooks);
  const own = plain(document['components']);
  for (const [kind, parts] of Object.entries(shared))
    own[kind] = { ...plain(own[kind]), ...structuredClone(parts) };
};

/** Operations share examples and parameters; what none of them uses is left out. */
const keepUsed = (document: PlainSchema): void => {
  const used = JSON.stringify([document['paths'], document['webhooks']]);
  const shared = plain(document['components']);
  for (const kind of ['examples', 'parameters']) {
    const entries = Object.entries(plain(shared[kind]));
    shared[kind] = Object.fromEntries(
      entries.filter(([name]) => used.includes(`"#/components/${kind}/${name}"`)),
    );
  }
};

const introduction = `Payments with a double-entry ledger behind them.

- **Authenticate** with an API key, with client id and secret, or with an access token.
- **Retry safely**: send an \`Idempotency-Key\` with every write; the same key gives the same answer.
- **Try first**: \`Dry-Run: true\` on a write answers what it would do, and changes nothing.
- **Amounts** are decimal strings in major units with an ISO 4217 currency; answers also carry \`amount_minor\`.
- **Errors** are \`application/problem+json\` (RFC 9457); every code is explained at [/docs/errors](/docs/errors).
- **Lists** give \`has_more\` and \`next_cursor\`; send the cursor back as \`cursor\`.`;

type Described = {
  method: string | string[];
  preValidation?: unknown;
  config?: {
    requires?: Operation['requires'];
    platformOnly?: boolean;
    dryRun?: 'preview' | 'ignored';
    errors?: readonly ErrorCode[];
    probe?: boolean;
  };
};

const operationOf = (schema: FastifySchema, route: Described): Operation => ({
  requires: route.config?.requires ?? 'public',
  platformOnly: route.config?.platformOnly ?? false,
  errors: route.config?.errors ?? [],
  probe: route.config?.probe ?? false,
  writes: !['GET', 'HEAD'].includes(String(route.method)),
  previews: route.config?.dryRun === 'preview',
  // Fastify checks an absent body as null.
  bodyOptional: [route.preValidation].flat().includes(absentBodyIsEmpty) || takesNull(schema.body),
});

const takesNull = (schema: unknown): boolean => {
  const { type, anyOf } = plain(schema);
  return type === 'null' || (Array.isArray(anyOf) && anyOf.some(takesNull));
};

/** Puts in what the route's schema does not say: who may call, what can go wrong, and examples. */
const complete = (described: PlainSchema, operation: Operation): void => {
  described['security'] = securityOf(operation);
  const texts = [described['description'], whoMay(operation)].filter(
    (text) => typeof text === 'string' && text !== '',
  );
  described['description'] = texts.join('\n\n') || described['summary'];
  described['parameters'] = parametersOf(described, operation);
  if (operation.bodyOptional && 'requestBody' in described)
    plain(described['requestBody'])['required'] = false;
  exemplify(described['requestBody']);
  const succeeded = withPreview(plain(described['responses']), operation);
  for (const response of Object.values(succeeded).map(plain)) {
    exemplify(response);
    response['headers'] = { ...plain(response['headers']), ...successHeaders(operation) };
    if (response['description'] === 'Default Response') response['description'] = 'Done.';
  }
  described['responses'] = { ...succeeded, ...responsesFor(codesOf(operation), succeeded) };
};

const whoMay = ({ requires, platformOnly }: Operation): string => {
  if (requires === 'public') return '';
  return `Requires role \`${requires}\`${platformOnly ? ' of the platform' : ''}.`;
};

const parametersOf = (described: PlainSchema, operation: Operation): unknown[] => {
  const own = (Array.isArray(described['parameters']) ? described['parameters'] : []).map(plain);
  for (const parameter of own) {
    // What has a default may be left out, though it is always there once the request is read.
    if ('default' in plain(parameter['schema'])) parameter['required'] = false;
  }
  const named = new Set(own.map((parameter) => String(parameter['name']).toLowerCase()));
  const authenticated = operation.requires !== 'public';
  return [
    ...own,
    ...(authenticated && operation.writes && !named.has('idempotency-key')
      ? [{ $ref: '#/components/parameters/IdempotencyKey' }]
      : []),
    ...(operation.previews ? [{ $ref: '#/components/parameters/DryRun' }] : []),
    ...(authenticated && !named.has('florin-vendor')
      ? [{ $ref: '#/components/parameters/FlorinVendor' }]
      : []),
  ];
};

const exemplify = (container: unknown): void => {
  for (const media of Object.values(plain(plain(container)['content'])).map(plain)) {
    if (!('example' in media) && !('examples' in media)) media['example'] = exampleOf(plain(media['schema']));
  }
};

/** `x-noun` is for our own 404 text, not for readers. */
const withPlainNouns = (schema: FastifySchema): FastifySchema => {
  if (schema.params === undefined) return schema;
  const { 'x-noun': _, ...params } = plain(schema.params);
  return { ...schema, params };
};
