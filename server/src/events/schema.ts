import { Type, type Static } from 'typebox';
import { listQuery } from '../lib/http/page.ts';
import { idOf, timeInput, timeOutput, versionOutput } from '../lib/http/schemas.ts';
import { eventPatterns } from './catalogue.ts';

const nullable = <Schema extends Type.TSchema>(schema: Schema, description: string) =>
  Type.Union([schema, Type.Null()], { description });

/** The texts by which events are chosen, in a list and for a webhook endpoint. */
export const EventPattern = Type.Enum([...eventPatterns()], {
  'x-expected': 'an event type such as payment.succeeded, a family such as payment.*, or *',
  description: 'A type such as `payment.succeeded`, a family such as `payment.*`, or `*` for everything.',
  examples: ['payment.*'],
});

/** Any id of an object: an event's object is found by its own. */
const ObjectId = Type.String({
  maxLength: 40,
  pattern: '^[a-z]{2,4}_[0-7][0-9a-hjkmnp-tv-z]{25}$',
  'x-expected': 'the id of an object, such as pay_01h455vb4pex5vsknk084sn02q',
  description: 'Only what changed this object: a payment, a refund, a customer, a webhook endpoint.',
  examples: ['pay_01h455vb4pex5vsknk084sn02q'],
});

export const ListEventsQuery = listQuery({
  type: Type.Optional(EventPattern),
  object: Type.Optional(ObjectId),
  from: Type.Optional(timeInput({ description: 'What happened at this time or later.' })),
  before: Type.Optional(timeInput({ description: 'What happened before this time.' })),
  order: Type.Enum(['asc', 'desc'], {
    default: 'desc',
    description:
      '`desc`: the newest first. `asc`: the oldest first, and `next_cursor` is always given: keep it, and it goes on with ' +
      'what happens after.',
  }),
});
export type ListEventsQuery = Static<typeof ListEventsQuery>;

/** What an event is about, by its type and id. */
export const EventSubject = Type.Object(
  {
    type: Type.String({ maxLength: 64, examples: ['payment'] }),
    id: Type.String({ maxLength: 40, examples: ['pay_01h455vb4pex5vsknk084sn02q'] }),
  },
  { description: 'Which object changed.' },
);

/** Everything of an event but what it carries: what a thin webhook sends. */
export const envelopeProperties = {
  id: idOf('journal_entry', {
    description:
      'Names the event: every delivery of it has this id, so a second one is known for what it is.',
  }),
  type: Type.String({ maxLength: 100, examples: ['payment.succeeded'] }),
  created_at: timeOutput({ description: 'When it happened.' }),
  sequence: nullable(
    versionOutput(),
    'The version of the object after the change, without gaps: 3 after 1 means that 2 is yet to come, or was missed.',
  ),
  mode: Type.Enum(['test', 'live'], { examples: ['test'] }),
  object: Type.Union([EventSubject, Type.Null()]),
};

/** An event as it is listed and sent: `data` is the object after the change, with personal data as known now. */
export const EventAnswer = Type.Object(
  {
    ...envelopeProperties,
    data: Type.Unsafe<Record<string, unknown>>({
      type: 'object',
      maxProperties: 100,
      additionalProperties: true,
      description:
        'The object after the change: see the webhooks of this document for what each type carries.',
      examples: [{ id: 'pay_01h455vb4pex5vsknk084sn02q', object: 'payment', status: 'succeeded' }],
    }),
  },
  { description: 'Something that happened to an object of a vendor.' },
);
