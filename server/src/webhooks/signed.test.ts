import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import { openReceiver, until, worldForTests } from './testing.ts';

const world = worldForTests();

test('every attempt, a retry too, is signed with its own time by the secret of its endpoint, and by no other', async () => {
  await using one = await openReceiver((_, response) => void response.writeHead(500).end());
  await using two = await openReceiver((_, response) => void response.writeHead(500).end());
  const tenant = await world.tenant();
  const receivers = [one, two];
  const secrets: string[] = [];
  for (const { url } of receivers) secrets.push((await world.endpoint(tenant, { url })).secret.reveal());
  const [event = ''] = await world.happen(tenant);
  await world.spread();
  await using _ = world.worker();
  for (const count of [1, 2, 3]) {
    for (const receiver of receivers) await until(() => expect(receiver.received).toHaveLength(count));
    const at = world.clock.now();
    for (const [index, { received }] of receivers.entries()) {
      const last = received.at(-1);
      const headers: Readonly<Record<string, unknown>> = last?.headers ?? {};
      const body = last?.body ?? '';
      const signature = new Webhook(secrets[index] ?? '').sign(event, at, body);
      expect(headers['webhook-signature'], `attempt ${count}`).toBe(signature);
      expect(headers['x-webhook-signature'], `attempt ${count}`).toMatch(/^[0-9a-f]{64}$/);
    }
    await until(async () => {
      const rows = await world.deliveries(tenant);
      expect(rows.map(({ leased_until: until, attempts }) => [until, attempts])).toEqual([
        [null, count],
        [null, count],
      ]);
    });
    world.clock.advance(60_000);
  }
});

test('of one event a thin endpoint is sent no data, whoever else is sent it', async () => {
  await using full = await openReceiver();
  await using thin = await openReceiver();
  const tenant = await world.tenant();
  await world.endpoint(tenant, { url: full.url });
  await world.endpoint(tenant, { url: thin.url, payload: 'thin' });
  await world.happen(tenant);
  await world.happen(tenant);
  await world.spread();
  await using _ = world.worker();
  await until(() => expect([full.received.length, thin.received.length]).toEqual([2, 2]));
  for (const { event } of full.received) expect(event['data']).toMatchObject({ object: 'payment' });
  for (const { event } of thin.received) expect(Object.keys(event)).not.toContain('data');
});
