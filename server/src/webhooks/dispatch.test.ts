import { describe, expect, test } from 'vitest';
import { Webhook } from 'standardwebhooks';
import { sql } from 'kysely';
import { fromUuid, newId, toUuid } from '../lib/ids.ts';
import { describeDelivery } from './deliveries.ts';
import { deleteEndpoint } from './endpoints.ts';
import { claim, queueStart } from './queue-store.ts';
import { openReceiver, until, worldForTests } from './testing.ts';

const world = worldForTests();

const states = async (tenant: number): Promise<string[]> =>
  (await world.deliveries(tenant)).map(({ state }) => state);

describe('a delivery', () => {
  test('reaches its receiver signed, and its attempt is kept without the signature', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    const { secret } = await world.endpoint(tenant, { url: receiver.url });
    const [event] = await world.happen(tenant);
    await world.spread();
    await using _ = world.worker();
    await until(async () => expect(await states(tenant)).toEqual(['delivered']));
    const [got] = receiver.received;
    expect(got?.event).toMatchObject({ id: event, type: 'payment.succeeded', sequence: 1, mode: 'test' });
    expect(got?.headers).toMatchObject({ 'webhook-id': event, 'content-type': 'application/json' });
    expect(got?.headers['user-agent']).toMatch(/^Florin-Webhooks\/\d/);
    const signature = new Webhook(secret.reveal()).sign(String(event), world.clock.now(), got?.body ?? '');
    expect(got?.headers['webhook-signature']).toBe(signature);
    const [delivery] = await world.deliveries(tenant);
    const id = fromUuid('delivery', delivery?.id ?? '');
    const { tries } = await describeDelivery(world.db, { tenantId: tenant, id });
    expect(tries).toMatchObject([
      { number: 1, status: 200, error: null, response_body: 'thanks', at: world.clock.now().toISOString() },
    ]);
    expect(tries[0]?.request_headers).toEqual({
      'content-type': got?.headers['content-type'],
      'user-agent': got?.headers['user-agent'],
      'webhook-id': got?.headers['webhook-id'],
      'webhook-timestamp': got?.headers['webhook-timestamp'],
    });
  });

  test('is not delivered before its receiver said 2xx', async () => {
    const held = Promise.withResolvers<void>();
    await using receiver = await openReceiver(
      (_, response) => void held.promise.then(() => response.writeHead(204).end()),
    );
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    await using _ = world.worker();
    await until(() => expect(receiver.received).toHaveLength(1));
    expect(await world.deliveries(tenant)).toMatchObject([{ state: 'pending', attempts: 1 }]);
    held.resolve();
    await until(async () => expect(await states(tenant)).toEqual(['delivered']));
  });

  test.each([301, 302, 400, 404, 429, 500, 503])('answered with %i is tried again', async (status) => {
    await using receiver = await openReceiver(
      (_, response) => void response.writeHead(status, { location: receiver.url }).end(),
    );
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    const [event] = await world.happen(tenant);
    await world.spread();
    await using _ = world.worker();
    await until(async () =>
      expect(await world.deliveries(tenant)).toMatchObject([
        { state: 'pending', attempts: 1, last_status: status, leased_until: null },
      ]),
    );
    receiver.answering = (_, response) => void response.end();
    world.clock.advance(6_000);
    await until(async () => expect(await states(tenant)).toEqual(['delivered']));
    expect(receiver.ids()).toEqual([event, event]);
  });

  test('whose receiver says when to come back is not tried before', async () => {
    await using receiver = await openReceiver(
      (_, response) => void response.writeHead(503, { 'retry-after': '120' }).end(),
    );
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    const before = world.clock.now().getTime();
    await using _ = world.worker();
    await until(async () =>
      expect((await world.deliveries(tenant))[0]?.due_at.getTime()).toBe(before + 120_000),
    );
  });

  test('is a dead letter after the last retry, with its error', async () => {
    await using receiver = await openReceiver((_, response) => void response.writeHead(500).end());
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    await using _ = world.worker({ settings: { ...world.settings, retryMax: 2 } });
    for (const count of [1, 2, 3]) {
      await until(() => expect(receiver.received).toHaveLength(count));
      await until(async () => expect((await world.deliveries(tenant))[0]?.leased_until).toBeNull());
      world.clock.advance(60_000);
    }
    expect(await world.deliveries(tenant)).toMatchObject([
      { state: 'failed', attempts: 3, last_error: 'the receiver answered 500' },
    ]);
  });

  test('that can not be rendered is set aside with its error, and the others are sent', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    await sql`
      insert into webhooks.deliveries (tenant_id, id, endpoint_id, event, event_type, position, state, ordered, waiting,
                                       due_at, created_at)
      values (${tenant}, ${toUuid(newId('delivery'))}, ${toUuid(id)}, ${newId('journal_entry')}, 'payment.succeeded',
              999999999, 'pending', false, false, ${world.clock.now()}, ${world.clock.now()})
    `.execute(world.db);
    await using _ = world.worker();
    await until(async () => expect(await states(tenant)).toEqual(['delivered', 'failed']));
    expect((await world.deliveries(tenant))[1]).toMatchObject({
      last_error: 'it could not be sent: its event is missing',
    });
  });

  test('of an endpoint that is deleted is discarded, also one that is under way', async () => {
    const held = Promise.withResolvers<void>();
    await using receiver = await openReceiver(
      (_, response) => void held.promise.then(() => response.writeHead(500).end()),
    );
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    for (let count = 0; count < 5; count += 1) await world.happen(tenant);
    await world.spread();
    await using _ = world.worker();
    await until(() => expect(receiver.received.length).toBeGreaterThan(0));
    await deleteEndpoint(world.db, { context: world.contextOf(tenant), key: undefined }, id);
    held.resolve();
    await until(async () => expect(new Set(await states(tenant))).toEqual(new Set(['discarded'])));
    const count = receiver.received.length;
    world.clock.advance(60_000);
    await until(async () => expect(await states(tenant)).toHaveLength(5));
    expect(receiver.received).toHaveLength(count);
  });
});

