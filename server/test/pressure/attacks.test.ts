import { afterAll, beforeAll, expect, test } from 'vitest';
import { testDatabase } from '../setup/database.ts';
import { attacks, shortLimits } from './attacks.ts';
import { flood } from './canary.ts';
import { prepareServices, startService, type Service } from '../setup/service.ts';
import { residentMb } from './room.ts';

const stack = new AsyncDisposableStack();
let service: Service;

beforeAll(async () => {
  const database = stack.use(await testDatabase());
  const prepared = stack.use(await prepareServices(database));
  service = stack.use(await startService('api', prepared, shortLimits));
}, 60_000);
afterAll(() => stack.disposeAsync());

/** What one attack after the other may add to the memory of the process. */
const growthMaxMb = 192;

/** Steady requests of another vendor, from another process. */
const canary = (seconds: number) =>
  flood({
    port: service.port,
    rate: 20,
    seconds,
    connectionsMax: 1_000,
    patienceMs: 30_000,
    method: 'GET',
    path: '/api/v1/payments?limit=1',
    headers: { 'x-client-id': 'vendor_client_id', 'x-client-secret': 'vendor_client_secret' },
  });

test('there is something to attack', async () => {
  expect((await canary(1)).statuses).toMatchObject({ 200: { count: 20 } });
});

test.for(attacks)('$name: 4xx or a close, while others are served', { timeout: 90_000 }, async (attack) => {
  const before = await residentMb(service);
  const [outcomes, { sent, statuses, broken, unanswered }] = await Promise.all([
    attack.run(service.port),
    canary(attack.isSlow ? 2 : 1),
  ]);
  const answers = outcomes.flatMap((outcome) => [...new Set(outcome.statuses)]);
  expect(outcomes.length).toBeGreaterThan(0);
  expect(new Set(answers).difference(new Set(attack.statuses))).toEqual(new Set());
  const served = Object.fromEntries(Object.entries(statuses).map(([status, { count }]) => [status, count]));
  expect({ broken, unanswered, served }).toEqual({ broken: 0, unanswered: 0, served: { 200: sent } });
  expect((await residentMb(service)) - before).toBeLessThan(growthMaxMb);
});
