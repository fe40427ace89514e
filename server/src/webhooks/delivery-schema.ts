import { Type, type Static } from 'typebox';
import { EventPattern } from '../events/schema.ts';
import { listQuery } from '../lib/http/page.ts';
import { idOf, timeInput, timeOutput } from '../lib/http/schemas.ts';

const closed = { additionalProperties: false } as const;

const nullable = <Schema extends Type.TSchema>(schema: Schema, description: string) =>
  Type.Union([schema, Type.Null()], { description });

export const deliveryStates = ['pending', 'delivered', 'failed', 'discarded'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

const State = Type.Enum(deliveryStates, {
  description:
    '`pending` is to be sent, now or again later; `delivered` was accepted; `failed` was given up and waits for a retry by ' +
    'hand; `discarded` was for an endpoint that was deleted.',
  examples: ['delivered'],
});

const StatusCode = Type.Integer({ minimum: 100, maximum: 999, examples: [200] });
const ErrorText = Type.String({ maxLength: 1_000, examples: ['the receiver answered 503'] });
const headers = (description: string) =>
  Type.Record(Type.String({ maxLength: 16_384 }), Type.String({ maxLength: 16_384 }), {
    description,
    examples: [{ 'content-type': 'application/json' }],
  });

export const Delivery = Type.Object(
  {
    id: idOf('delivery'),
    object: Type.Literal('delivery'),
    endpoint_id: idOf('webhook_endpoint'),
    event_id: idOf('journal_entry', { description: 'Also the `webhook-id` of every attempt.' }),
    event_type: Type.String({ maxLength: 64, examples: ['payment.succeeded'] }),
    status: State,
    replay: Type.Integer({
      minimum: 0,
      maximum: 2_147_483_647,
      description: '0, or the number of the replay of the endpoint that it belongs to.',
      examples: [0],
    }),
    attempts: Type.Integer({
      minimum: 0,
      maximum: 2_147_483_647,
      description: 'How often it was tried, also before a retry by hand.',
      examples: [1],
    }),
    next_attempt_at: nullable(
      timeOutput(),
      'When it is tried next, if the endpoint is enabled and its circuit is closed; null when it has ended, or waits for an ' +
        'earlier delivery of the same object.',
    ),
    last_status: nullable(StatusCode, 'What the receiver answered last; null when it did not.'),
    last_error: nullable(ErrorText, 'Why the last attempt was no success.'),
    created_at: timeOutput(),
    ended_at: nullable(timeOutput(), 'When it was delivered, given up or discarded.'),
  },
  { description: 'One event on its way to one endpoint.' },
);
export type Delivery = Static<typeof Delivery>;

const Attempt = Type.Object({
  number: Type.Integer({ minimum: 1, maximum: 2_147_483_647, examples: [1] }),
  at: timeOutput(),
  status: nullable(StatusCode, 'What the receiver answered; null when it did not.'),
  error: nullable(ErrorText, 'Why it was no success.'),
  duration_ms: Type.Integer({ minimum: 0, maximum: 2_147_483_647, examples: [12] }),
  request_headers: headers('Without the signatures.'),
  response_headers: nullable(headers('As they came.'), 'The first 4 KiB of them; null without an answer.'),
  response_body: nullable(
    Type.String({ maxLength: 1_024 }),
    'The first kibibyte as UTF-8. Personal data of the event and card numbers are blacked out.',
  ),
});

export const DeliveryWithAttempts = Type.Object({
  ...Delivery.properties,
  tries: Type.Array(Attempt, {
    maxItems: 100,
    description: 'Every attempt, the newest first: the last hundred, for as long as they are kept.',
  }),
});
export type DeliveryWithAttempts = Static<typeof DeliveryWithAttempts>;

export const ListDeliveriesQuery = listQuery({
  status: Type.Optional(State),
  endpoint: Type.Optional(idOf('webhook_endpoint', { description: 'Those of this endpoint.' })),
  event: Type.Optional(idOf('journal_entry', { description: 'Those of this event.' })),
});

/** How many dead letters one request sends again. */
export const retriesMax = 1_000;

export const RetriedDeliveries = Type.Object(
  {
    object: Type.Literal('deliveries_retry'),
    endpoint_id: idOf('webhook_endpoint'),
    retried: Type.Integer({ minimum: 0, maximum: retriesMax, examples: [17] }),
    has_more: Type.Boolean({ description: 'Whether there are more: ask again.', examples: [false] }),
  },
  { description: 'Dead letters that are sent again.' },
);
export type RetriedDeliveries = Static<typeof RetriedDeliveries>;

export const ReplayBody = Type.Object(
  {
    from: timeInput({
      description: 'Events from this time on, no earlier than events are kept.',
      examples: ['2026-11-21T08:00:00Z'],
    }),
    before: timeInput({ description: 'Events before this time; one that is to come means now.' }),
    events: Type.Optional(
      Type.Array(EventPattern, {
        minItems: 1,
        maxItems: 100,
        uniqueItems: true,
        description: 'Which events; those of the endpoint unless told.',
        examples: [['payment.*']],
      }),
    ),
  },
  closed,
);
export type ReplayBody = Static<typeof ReplayBody>;

export const Replay = Type.Object(
  {
    object: Type.Literal('webhook_replay'),
    endpoint_id: idOf('webhook_endpoint'),
    number: Type.Integer({
      minimum: 1,
      maximum: 2_147_483_647,
      description: 'Counts those of the endpoint; its deliveries have it as `replay`.',
      examples: [1],
    }),
    status: Type.Enum(['running', 'done', 'canceled'], {
      description: '`done` when all of it is queued; `canceled` when the endpoint was deleted before.',
      examples: ['running'],
    }),
    from: timeOutput(),
    before: timeOutput(),
    events: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 100, examples: [['payment.*']] }),
    found: Type.Integer({
      minimum: 0,
      maximum: 2_147_483_647,
      description: 'Deliveries that were made so far.',
      examples: [0],
    }),
    created_at: timeOutput(),
    ended_at: nullable(timeOutput(), 'When all of it was queued.'),
  },
  { description: 'A request to tell an endpoint again what happened.' },
);
export type ReplayAnswer = Static<typeof Replay>;

export const ListReplaysQuery = listQuery({});
