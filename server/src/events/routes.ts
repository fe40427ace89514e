import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { invalidField } from '../lib/errors.ts';
import { decodeCursor, encodeCursor, type Page } from '../lib/http/page.ts';
import { idParams, listOf } from '../lib/http/schemas.ts';
import { idPrefixes, isId, type Id, type IdKind } from '../lib/ids.ts';
import { parseTime } from '../lib/time.ts';
import { completeEvents, type DescribeCustomers } from './complete.ts';
import { envelopeOf, getEvent, shownSince, type Envelope, type EventRecord } from './events.ts';
import { EventAnswer, ListEventsQuery } from './schema.ts';
import { boundsOf, listEvents, type EventFilter, type Range } from './store.ts';

type Dependencies = {
  db: Db;
  clock: Clock;
  retention: { eventsDays: number };
  describeCustomers: DescribeCustomers;
};

const tags = ['Events'];

/** Where a list of events goes on, and in which order it was. */
const Cursor = Type.Tuple([
  Type.Enum(['asc', 'desc']),
  Type.String({ pattern: '^(0|[1-9][0-9]{0,17})$', maxLength: 18 }),
]);

/** What happened: `/events`. Vendors are told the same by webhooks. */
export const eventRoutes = (parts: Dependencies): FastifyPluginAsyncTypebox => {
  const { db, clock, describeCustomers } = parts;
  // Only requests read the settings: the document of the routes is made without any.
  const oldest = (): Date => shownSince(clock.now(), parts.retention.eventsDays);
  const shown = async (events: readonly EventRecord[]): Promise<FullEnvelope[]> =>
    (await completeEvents(describeCustomers, events)).map(fullEnvelope);

  return async (app) => {
    app.get(
      '/events',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'listEvents',
          tags,
          summary: 'List events',
          description:
            'What happened to payments, refunds, customers and webhook endpoints, in the one order in which it was ' +
            'recorded: whoever goes on from a cursor misses nothing, also of what was committed late. A page that seeks ' +
            'something rare may be shorter than `limit`, or empty: go on while `has_more`.\n\nTo follow what happens, ask in ' +
            'order `asc` again and again with the `next_cursor` of the answer before.',
          querystring: ListEventsQuery,
          response: { 200: listOf(EventAnswer) },
        },
      },
      async (request): Promise<Page<FullEnvelope>> => {
        const { tenantId } = request.caller;
        const { limit, order } = request.query;
        const filter = filterOf(request.query, oldest());
        const range = rangeOf(request.query, await boundsOf(db, tenantId, filter));
        const { events, hasMore, next } = await listEvents(db, tenantId, filter, { range, limit });
        const cursor = hasMore || order === 'asc' ? encodeCursor([order, next.toString()]) : null;
        return { data: await shown(events), has_more: hasMore, next_cursor: cursor };
      },
    );

    app.get(
      '/events/:id',
      {
        config: { requires: 'viewer' },
        schema: {
          operationId: 'getEvent',
          tags,
          summary: 'Get an event',
          description: 'What a webhook of it carries, with personal data as known now.',
          params: idParams('journal_entry', 'event'),
          response: { 200: EventAnswer },
        },
      },
      async ({ caller, params }) => {
        const event = await getEvent(db, { tenantId: caller.tenantId, id: params.id, since: oldest() });
        const [answer] = await shown([event]);
        if (!answer) throw new Error('one event in, none out');
        return answer;
      },
    );
  };
};

type FullEnvelope = Omit<Envelope, 'data'> & { data: Record<string, unknown> };

const fullEnvelope = (event: EventRecord): FullEnvelope =>
  // A full envelope has its data, and the snapshots of all public entries are objects.
  envelopeOf(event, { payload: 'full' }) as FullEnvelope;

const filterOf = ({ type, object, from, before }: ListEventsQuery, oldest: Date): EventFilter => {
  const since = from === undefined ? oldest : parseTime(from, 'from');
  return {
    type,
    objectId: object === undefined ? undefined : anyId(object),
    since: since > oldest ? since : oldest,
    before: before === undefined ? undefined : parseTime(before, 'before'),
  };
};

/** The places to look at: those of the asked time, from the cursor on. @throws AppError 400 for a cursor of the other order */
const rangeOf = (
  { cursor, order }: ListEventsQuery,
  bounds: { first: bigint; end: bigint | undefined },
): Range => {
  const decoded = decodeCursor(cursor, Cursor);
  if (!decoded) return { ...bounds, order };
  const [madeFor, text] = decoded;
  if (madeFor !== order) throw invalidField('cursor', `was given out for the order ${madeFor}`);
  const place = BigInt(text);
  if (order === 'asc') return { ...bounds, first: place > bounds.first ? place : bounds.first, order };
  return { ...bounds, end: bounds.end !== undefined && bounds.end < place ? bounds.end : place, order };
};

// The table has these kinds and no others.
const kinds = Object.keys(idPrefixes) as IdKind[];

/** @throws AppError 400 for an id of no kind of object */
const anyId = (text: string): Id<IdKind> => {
  const kind = kinds.find((each) => isId(each, text));
  if (kind && isId(kind, text)) return text;
  throw invalidField('object', 'must be the id of an object, such as pay_01h455vb4pex5vsknk084sn02q');
};
