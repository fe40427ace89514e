import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { toUuid, type Id } from '../lib/ids.ts';
import { enableEndpoint } from './endpoints.ts';
import { claim, queueStart } from './queue-store.ts';
import { openReceiver, until, worldForTests } from './testing.ts';

const world = worldForTests();

type EndpointRow = {
  state: string;
  disabled_reason: string | null;
  failures: number;
  failing_since: Date | null;
  paused_until: Date | null;
};

const endpointOf = async (id: Id<'webhook_endpoint'>): Promise<EndpointRow | undefined> => {
  const { rows } = await sql<EndpointRow>`
    select state, disabled_reason, failures, failing_since, paused_until from webhooks.endpoints where id = ${toUuid(id)}
  `.execute(world.db);
  return rows[0];
};

const kindsOf = async (id: Id<'webhook_endpoint'>): Promise<string[]> => {
  const { rows } = await sql<{ kind: string }>`
    select kind from journal.entries where object_id = ${toUuid(id)} order by object_version
  `.execute(world.db);
  return rows.map(({ kind }) => kind);
};

const write = (tenant: number) => ({ context: world.contextOf(tenant), key: undefined });
const hourMs = 3_600_000;

describe('an endpoint', () => {
  test('that answers 410 is disabled with an event, and what waits for it stays until it is enabled', async () => {
    await using receiver = await openReceiver((_, response) => void response.writeHead(410).end());
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    await using worker = world.worker();
    await until(async () =>
      expect(await endpointOf(id)).toMatchObject({ state: 'disabled', disabled_reason: 'gone' }),
    );
    expect(await world.deliveries(tenant)).toMatchObject([
      { state: 'failed', last_status: 410, attempts: 1 },
    ]);
    expect(await kindsOf(id)).toEqual(['webhook_endpoint.created', 'webhook_endpoint.disabled']);
    await worker.stop();
    receiver.answering = (_, response) => void response.end();
    await enableEndpoint(world.db, write(tenant), id);
    await world.happen(tenant);
    await world.spread();
    await using _ = world.worker();
    await until(async () =>
      expect((await world.deliveries(tenant)).map(({ state }) => state)).toEqual(['failed', 'delivered']),
    );
  });

  test('that is disabled loses nothing: what waited is sent when it is enabled', async () => {
    await using receiver = await openReceiver();
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    const [event] = await world.happen(tenant);
    await world.spread();
    await sql`update webhooks.endpoints set state = 'disabled', disabled_reason = 'requested' where id = ${toUuid(id)}`.execute(
      world.db,
    );
    await using _ = world.worker();
    const other = await world.tenant();
    await world.endpoint(other, { url: receiver.url });
    const [elsewhere] = await world.happen(other);
    await world.spread();
    await until(() => expect(receiver.ids()).toEqual([elsewhere]));
    await enableEndpoint(world.db, write(tenant), id);
    await until(() => expect(receiver.ids()).toEqual([elsewhere, event]));
  });

  test('that accepts nothing for days, while there was something to accept, is disabled with an event', async () => {
    await using receiver = await openReceiver((_, response) => void response.writeHead(500).end());
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    await world.happen(tenant);
    await world.spread();
    await using _ = world.worker({ settings: { ...world.settings, retryMax: 50, disableAfterDays: 1 } });
    const stands = async (attempts: number, endpoint: object): Promise<void> =>
      until(async () => {
        expect((await world.deliveries(tenant))[0]).toMatchObject({ attempts, leased_until: null });
        expect(await endpointOf(id)).toMatchObject(endpoint);
      });
    for (const attempts of [1, 2]) {
      await stands(attempts, { state: 'enabled' });
      world.clock.advance(13 * hourMs);
    }
    await stands(3, { state: 'disabled', disabled_reason: 'failing' });
    expect((await kindsOf(id)).at(-1)).toBe('webhook_endpoint.disabled');
    expect((await world.deliveries(tenant))[0]).toMatchObject({ state: 'pending' });
  });

  test('that accepts something now and then is not', async () => {
    let accepts = false;
    await using receiver = await openReceiver(
      (_, response) => void response.writeHead(accepts ? 200 : 500).end(),
    );
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    await using _ = world.worker({ settings: { ...world.settings, retryMax: 50, disableAfterDays: 1 } });
    for (const isGood of [false, true, false]) {
      accepts = isGood;
      await world.happen(tenant);
      await world.spread();
      await until(async () => expect((await endpointOf(id))?.failing_since === null).toBe(isGood));
      world.clock.advance(13 * hourMs);
    }
    expect((await endpointOf(id))?.state).toBe('enabled');
  });
});

describe('a circuit', () => {
  /** The circuit of an endpoint with so many deliveries, which a worker opened because its receiver refuses them. */
  const openCircuit = async (count: number) => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await openReceiver((_, response) => void response.writeHead(500).end()));
    const tenant = await world.tenant();
    const { id } = await world.endpoint(tenant, { url: receiver.url });
    for (let made = 0; made < count; made += 1) await world.happen(tenant);
    await world.spread();
    const worker = stack.use(world.worker());
    await until(async () => expect((await endpointOf(id))?.paused_until).not.toBeNull());
    await until(async () =>
      expect((await world.deliveries(tenant)).every((row) => row.leased_until === null)).toBe(true),
    );
    const opened = stack.move();
    return { receiver, tenant, id, worker, [Symbol.asyncDispose]: () => opened.disposeAsync() };
  };

  test('opens after ten failures in a row, then lets one through to try, and closes when that is accepted', async () => {
    await using circuit = await openCircuit(30);
    const { receiver, tenant, id, worker } = circuit;
    const tried = receiver.received.length;
    expect(tried).toBeLessThan(20);
    await worker.stop();

    // The time is over: of two workers that look one gets one delivery.
    world.clock.advance(6_000);
    const lease = { now: world.clock.now(), leasedUntil: new Date(world.clock.now().getTime() + 5_500) };
    const wanted = [{ endpointId: id, count: 10, after: queueStart }];
    const [one, other] = await Promise.all([claim(world.db, wanted, lease), claim(world.db, wanted, lease)]);
    expect(one.length + other.length).toBe(1);

    // Whoever got it died. Its lease ends, somebody else tries, and everything follows.
    receiver.answering = (_, response) => void response.end();
    world.clock.advance(60_000);
    await using _worker = world.worker();
    await until(async () =>
      expect((await world.deliveries(tenant)).every(({ state }) => state === 'delivered')).toBe(true),
    );
    expect(await endpointOf(id)).toMatchObject({ failures: 0, failing_since: null, paused_until: null });
  });

  test('stays open when what was let through is refused', async () => {
    await using circuit = await openCircuit(15);
    const { receiver, id } = circuit;
    const tried = receiver.received.length;
    const before = (await endpointOf(id))?.paused_until;
    world.clock.advance(10_000);
    await until(() => expect(receiver.received).toHaveLength(tried + 1));
    await until(async () => {
      const now = (await endpointOf(id))?.paused_until;
      expect(now && before && now > before).toBe(true);
      expect((await endpointOf(id))?.failures).toBeGreaterThan(10);
    });
  });
});
