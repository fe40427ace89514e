import { exampleOf, plain, type PlainSchema } from './example.ts';

/** A message that we send to others: one type of event. */
export type SentMessage = {
  /** `payment.succeeded` */
  type: string;
  title: string;
  description: string;
  /** What it carries as `data`: the name that its schema has in the document, and the schema. */
  payload: { name: string; schema: object };
};

type Documented = {
  webhooks: Record<string, PlainSchema>;
  schemas: Record<string, PlainSchema>;
  parameters: Record<string, PlainSchema>;
};

/**
 * The section `webhooks` of an OpenAPI 3.1 document: what is sent, from which a receiver can be generated.
 * @param envelope the members around `data`, as JSON Schemas
 */
export const describeWebhooks = (
  messages: readonly SentMessage[],
  envelope: Readonly<Record<string, object>>,
): Documented => {
  const webhooks: Documented['webhooks'] = {};
  const schemas: Documented['schemas'] = {};
  for (const message of messages) {
    const { name, schema } = message.payload;
    schemas[name] ??= plain(schema);
    schemas[`${name}Event`] ??= eventOf(name, envelope);
    webhooks[message.type] = { post: operationOf(message, envelope) };
  }
  return { webhooks, schemas, parameters };
};

const eventOf = (name: string, envelope: Readonly<Record<string, object>>): PlainSchema => ({
  type: 'object',
  required: Object.keys(envelope),
  properties: {
    ...envelope,
    data: {
      $ref: `#/components/schemas/${name}`,
      description: 'Not sent to endpoints with `payload: thin`.',
    },
  },
});

const operationOf = (
  { type, title, description, payload }: SentMessage,
  envelope: Readonly<Record<string, object>>,
): PlainSchema => {
  const [object = '', name = ''] = type.split('.');
  const example = plain(exampleOf(plain(payload.schema)));
  return {
    operationId: `on${[object, name].map(pascal).join('')}`,
    tags: ['Webhooks'],
    summary: title,
    description,
    security: [],
    parameters: Object.keys(parameters).map((each) => ({ $ref: `#/components/parameters/${each}` })),
    requestBody: {
      required: true,
      content: {
        'application/json': {
          schema: { $ref: `#/components/schemas/${payload.name}Event` },
          example: {
            ...plain(exampleOf({ type: 'object', properties: envelope })),
            type,
            object: { type: object, id: example['id'] },
            data: example,
          },
        },
      },
    },
    responses: {
      200: { description: 'Accepted: any 2xx will do.' },
      410: { description: 'Nobody is here any more: the endpoint is disabled.' },
    },
  };
};

const pascal = (words: string): string =>
  words.replaceAll(/(^|_)([a-z])/g, (_, _start, letter: string) => letter.toUpperCase());

const parameterOf = (name: string, description: string, example: string, maxLength: number): PlainSchema => ({
  name,
  in: 'header',
  required: true,
  description,
  schema: { type: 'string', maxLength },
  example,
});

/** The header fields by which a receiver verifies a message. */
const parameters: Documented['parameters'] = {
  WebhookId: parameterOf(
    'webhook-id',
    'The event: the same in every attempt and replay.',
    'evt_01h455vb4pex5vsknk084sn02q',
    64,
  ),
  WebhookTimestamp: parameterOf(
    'webhook-timestamp',
    'When this attempt was made: seconds since 1970.',
    '1795334400',
    20,
  ),
  WebhookSignature: parameterOf(
    'webhook-signature',
    'Standard Webhooks: `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`; several with spaces between.',
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    500,
  ),
};
