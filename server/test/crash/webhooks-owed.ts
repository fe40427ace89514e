import { sql } from 'kysely';
import { eventTypes } from '../../src/events/catalogue.ts';
import type { Db } from '../../src/lib/database.ts';
import { fromUuid } from '../../src/lib/ids.ts';
import type { Arrival } from './webhooks-receiver.ts';

/** An endpoint, under the path at which the receiver knows it. */
export type Told = {
  path: string;
  tenantId: number;
  events: readonly string[];
  isOrdered: boolean;
  isThin: boolean;
  isEnabled: boolean;
  /** It may be told what has its place from here on: while it was made that was yet to come. */
  fromPosition: bigint;
  /** Where it was made: it has to be told this and everything after. */
  madePosition: bigint;
};

/** What happened, in its place of the journal. */
export type Happened = {
  id: string;
  tenantId: number;
  type: string;
  sequence: number | null;
  position: bigint;
};

/** A row of the queue, with the status of each attempt; null where there was no answer. */
export type Queued = { path: string; event: string; state: string; statuses: readonly (number | null)[] };

export type Books = { endpoints: readonly Told[]; events: readonly Happened[]; queue: readonly Queued[] };

const families = new Set([...eventTypes.map(({ object }) => object), 'reconciliation']);

/** Reads what there is to be told, to whom, and what is said of it; from the journal itself, not by the ways that are tested. */
export const readBooks = async (db: Db): Promise<Books> => {
  const endpoints = await sql<Told>`
    select substring(url from '^https?://[^/]+(/.*)$') as path, w.tenant_id as "tenantId", events, ordered as "isOrdered",
           payload = 'thin' as "isThin", state = 'enabled' as "isEnabled", from_position as "fromPosition",
           p.position as "madePosition"
    from webhooks.endpoints w
    join journal.entries e on e.object_id = w.id and e.kind = 'webhook_endpoint.created'
    join journal.positions p on p.entry_id = e.id
  `.execute(db);
  const events = await sql<Happened>`
    select e.id::text as id, e.tenant_id as "tenantId", e.kind as type, e.object_version as sequence, p.position
    from journal.entries e join journal.positions p on p.entry_id = e.id
    where e.result = 'success' order by p.position
  `.execute(db);
  const queue = await sql<Queued>`
    select substring(w.url from '^https?://[^/]+(/.*)$') as path, d.event, d.state,
           array(
             select a.status from webhooks.attempts a where a.delivery_id = d.id
             union all select d.last_status where d.last_number is not null
           ) as statuses
    from webhooks.deliveries d join webhooks.endpoints w on w.id = d.endpoint_id
  `.execute(db);
  return {
    endpoints: endpoints.rows,
    events: events.rows
      .filter(({ type }) => families.has(type.split('.')[0] ?? ''))
      .map((event) => ({ ...event, id: fromUuid('journal_entry', event.id) })),
    queue: queue.rows,
  };
};

/** The events that each endpoint has to be told, by its path. */
export const owedOf = ({ endpoints, events }: Books): Map<string, Happened[]> =>
  new Map(
    endpoints.map((endpoint) => {
      const { path, madePosition } = endpoint;
      return [path, events.filter((event) => event.position >= madePosition && isFor(endpoint, event))];
    }),
  );

const isFor = ({ tenantId, events, isEnabled, fromPosition }: Told, event: Happened): boolean =>
  isEnabled &&
  event.tenantId === tenantId &&
  event.position >= fromPosition &&
  // The test of an endpoint is told to it alone, and nobody tests any here.
  event.type !== 'webhook_endpoint.tested' &&
  events.some((pattern) => ['*', `${event.type.split('.')[0]}.*`, event.type].includes(pattern));

/** Everything in which what came differs from what was to come, in sentences. */
export const differencesOf = (books: Books, arrivals: readonly Arrival[]): string[] => {
  const byPath = Map.groupBy(arrivals, ({ endpoint }) => endpoint);
  const owed = owedOf(books);
  const queue = Map.groupBy(books.queue, ({ path }) => path);
  const unknown = [...byPath.keys()].filter((path) => !owed.has(path));
  return [
    ...unknown.map((path) => `${path}: something came, and there is no such endpoint`),
    ...books.endpoints.flatMap((endpoint) => {
      const { path } = endpoint;
      const parts = {
        endpoint,
        owed: owed.get(path) ?? [],
        allowed: new Map(
          books.events.filter((event) => isFor(endpoint, event)).map((event) => [event.id, event]),
        ),
        arrivals: byPath.get(path) ?? [],
      };
      const found = [
        ...wrongIn(parts),
        ...lostIn(parts),
        ...disorderIn(parts),
        ...queueFaults(queue.get(path) ?? [], parts),
      ];
      return found.map((fault) => `${path}: ${fault}`);
    }),
  ];
};

