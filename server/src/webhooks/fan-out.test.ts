import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { newId } from '../lib/ids.ts';
import { createWake } from '../lib/wake.ts';
import {
  deleteEndpoint,
  disableEndpointOnRequest,
  enableEndpoint,
  testEndpoint,
  updateEndpoint,
} from './endpoints.ts';
import { fanOut, fanOutJob, type Offer } from './fan-out.ts';
import { takeNextEvents } from './queue-store.ts';
import { openReceiver, until, worldForTests } from './testing.ts';

const world = worldForTests();

const url = 'http://127.0.0.1:18999/hook';
const write = (tenant: number) => ({ context: world.contextOf(tenant), key: undefined });
const eventsTo = async (tenant: number): Promise<string[]> =>
  (await world.deliveries(tenant)).map(({ event }) => event);

describe('an event', () => {
  test('becomes one delivery for each endpoint of its tenant whose patterns fit', async () => {
    const [tenant, other] = [await world.tenant(), await world.tenant()];
    const { id: all } = await world.endpoint(tenant, { url, events: ['*'] });
    const { id: family } = await world.endpoint(tenant, { url, events: ['refund.*', 'payment.*'] });
    const { id: exact } = await world.endpoint(tenant, { url, events: ['payment.failed'] });
    await world.endpoint(tenant, { url, events: ['refund.*'] });
    await world.endpoint(other, { url, events: ['*'] });
    const [succeeded] = await world.happen(tenant);
    const [failed] = await world.happen(tenant, { type: 'payment.failed' });
    await world.spread();
    const { rows } = await sql<{ event: string; endpoint: string }>`
      select event, endpoint_id::text as endpoint from webhooks.deliveries
      where tenant_id = ${tenant} and event_type like 'payment.%'
    `.execute(world.db);
    const of = (event: string | undefined): number => rows.filter((row) => row.event === event).length;
    expect([of(succeeded), of(failed)]).toEqual([2, 3]);
    expect(new Set([all, family, exact]).size).toBe(3);
    expect(await eventsTo(other)).not.toContain(succeeded);
  });

  test('is looked at once', async () => {
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url });
    await world.happen(tenant);
    await world.spread();
    const next = await world.db.transaction().execute((tx) => takeNextEvents(tx, 1_000));
    expect(next.matches).toEqual([]);
    expect(next.first).toBe(next.end);
  });

  test('of before an endpoint was made, or while it was disabled, is not its own', async () => {
    const tenant = await world.tenant();
    await world.happen(tenant);
    await world.spread();
    const { id } = await world.endpoint(tenant, { url });
    const [first] = await world.happen(tenant);
    await world.spread();
    await disableEndpointOnRequest(world.db, write(tenant), id);
    await world.happen(tenant);
    await world.spread();
    await enableEndpoint(world.db, write(tenant), id);
    const [last] = await world.happen(tenant);
    await world.spread();
    expect(await eventsTo(tenant)).toEqual([first, last]);
  });

  test('of before an endpoint was made is not its own, even if it gets its turn later', async () => {
    const tenant = await world.tenant();
    await world.happen(tenant);
    const spread = world.spread();
    await spread;
    await world.endpoint(tenant, { url });
    await sql`update webhooks.progress set position = 0`.execute(world.database.superuser);
    await world.spread();
    expect(await eventsTo(tenant)).toEqual([]);
  });

  test('that is a test goes to the endpoint that is tested, and to no other one', async () => {
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url, events: ['refund.*'] });
    await world.endpoint(tenant, { url, events: ['*'] });
    await world.spread();
    const before = (await world.deliveries(tenant)).length;
    const { entry } = await testEndpoint(world.db, write(tenant), id);
    await world.spread();
    const [delivery, ...others] = (await world.deliveries(tenant)).slice(before);
    expect(delivery).toMatchObject({ event: entry.id });
    expect(others).toEqual([]);
  });

  test('becomes no second delivery when how far it came is lost', async () => {
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url });
    const events = [...(await world.happen(tenant)), ...(await world.happen(tenant))];
    await world.spread();
    await sql`update webhooks.progress set position = 0`.execute(world.database.superuser);
    await world.spread();
    expect(await eventsTo(tenant)).toEqual(events);
  });
});

