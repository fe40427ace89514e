import { completeEvents, type DescribeCustomers } from '../events/complete.ts';
import { envelopeOf, listEventsAt, type EventRecord } from '../events/events.ts';
import { elapsedMs, type Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';

/** An event ready to be sent. Endpoints that want the same get the same bytes. */
export type Body = {
  event: EventRecord;
  /** The JSON of its envelope. @throws Error for an event that can't be rendered */
  bytes(payload: 'full' | 'thin'): Buffer;
  /** Personal data in it, which is to be kept nowhere. */
  personal: readonly string[];
};

type Parts = { db: Db; clock: Clock; describeCustomers: DescribeCustomers };

/** Personal data in a body is never older than this. */
const keptMs = 1_000;
const keptMax = 1_000;

/** Reads events to be sent, and keeps them for a moment: many endpoints may be told the same. */
export const openBodies = ({ db, clock, describeCustomers }: Parts) => {
  const kept = new Map<bigint, { body: Body; atMs: number }>();
  const isFresh = (position: bigint): boolean => {
    const found = kept.get(position);
    return found !== undefined && elapsedMs(clock) - found.atMs <= keptMs;
  };
  return {
    /** Those of these places that there is an event at. */
    read: async (positions: readonly bigint[]): Promise<ReadonlyMap<bigint, Body>> => {
      const wanted = [...new Set(positions)];
      const found = new Map<bigint, Body>();
      for (const position of wanted) {
        const body = isFresh(position) ? kept.get(position)?.body : undefined;
        if (body) found.set(position, body);
      }
      const missing = wanted.filter((position) => !found.has(position));
      if (missing.length === 0) return found;
      const events = await completeEvents(describeCustomers, await listEventsAt(db, missing));
      if (kept.size > keptMax) kept.clear();
      for (const event of events) {
        const body = bodyOf(event);
        found.set(event.position, body);
        kept.set(event.position, { body, atMs: elapsedMs(clock) });
      }
      return found;
    },
  };
};

export type Bodies = ReturnType<typeof openBodies>;

const bodyOf = (event: EventRecord): Body => {
  const made = new Map<'full' | 'thin', Buffer>();
  return {
    event,
    bytes: (payload) => {
      const bytes = made.get(payload) ?? Buffer.from(JSON.stringify(envelopeOf(event, { payload })));
      made.set(payload, bytes);
      return bytes;
    },
    personal: personalIn(event),
  };
};

/** What `completeEvents` adds. */
const personalMembers = ['customer_email', 'customer_name', 'email', 'name', 'phone'];

const personalIn = ({ object, data }: EventRecord): string[] => {
  if (object?.type !== 'payment' && object?.type !== 'customer') return [];
  return Object.entries(data ?? {}).flatMap(([name, value]) =>
    personalMembers.includes(name) && typeof value === 'string' ? [value] : [],
  );
};