type Parts = {
  endpoint: Told;
  owed: readonly Happened[];
  /** What it may be told, by its id. */
  allowed: ReadonlyMap<string, Happened>;
  arrivals: readonly Arrival[];
};

/** Every message by itself: signed, about something that this endpoint is told, and about the same as any other with its id. */
const wrongIn = ({ endpoint, allowed, arrivals }: Parts): string[] => {
  const ids = new Map<string, string>();
  return arrivals.flatMap(({ id, eventId, type, objectId, sequence, hasData, isVerified }) => {
    const event = allowed.get(id);
    const about = sequence === null ? id : `${objectId} ${sequence}`;
    const earlier = ids.get(about) ?? id;
    ids.set(about, earlier);
    return [
      ...(event ? [] : [`${id}, ${type}, is not for this endpoint`]),
      ...(id === eventId ? [] : [`${id} is the webhook-id of ${eventId}`]),
      ...(earlier === id ? [] : [`${earlier} and ${id} are both about ${about}`]),
      ...(event && (event.type !== type || event.sequence !== sequence)
        ? [`${id} says ${type} ${sequence}, not ${event.type} ${event.sequence}`]
        : []),
      ...(hasData === endpoint.isThin ? [`${id} is ${hasData ? 'not ' : ''}thin`] : []),
      ...(isVerified ? [] : [`the signature of ${id} does not verify`]),
    ];
  });
};

const lostIn = ({ owed, arrivals }: Parts): string[] => {
  const came = new Set(arrivals.map(({ id }) => id));
  return owed.filter(({ id }) => !came.has(id)).map(({ id, type }) => `${id}, ${type}, never came`);
};

/** Of each object, the first message of each event: an ordered endpoint sees them in the order in which they happened. */
const disorderIn = ({ endpoint, arrivals }: Parts): string[] => {
  if (!endpoint.isOrdered) return [];
  const seen = new Set<string>();
  const last = new Map<string, number>();
  return arrivals.flatMap(({ id, objectId, sequence }) => {
    if (seen.has(id) || objectId === undefined || sequence === null) return [];
    seen.add(id);
    const before = last.get(objectId) ?? 0;
    last.set(objectId, Math.max(before, sequence));
    return sequence > before ? [] : [`${id} came after number ${before} of ${objectId}, and is ${sequence}`];
  });
};

const isAccepted = (status: number | null): boolean => status !== null && status >= 200 && status < 300;

/** What the queue says: a row for each event, all delivered, and each time that it says so the receiver accepted. */
const queueFaults = (queue: readonly Queued[], { owed, allowed, arrivals }: Parts): string[] => {
  const rows = new Map(queue.map((row) => [row.event, row]));
  const accepted = Map.groupBy(
    arrivals.filter(({ treatment }) => treatment === 'accepted'),
    ({ id }) => id,
  );
  return [
    ...(rows.size === queue.length ? [] : ['the queue has an event twice']),
    ...owed.filter(({ id }) => !rows.has(id)).map(({ id }) => `${id} was never queued`),
    ...queue.filter(({ event }) => !allowed.has(event)).map(({ event }) => `${event} is queued for nothing`),
    ...queue.flatMap(({ event, state, statuses }) => {
      const told = statuses.filter(isAccepted).length;
      const came = accepted.get(event)?.length ?? 0;
      return [
        ...(state === 'delivered' ? [] : [`${event} is ${state} in the end`]),
        // Not the attempts: in a crash of PostgreSQL a claim may be lost and its number be given again.
        ...(state === 'delivered' && came === 0 ? [`${event} is delivered, and was never accepted`] : []),
        ...(state === 'delivered' && told === 0 ? [`${event} is delivered, by no attempt of its own`] : []),
        ...(told > came
          ? [`${event} was accepted ${told} times, says the queue; the receiver: ${came}`]
          : []),
      ];
    }),
  ];
};