describe('for an ordered endpoint', () => {
  test('the later events of an object wait for the earlier ones, however they are told of', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url, ordered: true });
    const id = newId('payment');
    await world.happen(tenant, { id, versions: [1, 2] });
    await world.spread();
    await world.happen(tenant, { id, versions: [3] });
    await world.spread();
    expect((await world.deliveries(tenant)).map(({ waiting }) => waiting)).toEqual([false, true, true]);
    await using _ = world.worker();
    await until(() => expect(receiver.received.map(({ event }) => event['sequence'])).toEqual([1, 2, 3]));
  });

  test('a failing object blocks only itself', async () => {
    const bad = newId('payment');
    await using receiver = await openReceiver(({ event }, response) => {
      const { id } = event['object'] as { id: string };
      response.writeHead(id === bad ? 500 : 200).end();
    });
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url, ordered: true });
    await world.happen(tenant, { id: bad, versions: [1, 2] });
    await world.happen(tenant, { versions: [1, 2, 3] });
    await world.spread();
    await using _ = world.worker();
    await until(async () =>
      expect((await world.deliveries(tenant)).map(({ state }) => state)).toEqual([
        'pending',
        'pending',
        'delivered',
        'delivered',
        'delivered',
      ]),
    );
    expect(receiver.received.map(({ event }) => event['sequence'])).toEqual(
      expect.arrayContaining([1, 1, 2, 3]),
    );
    receiver.answering = (_, response) => void response.end();
    world.clock.advance(6_000);
    await until(async () =>
      expect((await world.deliveries(tenant)).every(({ state }) => state === 'delivered')).toBe(true),
    );
  });

  test('what follows a dead letter goes on', async () => {
    await using receiver = await openReceiver(({ event }, response) => {
      response.writeHead(event['sequence'] === 1 ? 500 : 200).end();
    });
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url, ordered: true });
    await world.happen(tenant, { versions: [1, 2] });
    await world.spread();
    await using _ = world.worker({ settings: { ...world.settings, retryMax: 0 } });
    await until(async () =>
      expect((await world.deliveries(tenant)).map(({ state }) => state)).toEqual(['failed', 'delivered']),
    );
  });

  test('a change of its settings strands nothing', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url, ordered: true });
    await world.happen(tenant, { versions: [1, 2, 3] });
    await world.spread();
    await updateEndpoint(world, write(tenant), id, { ordered: false });
    await using _ = world.worker();
    await until(() => expect(receiver.received).toHaveLength(3));
  });

  test('events queued while their object is being settled do not wait for ever', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url, ordered: true });
    const id = newId('payment');
    await using _ = world.worker();
    for (let version = 1; version <= 30; version += 1) {
      await world.happen(tenant, { id, versions: [version] });
      await world.spread();
    }
    await until(() =>
      expect(receiver.received.map(({ event }) => event['sequence'])).toEqual(
        Array.from({ length: 30 }, (_, index) => index + 1),
      ),
    );
  });
});

test('one worker at a time makes deliveries, and another one takes over when it stops', async () => {
  const tenant = await world.tenant();
  await world.endpoint(tenant, { url });
  const offered: Offer[][] = [[], []];
  const start = (worker: number) => {
    const stopping = new AbortController();
    const job = fanOutJob({
      ...world,
      connection: world.database.connection,
      sealed: createWake(),
      offer: (offers) => void offered[worker]?.push(...offers),
    });
    const ended = job.run(stopping.signal);
    return { stop: () => (stopping.abort(), ended) };
  };
  const first = start(0);
  await world.happen(tenant);
  await until(() => expect(offered[0]).toHaveLength(1));
  const second = start(1);
  await world.happen(tenant);
  await until(() => expect(offered[0]).toHaveLength(2));
  expect(offered[1]).toEqual([]);
  await first.stop();
  await world.happen(tenant);
  await until(() => expect(offered[1]).toHaveLength(1));
  await second.stop();
  expect(await world.deliveries(tenant)).toHaveLength(3);
});

test('an endpoint that is deleted is told nothing more', async () => {
  const tenant = await world.tenant();
  const { id } = await world.endpoint(tenant, { url });
  await deleteEndpoint(world.db, write(tenant), id);
  await world.happen(tenant);
  await world.spread();
  expect(await eventsTo(tenant)).toEqual([]);
});

test('a long journal is worked through step by step', async () => {
  const tenant = await world.tenant();
  await world.endpoint(tenant, { url });
  await world.happen(tenant, { versions: Array.from({ length: 40 }, (_, index) => index + 1) });
  await world.spread();
  await sql`update webhooks.progress set position = 0`.execute(world.database.superuser);
  const offered: Offer[] = [];
  expect(await fanOut({ ...world, offer: (offers) => void offered.push(...offers) }, world.db)).toBe('idle');
  expect(new Set(offered.map(({ endpointId }) => endpointId)).size).toBe(offered.length);
  expect(await eventsTo(tenant)).toHaveLength(40);
});
