import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sealAll } from '../journal/testing.ts';
import { makeEntry } from '../journal/entry.ts';
import { appendEntries } from '../journal/journal.ts';
import { inTransaction } from '../lib/database.ts';
import { newId } from '../lib/ids.ts';
import { openCustomerKeys } from '../customers/keys.ts';
import { describeCustomers } from '../customers/customers.ts';
import { manualClock } from '../lib/clock.ts';
import { Secret } from '../lib/secret.ts';
import { testServer } from '../lib/http/testing.ts';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { completeEvents } from './complete.ts';
import { envelopeOf, listEventsAt } from './events.ts';
import { eventRoutes } from './routes.ts';

const clock = manualClock('2026-11-22T08:00:00Z');
const keys = openCustomerKeys({ masterKey: new Secret(Buffer.alloc(32, 7).toString('base64')) }, { clock });
const dayMs = 86_400_000;

let database: TestDatabase;
let server: Awaited<ReturnType<typeof testServer>>;
let tenantId = 0;

beforeAll(async () => {
  database = await testDatabase();
  server = await testServer(async (app) => {
    app.addHook('onRequest', async (request) => {
      request.caller = {
        kind: 'vendor',
        actor: 'client:test',
        role: 'viewer',
        tenantId: Number(request.headers['x-tenant']),
        vendorId: undefined,
        mode: 'test',
      };
    });
    const describe = (tenant: number, ids: Parameters<typeof describeCustomers>[3]) =>
      describeCustomers(database.db, keys, tenant, ids);
    const routes = eventRoutes({
      db: database.db,
      clock,
      retention: { eventsDays: 90 },
      describeCustomers: describe,
    });
    await app.register(routes, { prefix: '/api/v1' });
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** A tenant of its own for every test. */
beforeEach(async () => {
  const { rows } = await sql<{ id: number }>`
    with vendor as (
      insert into vendors.vendors (id, slug, name, fee_basis_points, fee_fixed, idempotency_required, overdraft_allowed,
                                   enabled, version, created_at, updated_at)
      values (gen_random_uuid(), 'v' || substr(gen_random_uuid()::text, 1, 8), 'V', 0, '{}', false, false, true, 1, now(), now())
      returning id
    ) insert into vendors.tenants (vendor_id, mode) select id, 'test' from vendor returning id
  `.execute(database.superuser);
  tenantId = rows[0]?.id ?? 0;
});

const context = (now = clock.now(), tenant = tenantId) => ({
  tenantId: tenant,
  actor: 'system:test',
  origin: undefined,
  requestId: undefined,
  now,
});

const entryOf = (
  kind: string,
  { now = clock.now(), tenant = tenantId, id = newId('payment'), version = 1 } = {},
) =>
  makeEntry(context(now, tenant), {
    kind,
    object: { type: 'payment', id, version },
    snapshot: { id, object: 'payment', customer_id: null, version },
  });

type Entry = ReturnType<typeof entryOf>;
const write = async (...entries: Entry[]): Promise<void> => {
  // One after the other, so that their order is known.
  for (const entry of entries) await appendEntries(database.db, [entry]);
  await sealAll(database);
};

type Event = { id: string; type: string; sequence: number | null };
type Listed = { status: number; data: Event[]; has_more: boolean; next_cursor: string | null; code?: string };
const list = async (query: Record<string, string> = {}): Promise<Listed> => {
  const answer = await fetch(`${server.url}/api/v1/events?${new URLSearchParams(query)}`, {
    headers: { 'x-tenant': String(tenantId) },
  });
  return { ...((await answer.json()) as Listed), status: answer.status };
};
const idsOf = ({ data }: Listed): string[] => data.map(({ id }) => id);
const idsIn = (entries: readonly Entry[]): string[] => entries.map(({ id }) => id);
/** Every page of a list. */
const all = async (query: Record<string, string>): Promise<{ ids: string[]; pages: number }> => {
  const ids: string[] = [];
  let cursor: string | null = null;
  for (let pages = 1; pages < 100; pages += 1) {
    const page: Listed = await list({ ...query, ...(cursor !== null && { cursor }) });
    ids.push(...idsOf(page));
    if (!page.has_more) return { ids, pages };
    cursor = page.next_cursor;
  }
  throw new Error('the list never ends');
};

describe('GET /events', () => {
  test('shows the newest first, page by page, each event once; `asc` the oldest', async () => {
    const entries = Array.from({ length: 7 }, (_, at) => entryOf('payment.succeeded', { version: at + 1 }));
    await write(...entries);
    expect(await all({ limit: '3' })).toEqual({ ids: idsIn(entries).toReversed(), pages: 3 });
    expect(await all({ limit: '3', order: 'asc' })).toEqual({ ids: idsIn(entries), pages: 3 });
  });

  test('in order `asc` the cursor is always given, and goes on with what happens after', async () => {
    const { next_cursor: first, ...nothing } = await list({ order: 'asc' });
    let cursor = first;
    expect(nothing).toMatchObject({ status: 200, data: [], has_more: false });
    const seen: string[] = [];
    const written: Entry[] = [];
    for (let round = 0; round < 4; round += 1) {
      const entries = Array.from({ length: round }, () => entryOf('payment.succeeded'));
      await write(...entries);
      written.push(...entries);
      const page = await list({ order: 'asc', cursor: cursor ?? '' });
      seen.push(...idsOf(page));
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(idsIn(written));
    expect((await list({ order: 'desc' })).next_cursor).toBeNull();
  });

  test('what is committed late comes late, and whoever follows misses nothing', async () => {
    const [early, late, last] = [
      entryOf('payment.succeeded'),
      entryOf('payment.failed'),
      entryOf('payment.refunded'),
    ];
    let follow = '';
    const poll = async (): Promise<string[]> => {
      const page = await list({ order: 'asc', ...(follow && { cursor: follow }) });
      follow = page.next_cursor ?? '';
      return idsOf(page);
    };
    await inTransaction(database.db, async (open) => {
      // Its id and its time are those of the first, its commit is the second.
      await appendEntries(open, [early]);
      await write(late);
      expect(await poll()).toEqual([late.id]);
    });
    await write(last);
    expect(await poll()).toEqual([early.id, last.id]);
    // Also who comes later and reads in small pages: what stands before on a page is not what has the lower id.
    const inPlace = [late.id, early.id, last.id];
    expect(await all({ order: 'asc', limit: '1' })).toEqual({ ids: inPlace, pages: 3 });
  });

  test('filters by type, by family, by object and by time; they narrow together', async () => {
    const hour = (at: number) => new Date(clock.now().getTime() - at * 3_600_000);
    const id = newId('payment');
    const entries = [
      entryOf('payment.processing', { now: hour(30), id, version: 1 }),
      entryOf('refund.succeeded', { now: hour(20) }),
      entryOf('payment.succeeded', { now: hour(10), id, version: 2 }),
      entryOf('payment.succeeded', { now: hour(1) }),
    ];
    await write(...entries);
    const [first, second, third, fourth] = idsIn(entries).map((each) => each);
    const asks: [query: Record<string, string>, ids: (string | undefined)[]][] = [
      [{ type: 'payment.succeeded' }, [fourth, third]],
      [{ type: 'payment.*' }, [fourth, third, first]],
      [{ type: 'refund.*' }, [second]],
      [{ type: 'customer.*' }, []],
      [{ type: '*' }, [fourth, third, second, first]],
      [{ object: id }, [third, first]],
      [{ object: id, order: 'asc' }, [first, third]],
      [{ object: id, type: 'payment.processing' }, [first]],
      [{ object: newId('payment') }, []],
      [{ from: hour(20).toISOString() }, [fourth, third, second]],
      [{ before: hour(20).toISOString() }, [first]],
      [{ from: hour(29).toISOString(), before: hour(9).toISOString() }, [third, second]],
      [{ from: hour(29).toISOString(), object: id }, [third]],
      [{ before: hour(100).toISOString() }, []],
    ];
    for (const [query, ids] of asks) {
      expect([query, (await all({ ...query, limit: '1' })).ids]).toEqual([query, ids]);
      expect([query, idsOf(await list(query))]).toEqual([query, ids]);
    }
  });

  test('something rare among very many is found, though no page looks at more than it may', async () => {
    const rare = entryOf('payment.canceled');
    await write(rare);
    await appendEntries(
      database.db,
      Array.from({ length: 4_500 }, () => entryOf('payment.succeeded')),
    );
    await sealAll(database);
    for (const order of ['asc', 'desc']) {
      const { ids, pages } = await all({ type: 'payment.canceled', order });
      expect([order, ids, pages]).toEqual([order, [rare.id], 3]);
    }
  });

  test('entries that are no events are not shown: refusals, keys, secrets that were shown', async () => {
    const id = newId('api_key');
    const change = { object: { type: 'api_key', id, version: 1 }, snapshot: {} };
    await write(
      makeEntry(context(), { ...change, kind: 'api_key.created' }),
      makeEntry(context(), { kind: 'payment.refused', result: 'refused', snapshot: {} }),
      makeEntry(context(), { kind: 'webhook_secret.shown', snapshot: {} }),
      makeEntry(context(), { kind: 'access.denied', result: 'refused', snapshot: {} }),
    );
    expect(await all({})).toEqual({ ids: [], pages: 1 });
  });

  test('is hidden once it is older than `retention.events_days`; its entry stays', async () => {
    const old = entryOf('payment.succeeded', { now: new Date(clock.now().getTime() - 90 * dayMs - 1) });
    const young = entryOf('payment.succeeded', { now: new Date(clock.now().getTime() - 90 * dayMs) });
    await write(old, young);
    for (const order of ['asc', 'desc']) expect((await all({ order })).ids).toEqual([young.id]);
    expect((await all({ from: '2020-01-01T00:00:00Z' })).ids).toEqual([young.id]);
    expect(await get(old.id)).toMatchObject({ status: 404 });
    expect(await get(young.id)).toMatchObject({ status: 200 });
    const { rows } = await sql`select from journal.entries where tenant_id = ${tenantId}`.execute(
      database.db,
    );
    expect(rows).toHaveLength(2);
  });

  test('refuses what is no type, no object, no cursor of this order, naming the field', async () => {
    await write(entryOf('payment.succeeded'));
    const { next_cursor: cursor } = await list({ order: 'asc' });
    const wrong: [field: string, query: Record<string, string>][] = [
      ['type', { type: 'payment.exploded' }],
      ['type', { type: 'pay*' }],
      ['type', { type: '' }],
      ['object', { object: 'pay_1' }],
      ['object', { object: `xyz_${'0'.repeat(26)}` }],
      ['from', { from: 'yesterday' }],
      ['order', { order: 'random' }],
      ['cursor', { cursor: cursor ?? '' }],
      ['cursor', { cursor: Buffer.from('["asc","-1"]').toString('base64url'), order: 'asc' }],
      ['cursor', { cursor: Buffer.from(`["asc","${'9'.repeat(19)}"]`).toString('base64url'), order: 'asc' }],
    ];
    for (const [field, query] of wrong)
      expect(await list(query)).toMatchObject({ status: 400, errors: [{ field }] });
    const far = Buffer.from(`["asc","${'9'.repeat(18)}"]`).toString('base64url');
    expect(await list({ cursor: far, order: 'asc' })).toMatchObject({ status: 200, data: [] });
  });
});

const get = async (
  id: string,
  tenant = tenantId,
): Promise<{ status: number; body: Record<string, unknown> }> => {
  const answer = await fetch(`${server.url}/api/v1/events/${id}`, {
    headers: { 'x-tenant': String(tenant) },
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

describe('GET /events/:id', () => {
  test('is the envelope, as it is sent', async () => {
    const entry = entryOf('payment.succeeded', { version: 3 });
    await write(entry);
    const { status, body } = await get(entry.id);
    expect([status, body]).toEqual([
      200,
      {
        id: entry.id,
        type: 'payment.succeeded',
        created_at: '2026-11-22T08:00:00.000Z',
        sequence: 3,
        mode: 'test',
        object: { type: 'payment', id: entry.object?.id },
        data: {
          ...(entry.snapshot as object),
          customer_email: null,
          customer_name: null,
        },
      },
    ]);
  });

  test('of another tenant, of no tenant, or of an entry that is no event is 404', async () => {
    const entry = entryOf('payment.succeeded');
    const noEvent = makeEntry(context(), { kind: 'api_key.created', snapshot: {} });
    await write(entry, noEvent);
    for (const [id, tenant] of [
      [entry.id, tenantId + 1_000],
      [noEvent.id, tenantId],
      [newId('journal_entry'), tenantId],
    ] as const) {
      expect(await get(id, tenant)).toMatchObject({ status: 404, body: { detail: 'No such event.' } });
    }
  });
});

describe('what is sent', () => {
  test('a thin envelope has no data, and events are read by their positions', async () => {
    const entry = entryOf('payment.succeeded');
    const noEvent = makeEntry(context(), { kind: 'api_key.created', snapshot: {} });
    await write(entry, noEvent);
    const { rows } = await sql<{ position: bigint }>`
      select position from journal.positions where tenant_id = ${tenantId} order by position
    `.execute(database.db);
    const events = await listEventsAt(database.db, [...rows.map(({ position }) => position), 10n ** 12n]);
    expect(events.map(({ id, position }) => ({ id, position }))).toEqual([
      { id: entry.id, position: rows[0]?.position },
    ]);
    const [event] = events;
    if (!event) throw new Error('the event is missing');
    expect(Object.keys(envelopeOf(event, { payload: 'thin' }))).toEqual([
      'id',
      'type',
      'created_at',
      'sequence',
      'mode',
      'object',
    ]);
    expect(envelopeOf(event, { payload: 'full' }).data).toEqual(entry.snapshot);
    expect(await listEventsAt(database.db, [])).toEqual([]);
  });

  test('customers are asked for once a tenant, and each event names its own', async () => {
    const [ada, bob] = [newId('customer'), newId('customer')];
    const eventWith = (
      tenant: number,
      type: string,
      id: typeof ada | ReturnType<typeof newId<'payment'>>,
      data: object,
    ) => ({
      position: 1n,
      tenantId: tenant,
      id: newId('journal_entry'),
      type: `${type}.x`,
      mode: 'test' as const,
      object: { type, id },
      sequence: 1,
      data: { ...data },
      createdAt: clock.now(),
    });
    const asked: [number, number][] = [];
    const completed = await completeEvents(
      async (tenant, ids) => {
        asked.push([tenant, ids.length]);
        const person = { email: 'ada@example.com', name: 'Ada', phone: '+49 30 1' };
        return new Map(ids.map((id) => [id, id === ada ? person : null]));
      },
      [
        eventWith(1, 'payment', newId('payment'), { customer_id: ada }),
        eventWith(1, 'payment', newId('payment'), { customer_id: ada }),
        eventWith(1, 'customer', ada, { id: ada }),
        eventWith(2, 'customer', bob, { id: bob }),
        eventWith(2, 'payment', newId('payment'), { customer_id: null }),
        eventWith(3, 'refund', newId('payment'), { reason: 'r' }),
      ],
    );
    expect(asked).toEqual([
      [1, 1],
      [2, 1],
    ]);
    const of = { customer_email: 'ada@example.com', customer_name: 'Ada' };
    expect(completed.map(({ data }) => data)).toEqual([
      { customer_id: ada, ...of },
      { customer_id: ada, ...of },
      { id: ada, email: 'ada@example.com', name: 'Ada', phone: '+49 30 1' },
      { id: bob, email: null, name: null, phone: null },
      { customer_id: null, customer_email: null, customer_name: null },
      { reason: 'r' },
    ]);
  });
});
