import assert from 'node:assert/strict';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRedis, withoutRedis } from '../../src/lib/redis.testing.ts';
import { testKey } from '../../src/services/testing.ts';
import { granted, made, type Headers } from '../setup/api.ts';
import { serviceClock, withoutFaketime, type ServiceClock } from './clock.ts';
import { countFaults } from './fired.ts';
import { openWorld, readiness, type World } from './world.ts';

/** Redis lost and emptied, clocks that are wrong, event loops that stand still, while clients pay. */

const fired = countFaults([
  ...(withoutRedis ? [] : ['Redis killed', 'Redis frozen', 'Redis flushed']),
  ...(withoutFaketime ? [] : ['clock ahead', 'clock behind', 'eapi ahead', 'eapi behind']),
  'sapi blocked',
  'eapi blocked',
]);

const clocks = new Map<string, ServiceClock>();
let redis: Awaited<ReturnType<typeof startRedis>> | undefined;
let world: World;
beforeAll(async () => {
  redis = withoutRedis ? undefined : await startRedis();
  const withRedis = redis && {
    PAYMENTS_REDIS_HOST: redis.settings.host,
    PAYMENTS_REDIS_PORT: String(redis.settings.port),
    PAYMENTS_REDIS_PASSWORD: redis.settings.password.reveal(),
  };
  world = await openWorld({
    seed: 2,
    env: (home, name) => {
      const clock = serviceClock(home, name);
      clocks.set(name, clock);
      return { ...withRedis, ...clock.env };
    },
  });
  world.startClients();
}, 120_000);
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

/** For a machine that has other things to do: no test waits for a time to pass, but for something to happen. */
const busy = { timeout: 120_000 };

describe.skipIf(withoutRedis)('Redis', () => {
  /** Payments go on whatever Redis does; only readiness tells, because limits count less well without it. */
  const paysWithout = async (): Promise<void> => {
    await expect.poll(() => readiness(world.urls.eapi), { timeout: 20_000 }).toMatch(/^503 .*disconnected/);
    expect((await world.asker.pay()).last.status).toBe(201);
  };

  test('killed: payments go on, and it is used again when it is back', busy, async () => {
    await redis?.stop();
    await paysWithout();
    fired.happened('Redis killed', 1);
    await redis?.restart();
    expect(await world.isWell()).toBe(true);
  });

  test('frozen: nobody waits for it', busy, async () => {
    redis?.freeze();
    await paysWithout();
    fired.happened('Redis frozen', 1);
    redis?.thaw();
    expect(await world.isWell()).toBe(true);
  });

  test('flushed: nothing in it was the only copy', busy, async () => {
    assert(redis);
    const { host, port, password } = redis.settings;
    const client = createClient({ socket: { host, port }, password: password.reveal() });
    await client.connect();
    fired.happened('Redis flushed', await client.dbSize());
    await client.flushAll();
    client.destroy();
    expect(await world.isWell()).toBe(true);
  });
});

const hourS = 3_600;

describe.skipIf(withoutFaketime)('a clock an hour off', () => {
  const turn = async (offS: { eapi: number; sapi: number }): Promise<void> => {
    await clocks.get('eapi')?.turn(offS.eapi, world.urls.eapi);
    await clocks.get('sapi')?.turn(offS.sapi, world.urls.sapi);
  };
  let client: Headers;
  beforeAll(async () => {
    const vendor = await made(world.urls.eapi, testKey, '/vendors', { slug: 'clock', name: 'Clock' });
    const [{ client_id: id }] = vendor['clients'] as [{ client_id: string }]; // one of test mode
    client = { 'x-client-id': id, 'x-client-secret': String(vendor['client_secret']) };
  });
  const newToken = async (): Promise<Headers> => {
    const { token } = await granted(world.urls.eapi, {
      method: 'POST',
      path: '/authenticate',
      headers: client,
    });
    return { authorization: `Bearer ${String(token)}` };
  };
  const canList = async (headers: Headers): Promise<unknown> =>
    (await granted(world.urls.eapi, { path: '/payments', headers }))['data'];

  test.each([
    { name: 'clock ahead', offS: hourS },
    { name: 'clock behind', offS: -hourS },
  ])('$name in all services: keys keep their answers, and new tokens count', busy, async ({ name, offS }) => {
    const earlier = await world.asker.tryPay();
    const first = await earlier.again();
    const token = await newToken();
    await turn({ eapi: offS, sapi: offS });
    fired.happened(name, 1);
    const { last } = await world.asker.pay();
    const madeOffS = (Date.parse(String(last.body['created_at'])) - Date.now()) / 1000;
    expect(Math.round(madeOffS / hourS)).toBe(offS / hourS);
    expect((await earlier.again()).last.body['id']).toBe(first.last.body['id']);
    expect(await world.isWell()).toBe(true);
    expect(await canList(await newToken())).toEqual([]);

    await turn({ eapi: 0, sapi: 0 });
    expect(await world.isWell()).toBe(true);
    expect((await earlier.again()).last.body['id']).toBe(first.last.body['id']);
    expect(await canList(token)).toEqual([]);
  });

  test.each([
    { name: 'eapi ahead', offS: hourS },
    { name: 'eapi behind', offS: -hourS },
  ])(
    '$name of sapi: it is not ready, and tells nobody that their credentials are wrong',
    busy,
    async ({ name, offS }) => {
      await turn({ eapi: offS, sapi: 0 });
      await expect.poll(() => readiness(world.urls.eapi), { timeout: 60_000 }).toMatch(/^503/);
      fired.happened(name, 1);
      const attempt = await world.asker.tryPay();
      expect(attempt.answer.status).toBe(503);
      await turn({ eapi: 0, sapi: 0 });
      await attempt.again();
      expect(await world.isWell()).toBe(true);
    },
  );
});

describe('an event loop that stands still', () => {
  test.each(['sapi', 'eapi'] as const)(
    'of %s: what was under way is answered or asked again, nothing is lost',
    busy,
    async (name) => {
      const blocked = world[name].block(5_000);
      const payments = Promise.all(Array.from({ length: 5 }, () => world.asker.pay()));
      await blocked;
      fired.happened(`${name} blocked`, 1);
      await payments;
      expect(await world.isWell()).toBe(true);
    },
  );
});

test('nothing acknowledged is missing, nothing is doubled, and every fault happened', busy, async () => {
  expect(await world.faults()).toEqual([]);
  expect(fired.never()).toEqual([]);
});
