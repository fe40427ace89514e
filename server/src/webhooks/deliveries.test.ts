import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { fromUuid, newId, type Id } from '../lib/ids.ts';
import { describeDelivery, requestReplay, retryDelivery, retryFailed } from './deliveries.ts';
import { deleteEndpoint } from './endpoints.ts';
import { listReplays } from './replay-store.ts';
import { replaySome } from './replay-work.ts';
import { openReceiver, until, worldForTests, type Receiver } from './testing.ts';

const world = worldForTests();

const write = (tenant: number, key?: string) => ({ context: world.contextOf(tenant), key });
const states = async (tenant: number): Promise<string[]> =>
  (await world.deliveries(tenant)).map(({ state }) => state);

/** A tenant with so many dead letters at a receiver that accepts from now on. */
const deadLetters = async (
  receiver: Receiver,
  count: number,
): Promise<{ tenant: number; endpoint: Id<'webhook_endpoint'>; ids: Id<'delivery'>[] }> => {
  receiver.answering = (_, response) =>
    void response.writeHead(500).end('no: ada@example.com 4242424242424242');
  const tenant = await world.tenant();
  const { id: endpoint } = await world.endpoint(tenant, { url: receiver.url });
  for (let made = 0; made < count; made += 1) await world.happen(tenant);
  await world.spread();
  await using _ = world.worker({ settings: { ...world.settings, retryMax: 0 } });
  await until(async () => expect(new Set(await states(tenant))).toEqual(new Set(['failed'])));
  receiver.answering = (_received, response) => void response.end();
  const rows = await world.deliveries(tenant);
  return { tenant, endpoint, ids: rows.map(({ id }) => fromUuid('delivery', id)) };
};

