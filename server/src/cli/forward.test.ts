import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import { createWake } from '../lib/wake.ts';
import { newSigningSecret } from '../webhooks/signature.ts';
import { openReceiver, until, worldForTests } from '../webhooks/testing.ts';
import { untilSealed } from '../journal/testing.ts';
import { forwardEvents } from './forward.ts';
import { retryAll } from './queue.ts';

const world = worldForTests();

test('events of a vendor are forwarded as they happen, signed, and what came of it is printed', async () => {
  await using receiver = await openReceiver((_, response) => void response.writeHead(202).end());
  const [tenant, other] = [await world.tenant(), await world.tenant()];
  await world.happen(tenant);
  await untilSealed(world.db);
  const [secret, lines, stopping] = [newSigningSecret(), [] as string[], new AbortController()];
  const parts = {
    ...world,
    url: receiver.url,
    secret,
    timeoutMs: 5_000,
    print: (line: string) => void lines.push(line),
  };
  const waking = { wake: createWake(), signal: stopping.signal };
  const forwarding = forwardEvents(parts, { tenantIds: [tenant], types: ['payment.*'] }, waking);
  let event: string | undefined;
  // It begins with what happens next: when that is, only the first that arrives tells.
  await until(async () => {
    await world.happen(other);
    [event] = await world.happen(tenant);
    await untilSealed(world.db);
    waking.wake.ring();
    expect(receiver.received.length).toBeGreaterThan(0);
  });
  await until(() => expect(receiver.ids()).toContain(event));
  stopping.abort();
  await forwarding;
  const got = receiver.received.at(-1);
  const signature = new Webhook(secret.reveal()).sign(
    String(got?.headers['webhook-id']),
    world.clock.now(),
    got?.body ?? '',
  );
  expect(got?.headers['webhook-signature']).toBe(signature);
  expect(lines.at(-1)).toMatch(/payment\.succeeded +evt_\w+ {2}→ 202 in \d+ ms$/);
});

test('florin queue retry has what waits and what was given up sent at once', async () => {
  await using receiver = await openReceiver((_, response) => void response.writeHead(500).end());
  const tenant = await world.tenant();
  const { id } = await world.endpoint(tenant, { url: receiver.url });
  await world.happen(tenant);
  await world.spread();
  const states = async () =>
    (await world.deliveries(tenant)).map(({ state, attempts }) => `${state} ${attempts}`);
  const giveUp = world.worker({ settings: { ...world.settings, retryMax: 0 } });
  await until(async () => expect(await states()).toEqual(['failed 1']));
  await giveUp.stop();
  await world.happen(tenant);
  await world.spread();
  const tries = world.worker();
  await until(async () => expect(await states()).toEqual(['failed 1', 'pending 1']));
  await tries.stop();
  const context = world.contextOf(0);
  expect(await retryAll(world.db, context, { endpoint: id })).toEqual({ waiting: 1, failed: 0 });
  expect(await retryAll(world.db, context, { endpoint: id, failed: true })).toEqual({
    waiting: 0,
    failed: 1,
  });
  receiver.answering = (_, response) => void response.end();
  await using _ = world.worker();
  await until(async () => expect(await states()).toEqual(['delivered 1', 'delivered 2']));
});
