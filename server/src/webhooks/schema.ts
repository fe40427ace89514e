import { Type, type Static } from 'typebox';
import { EventPattern } from '../events/schema.ts';
import { listQuery } from '../lib/http/page.ts';
import { freeText, idOf, metadata, timeOutput, versionOutput } from '../lib/http/schemas.ts';

const closed = { additionalProperties: false } as const;

const nullable = <Schema extends Type.TSchema>(schema: Schema, description: string) =>
  Type.Union([schema, Type.Null()], { description });

export const payloads = ['full', 'thin'] as const;
export const endpointStates = ['enabled', 'disabled', 'deleted'] as const;
export const disabledReasons = ['requested', 'gone', 'failing'] as const;
export type DisabledReason = (typeof disabledReasons)[number];

const Url = Type.String({
  minLength: 1,
  maxLength: 2048,
  'x-expected': 'an https address such as https://shop.example/webhooks',
  description:
    'Where events are sent to, by POST. Public `https` addresses alone, unless the operator allows others; without a name and ' +
    'password in it.',
  examples: ['https://shop.example/webhooks'],
});

const Patterns = Type.Array(EventPattern, {
  minItems: 1,
  maxItems: 100,
  uniqueItems: true,
  description:
    'Which events are sent: types such as `payment.succeeded`, families such as `payment.*`, or `*`.',
  examples: [['payment.*', 'refund.succeeded']],
});

const description = freeText(500, { description: 'What it is for.', examples: ['Shop, production'] });

const Ordered = Type.Boolean({
  description:
    'Whether the events of one object are sent one after the other, in the order of their `sequence`: the next one only ' +
    'once the one before was accepted. Events of other objects do not wait.',
  examples: [false],
});

const Payload = Type.Enum(payloads, {
  description: '`full` sends `data`, the object after the change; `thin` sends only which object changed.',
  examples: ['full'],
});

export const CreateEndpointBody = Type.Object(
  {
    url: Url,
    events: Patterns,
    description: Type.Optional(description),
    metadata: Type.Optional(metadata()),
    ordered: Type.Optional(Ordered),
    payload: Type.Optional(Payload),
  },
  closed,
);
export type CreateEndpointBody = Static<typeof CreateEndpointBody>;

export const UpdateEndpointBody = Type.Object(
  {
    url: Type.Optional(Url),
    events: Type.Optional(Patterns),
    description: Type.Optional(nullable(description, 'What it is for; `null` removes it.')),
    metadata: Type.Optional(metadata({ description: 'Replaces all metadata.' })),
    ordered: Type.Optional(Ordered),
    payload: Type.Optional(Payload),
  },
  { ...closed, minProperties: 1, description: 'What is left out stays as it is.' },
);
export type UpdateEndpointBody = Static<typeof UpdateEndpointBody>;

/** How long the secrets before may sign beside a new one: a week at most. */
export const overlapHours = { default: 24, max: 168 } as const;

export const RotateSecretBody = Type.Object(
  {
    overlap_hours: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: overlapHours.max,
        description:
          'For how many hours the secrets before sign too, beside the new one; 24 unless told. 0 ends them at once: when one ' +
          'became known.',
        examples: [overlapHours.default],
      }),
    ),
  },
  closed,
);
export type RotateSecretBody = Static<typeof RotateSecretBody>;

export const ListEndpointsQuery = listQuery({});

/** An endpoint without its secret: the snapshot of its journal entries, and what its events carry. */
export const WebhookEndpoint = Type.Object(
  {
    id: idOf('webhook_endpoint'),
    object: Type.Literal('webhook_endpoint'),
    mode: Type.Enum(['test', 'live'], {
      description: 'It is told events of this mode.',
      examples: ['test'],
    }),
    url: Type.String({ maxLength: 2048, examples: ['https://shop.example/webhooks'] }),
    events: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 100, examples: [['payment.*']] }),
    description: nullable(Type.String({ maxLength: 500 }), 'What it is for.'),
    metadata: metadata(),
    ordered: Ordered,
    payload: Payload,
    status: Type.Enum(endpointStates, {
      description:
        'Only to an `enabled` one anything is sent; a `deleted` one is seen in its last event alone.',
      examples: ['enabled'],
    }),
    disabled_reason: nullable(
      Type.Enum(disabledReasons),
      '`requested`: by a request. `gone`: it answered 410. `failing`: it accepted nothing for days.',
    ),
    version: versionOutput(),
    created_at: timeOutput(),
    updated_at: timeOutput(),
  },
  { description: 'An address of a vendor that is told events.' },
);
export type WebhookEndpoint = Static<typeof WebhookEndpoint>;

const SigningSecret = Type.String({
  maxLength: 100,
  'x-secret': true,
  description:
    'Signs what is sent: `whsec_` and the base64 text of the key (Standard Webhooks). A dry run does not show it.',
  examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
});

export const CreatedEndpoint = Type.Object({ ...WebhookEndpoint.properties, secret: SigningSecret });

export const RotatedEndpoint = Type.Object({
  ...WebhookEndpoint.properties,
  secret: SigningSecret,
  earlier_secrets_until: timeOutput({
    description: 'Until then, at the latest, the secrets before sign too.',
  }),
});

export const EndpointSecret = Type.Object({
  id: idOf('webhook_endpoint'),
  secret: SigningSecret,
  created_at: timeOutput(),
  earlier_secrets_until: nullable(
    timeOutput(),
    'Until then an earlier secret signs too; null when this one signs alone.',
  ),
});
export type EndpointSecret = Static<typeof EndpointSecret>;

export const TestedEndpoint = Type.Object(
  {
    ...WebhookEndpoint.properties,
    event_id: idOf('journal_entry', {
      description:
        'The event that is sent, `webhook_endpoint.tested`: its deliveries tell what became of it.',
    }),
  },
  { description: 'An endpoint that a test is on its way to.' },
);