describe('workers', () => {
  test('side by side send every attempt once', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    for (let count = 0; count < 200; count += 1) await world.happen(tenant);
    await world.spread();
    await using first = world.worker();
    await using second = world.worker();
    await using third = world.worker();
    await until(async () => expect(new Set(await states(tenant))).toEqual(new Set(['delivered'])));
    expect(receiver.received).toHaveLength(200);
    expect(new Set(receiver.ids()).size).toBe(200);
    expect([first, second, third]).toHaveLength(3);
  });

  test('take over what a killed one had claimed when its lease ends, and not before', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    const [event] = await world.happen(tenant);
    await world.spread();
    const now = world.clock.now();
    const leasedUntil = new Date(now.getTime() + 5_500);
    const claims = await claim(world.db, [{ endpointId: id, count: 5, after: queueStart }], {
      now,
      leasedUntil,
    });
    expect(claims).toMatchObject([{ endpointId: id, attempts: 1, number: 1 }]);
    await using _ = world.worker();
    world.clock.advance(5_400);
    expect(
      await claim(world.db, [{ endpointId: id, count: 5, after: queueStart }], {
        now: world.clock.now(),
        leasedUntil,
      }),
    ).toEqual([]);
    expect(receiver.received).toEqual([]);
    world.clock.advance(200);
    await until(() => expect(receiver.ids()).toEqual([event]));
  });

  test('send again under the same id what one sent and died before writing it down', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    const [event] = await world.happen(tenant);
    await world.spread();
    // The answer reaches this worker, which never comes to write it down.
    const dying = world.worker({
      outbound: {
        send: async (request) => {
          await world.outbound.send(request);
          return new Promise(() => undefined);
        },
      },
    });
    await until(() => expect(receiver.received).toHaveLength(1));
    void dying.stop();
    world.clock.advance(6_000);
    await using _ = world.worker();
    await until(async () => expect(await states(tenant)).toEqual(['delivered']));
    expect(receiver.ids()).toEqual([event, event]);
    expect((await world.deliveries(tenant))[0]).toMatchObject({ attempts_made: 2 });
  });

  test('that stop finish what is under way and give back the rest', async () => {
    const held = Promise.withResolvers<void>();
    await using receiver = await openReceiver((_, response) => void held.promise.then(() => response.end()));
    const tenant = await world.tenant();
    await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    await using first = world.worker();
    await until(() => expect(receiver.received).toHaveLength(1));
    const stopped = first.stop();
    for (let count = 0; count < 3; count += 1) await world.happen(tenant);
    await world.spread();
    held.resolve();
    await stopped;
    expect(await states(tenant)).toEqual(['delivered', 'pending', 'pending', 'pending']);
    expect((await world.deliveries(tenant)).map(({ leased_until: until }) => until)).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });
});
