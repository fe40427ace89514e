import type { JsonObject } from '../lib/canonical.ts';
import { isId, type Id } from '../lib/ids.ts';
import type { EventRecord } from './events.ts';

type Person = { email: string; name: string | null; phone: string | null };

/** Who these customers are now; null for one that was erased. */
export type DescribeCustomers = (
  tenantId: number,
  ids: readonly Id<'customer'>[],
) => Promise<ReadonlyMap<Id<'customer'>, Person | null>>;

/**
 * Fills in who paid, as answers of the API have it: events are stored with ids alone, so what is sent knows whom to name
 * and whom no longer. Tenants are asked for one after the other, each with all its customers at once.
 */
export const completeEvents = async (
  describeCustomers: DescribeCustomers,
  events: readonly EventRecord[],
): Promise<EventRecord[]> => {
  const wanted = new Map<number, Set<Id<'customer'>>>();
  for (const event of events) {
    const id = customerOf(event);
    if (id) wanted.set(event.tenantId, (wanted.get(event.tenantId) ?? new Set()).add(id));
  }
  const people = new Map<Id<'customer'>, Person | null>();
  for (const [tenantId, ids] of wanted) {
    for (const [id, person] of await describeCustomers(tenantId, [...ids])) people.set(id, person);
  }
  return events.map((event) => completed(event, people));
};

/** Whose personal data belongs to an event. */
const customerOf = (event: EventRecord): Id<'customer'> | undefined => {
  const id = event.object?.type === 'customer' ? event.object.id : dataOf(event)['customer_id'];
  return typeof id === 'string' && isId('customer', id) ? id : undefined;
};

const completed = (event: EventRecord, people: ReadonlyMap<Id<'customer'>, Person | null>): EventRecord => {
  const id = customerOf(event);
  const person = (id && people.get(id)) ?? null;
  const [email, name] = [person?.email ?? null, person?.name ?? null];
  switch (event.object?.type) {
    case 'payment':
      // That a backend contradicts our books is about a payment too, and carries none.
      if (!event.type.startsWith('payment.')) return event;
      return { ...event, data: { ...dataOf(event), customer_email: email, customer_name: name } };
    case 'customer':
      return { ...event, data: { ...dataOf(event), email, name, phone: person?.phone ?? null } };
    default:
      return event;
  }
};

/** What an event carries, which is always an object: the snapshot of what changed. */
const dataOf = ({ data }: EventRecord): JsonObject => data as JsonObject;