describe('a retry by hand', () => {
  test('sends a dead letter again under the same id, with its first attempts kept', async () => {
    await using receiver = await openReceiver();
    const { tenant, ids } = await deadLetters(receiver, 1);
    const [id = 'del_'] = ids;
    const answer = await retryDelivery(world.db, write(tenant), id);
    expect(answer.entry.snapshot).toMatchObject({ id, status: 'pending', attempts: 1 });
    await using _ = world.worker();
    await until(async () => expect(await states(tenant)).toEqual(['delivered']));
    const [first, second] = receiver.ids();
    expect(second).toBe(first);
    const shown = await describeDelivery(world.db, { tenantId: tenant, id });
    expect(shown.tries).toMatchObject([
      { number: 2, status: 200, error: null },
      { number: 1, status: 500, error: 'the receiver answered 500' },
    ]);
    expect(shown.tries[1]?.response_body).toBe('no: ada@example.com [REDACTED]');
  });

  test('of a delivery of others, or of a deleted endpoint, is refused', async () => {
    await using receiver = await openReceiver();
    const { tenant, endpoint, ids } = await deadLetters(receiver, 1);
    const [id = 'del_'] = ids;
    const other = await world.tenant();
    await expect(retryDelivery(world.db, write(other), id)).rejects.toMatchObject({ code: 'not_found' });
    await deleteEndpoint(world.db, write(tenant), endpoint);
    await expect(retryDelivery(world.db, write(tenant), id)).rejects.toMatchObject({ code: 'invalid_state' });
  });

  test('of all dead letters sends those of one tenant and endpoint, and says how many', async () => {
    await using receiver = await openReceiver();
    const mine = await deadLetters(receiver, 3);
    const other = await deadLetters(receiver, 1);
    const answer = await retryFailed(world.db, write(mine.tenant), mine.endpoint);
    expect(answer.entry.snapshot).toMatchObject({ retried: 3, has_more: false, endpoint_id: mine.endpoint });
    await using _ = world.worker();
    await until(async () => expect(new Set(await states(mine.tenant))).toEqual(new Set(['delivered'])));
    expect(await states(other.tenant)).toEqual(['failed']);
    await expect(retryFailed(world.db, write(mine.tenant), other.endpoint)).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});

describe("the guide's webhook_events", () => {
  test('UPDATE … SET status = pending, retry_count = 0 sends again', async () => {
    await using receiver = await openReceiver();
    const { tenant } = await deadLetters(receiver, 2);
    const [event] = (await world.deliveries(tenant)).map((row) => row.event);
    const { rows } = await sql<Record<string, unknown>>`
      select * from webhook_events where status = 'failed' and id = ${event} order by created_at desc limit 10
    `.execute(world.db);
    expect(rows).toMatchObject([
      { id: event, status: 'failed', retry_count: 0, url: receiver.url, type: 'payment.succeeded' },
    ]);
    expect(rows[0]?.['payload']).toMatchObject({ object: 'payment' });
    const { numAffectedRows } = await sql`
      update webhook_events set status = 'pending', retry_count = 0 where id = ${event}
    `.execute(world.db);
    expect(numAffectedRows).toBe(1n);
    await using _ = world.worker();
    await until(async () => expect((await states(tenant)).toSorted()).toEqual(['delivered', 'failed']));
    expect(receiver.ids().at(-1)).toBe(event);
  });

  test('finds an event by an index, and refuses other changes', async () => {
    await sql`set enable_seqscan = off`.execute(world.db);
    const { rows } = await sql<{ 'QUERY PLAN': string }>`
      explain select * from webhook_events where id = 'evt_01h455vb4pex5vsknk084sn02q'
    `.execute(world.db);
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('deliveries_of_event');
    await using receiver = await openReceiver();
    const { tenant } = await deadLetters(receiver, 1);
    const [row] = await world.deliveries(tenant);
    await expect(
      sql`update webhook_events set status = 'delivered' where id = ${row?.event}`.execute(world.db),
    ).rejects.toThrow(/status can only be set to pending/);
  });
});

describe('a replay', () => {
  const hourMs = 3_600_000;
  const replay = (
    tenant: number,
    id: Id<'webhook_endpoint'>,
    from: string,
    before: string,
    events?: ['payment.succeeded'],
  ) =>
    requestReplay({ db: world.db, retention: { eventsDays: 90 } }, write(tenant), id, {
      from,
      before,
      ...(events && { events }),
    });
  const work = async (): Promise<void> => {
    while ((await replaySome({ ...world, offer: () => undefined }, world.db)) === 'more');
  };

  test('tells again what happened in a range of time, under the ids that it had', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    const before = await world.happen(tenant);
    world.clock.advance(hourMs);
    const from = world.clock.now().toISOString();
    const within = [...(await world.happen(tenant)), ...(await world.happen(tenant))];
    await world.happen(tenant, { type: 'payment.failed' });
    world.clock.advance(hourMs);
    const end = world.clock.now().toISOString();
    await world.happen(tenant);
    world.clock.advance(1_000);
    await world.spread();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    const { entry } = await replay(tenant, id, from, end, ['payment.succeeded']);
    expect(entry.snapshot).toMatchObject({ number: 1, status: 'running', found: 0 });
    await expect(replay(tenant, id, from, end)).rejects.toMatchObject({ code: 'limit_reached' });
    await work();
    await using _ = world.worker();
    await until(() => expect(receiver.ids()).toHaveLength(2));
    expect(receiver.ids()).toEqual(within);
    expect(receiver.ids()).not.toContain(before[0]);
    expect(
      await listReplays(world.db, { tenantId: tenant, endpointId: id }, { before: undefined, limit: 5 }),
    ).toMatchObject([{ number: 1, state: 'done', found: 2 }]);
    await replay(tenant, id, from, end);
    await work();
    await until(() => expect(receiver.ids()).toHaveLength(5));
  });

  test('of more than is kept, or of a range that is none, is refused with what to change', async () => {
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: 'http://127.0.0.1:18999/hook' });
    const now = world.clock.now().toISOString();
    await expect(replay(tenant, id, '2025-01-16T12:00:00Z', now)).rejects.toThrow(
      /from: events are kept for 90 days: the earliest time is \d{4}-/,
    );
    await expect(replay(tenant, id, now, now)).rejects.toThrow(/from: must be earlier/);
    const other = await world.tenant();
    await expect(
      replay(other, id, new Date(world.clock.now().getTime() - hourMs).toISOString(), now),
    ).rejects.toMatchObject({ code: 'not_found' });
  });

  test('goes on only as fast as it is sent, and ends when its endpoint is deleted', async () => {
    const tenant = await world.tenant();
    const from = world.clock.now().toISOString();
    const versions = Array.from({ length: 600 }, (_, index) => index + 1);
    await world.happen(tenant, { id: newId('payment'), versions });
    world.clock.advance(hourMs);
    await world.spread();
    const { id } = await world.endpoint(tenant, { url: 'http://127.0.0.1:18999/hook' });
    for (const count of [500, 600]) {
      if (count === 500) await replay(tenant, id, from, world.clock.now().toISOString());
      await replaySome({ ...world, offer: () => undefined }, world.db);
      expect(await world.deliveries(tenant)).toHaveLength(count);
    }
    await replay(tenant, id, from, world.clock.now().toISOString());
    await replaySome({ ...world, offer: () => undefined }, world.db);
    expect(await world.deliveries(tenant)).toHaveLength(1_100);
    expect(await replaySome({ ...world, offer: () => undefined }, world.db)).toBe('idle');
    expect(await world.deliveries(tenant)).toHaveLength(1_100);
    await deleteEndpoint(world.db, write(tenant), id);
    await work();
    const replays = await listReplays(
      world.db,
      { tenantId: tenant, endpointId: id },
      { before: undefined, limit: 5 },
    );
    expect(replays).toMatchObject([{ state: 'canceled' }, { state: 'done' }]);
  });
});
