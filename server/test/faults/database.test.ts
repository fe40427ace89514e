import assert from 'node:assert/strict';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer } from '../../src/services/testing.ts';
import type { Attempt } from './asker.ts';
import { takeConnections } from './connections.ts';
import { withoutDisk } from './disk.ts';
import { countFaults } from './fired.ts';
import { openWorld, type World } from './world.ts';

/** PostgreSQL lost, slow, restarted, busy and full, while clients pay through `eapi` and `sapi`. */

const places = ['batch', 'commit'] as const;
const losses = (['closed', 'silent'] as const).flatMap((how) =>
  (['request', 'answer'] as const).map((lost) => ({
    how,
    lost,
    name: `${how === 'closed' ? 'closed' : 'cut through'} just ${lost === 'request' ? 'before' : 'after'}`,
  })),
);

const fired = countFaults([
  ...losses.flatMap(({ name }) => places.map((at) => `${name} a ${at}`)),
  'closed under load',
  'slow',
  'restarted: fast',
  'restarted: immediate',
  'no connection left',
  ...(withoutDisk ? [] : ['disk full']),
]);

/** For a machine that has other things to do: no test waits for a time to pass, but for something to happen. */
const busy = { timeout: 120_000 };

let world: World;
beforeAll(async () => {
  world = await openWorld({ seed: 1 });
}, 120_000);
afterAll(() => world?.[Symbol.asyncDispose]());

/** When the server, not one of its connections, was started. */
const startedAt = async (): Promise<string> => {
  const { rows } = await sql<{ at: string }>`
    select to_char(pg_postmaster_start_time(), 'YYYY-MM-DD HH24:MI:SS.US') as at
  `.execute(world.superuser.db);
  return rows[0]?.at ?? '';
};

const replayed = ({ headers }: Answer): boolean => headers.get('idempotent-replayed') === 'true';

describe('the connections of the writer and of the pool', () => {
  test.each(losses)('$name a commit: one effect, one answer', busy, async ({ how, lost, name }) => {
    const { asker, proxy } = world;
    const payment = await asker.pay();
    const cuts = places.map((at) => proxy.cut({ at, lost, how }));
    const told = await Promise.all([asker.pay(), asker.refund(payment)]);
    await Promise.all(cuts);
    for (const at of places) fired.happened(`${name} a ${at}`, 1);
    for (const { before, last } of told) {
      expect(before.map(({ status }) => status)).toContain(503);
      // What was committed is answered from what is stored; what was not, is done now.
      expect(replayed(last)).toBe(lost === 'answer');
    }
    // Nothing is held by what was cut off: the same accounts and the same payment are free.
    await asker.refund(payment);
    expect(await world.isWell()).toBe(true);
  });
});

test('PostgreSQL that takes a second for every statement is slow, not wrong', busy, async () => {
  const { asker, proxy } = world;
  const payment = await asker.pay();
  proxy.delay(1_000);
  await Promise.all([asker.pay(), asker.refund(payment)]);
  proxy.delay(0);
  fired.happened('slow', proxy.seen.slowed);
  expect(await world.isWell()).toBe(true);
});

describe('while clients ask for everything', () => {
  beforeAll(() => world.startClients());

  test('connections that are closed at any commit lose nothing and double nothing', busy, async () => {
    for (let round = 0; round < 3; round += 1) {
      for (const lost of ['request', 'answer'] as const) {
        await Promise.all(places.map((at) => world.proxy.cut({ at, lost, how: 'closed' })));
        fired.happened('closed under load', 1);
      }
    }
    expect(await world.isWell()).toBe(true);
  });

  test.each(['fast', 'immediate'] as const)(
    'PostgreSQL restarted, %s: the services connect again by themselves',
    busy,
    async (how) => {
      const { asker, postgres } = world;
      const before = await startedAt();
      const restarted = postgres.restart(how);
      await Promise.all([asker.pay(), restarted]);
      await restarted;
      fired.happened(`restarted: ${how}`, Number((await startedAt()) > before));
      expect(await world.isWell()).toBe(true);
    },
  );

  test('without a connection left the service says so, and works again when there is one', busy, async () => {
    const { asker, postgres, proxy, superuser } = world;
    const giveBack = await takeConnections(postgres, superuser.db);
    const attempt = await asker.tryPay();
    await giveBack();
    expect(attempt.answer.status).toBe(503);
    fired.happened('no connection left', proxy.seen.states.get('53300') ?? 0);
    await attempt.again();
    expect(await world.isWell()).toBe(true);
  });

  test.skipIf(withoutDisk)(
    'a full disk refuses writes and loses none, and the service takes them again when there is room',
    busy,
    async () => {
      const { asker, disk, proxy } = world;
      assert(disk);
      const isFull = (): boolean => proxy.seen.states.has('53100');
      const makeRoom = disk.fill();
      const attempts: Attempt[] = [];
      // What room there is in the tables already is used up first.
      for (let tried = 0; tried < triesMax && !isFull(); tried += 1) attempts.push(await asker.tryPay());
      makeRoom();
      fired.happened('disk full', proxy.seen.states.get('53100') ?? 0);
      await startAgain(world);
      for (const { again } of attempts.slice(-20)) await again();
      expect(await world.isWell()).toBe(true);
    },
  );
});

/** How many payments are tried on a full disk: more than there is room for in what the tables have. */
const triesMax = 2_000;

/** Without room for its log PostgreSQL ends, and whoever looks after it starts it again. */
const startAgain = ({ postgres, superuser }: World): Promise<void> =>
  expect
    .poll(
      async () => {
        if (!postgres.isRunning()) await postgres.restart('fast');
        return sql`select 1`.execute(superuser.db).then(() => 'works', String);
      },
      { timeout: 60_000 },
    )
    .toBe('works');

test('nothing acknowledged is missing, nothing is doubled, and every fault happened', busy, async () => {
  expect(await world.faults()).toEqual([]);
  expect(fired.never()).toEqual([]);
});
