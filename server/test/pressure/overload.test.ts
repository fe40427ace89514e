import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { inTransaction } from '../../src/lib/database.ts';
import { testDatabase, type TestDatabase } from '../setup/database.ts';
import { flood } from './canary.ts';
import type { FloodOptions, FloodResult } from './flood.ts';
import { prepareServices, startService, type Service } from '../setup/service.ts';
import { refusalsOf, residentMb } from './room.ts';

const stack = new AsyncDisposableStack();
let database: TestDatabase;
const fronts: Record<string, Service> = {};

/** Half of it, which is a neighbour's share, is more than the neighbour sends in all: it is never refused. */
const requestsMax = 64;

beforeAll(async () => {
  database = stack.use(await testDatabase());
  const prepared = stack.use(await prepareServices(database));
  const bounds = { SERVER_REQUESTS_MAX: String(requestsMax) };
  const sapi = stack.use(await startService('sapi', prepared, bounds));
  const sapiUrl = `http://127.0.0.1:${sapi.port}`;
  fronts['eapi'] = stack.use(await startService('eapi', prepared, { ...bounds, SERVER_SAPI_URL: sapiUrl }));
  fronts['api'] = stack.use(await startService('api', prepared, bounds));
}, 60_000);
afterAll(() => stack.disposeAsync());

/** What a flood may add to the memory of a process. */
const growthMaxMb = 192;

const flooder = { 'x-client-id': 'test_client_id', 'x-client-secret': 'test_client_secret' };
const neighbour = { 'x-client-id': 'vendor_client_id', 'x-client-secret': 'vendor_client_secret' };

const payment = { amount: '10.00', currency: 'USD', reference: 'pressure' };

describe.each(['api', 'eapi'])('more than %s can do', (name) => {
  let service: Service;
  beforeEach(() => {
    const front = fronts[name];
    if (!front) throw new Error('it was not started');
    service = front;
  });

  const pay = (
    headers: Record<string, string>,
    options: Pick<FloodOptions, 'rate' | 'seconds' | 'connectionsMax'>,
  ) =>
    flood({
      ...options,
      port: service.port,
      patienceMs: 60_000,
      method: 'POST',
      path: '/api/v1/payments',
      headers: { ...headers, 'idempotency-key': '%id%' },
      body: JSON.stringify(payment),
    });
  const read = (headers: Record<string, string>) =>
    flood({
      port: service.port,
      rate: 20,
      seconds: 1,
      connectionsMax: 100,
      patienceMs: 30_000,
      method: 'GET',
      path: '/api/v1/payments?limit=1',
      headers,
    });

  test(
    'while payments stand still, one vendor has all places and another is served',
    { timeout: 90_000 },
    async () => {
      const before = await countPayments();
      let standing: Promise<FloodResult> | undefined;
      await inTransaction(database.superuser, async (tx) => {
        // Payments can be read and not be written.
        await sql`lock table payments.payments in exclusive mode`.execute(tx);
        standing = pay(flooder, { rate: 400, seconds: 1, connectionsMax: 400 });
        await expect.poll(() => refusalsOf(service), { timeout: 30_000 }).toBeGreaterThan(0);
        expect(counts(await read(neighbour))).toEqual({ 200: 20 });
        expect(counts(await read(flooder))).toEqual({ 503: 20 });
      });
      const result = await standing;
      expect(result).toMatchObject({ broken: 0, unanswered: 0, withoutRetryAfter: 0 });
      expect(result && counts(result)).toEqual({ 201: requestsMax, 503: 400 - requestsMax });
      expect((await countPayments()) - before).toBe(requestsMax);
      expect(counts(await read(flooder))).toEqual({ 200: 20 });
    },
  );

  test(
    'a flood is taken in part and refused in part, and changes nothing else',
    { timeout: 90_000 },
    async () => {
      const [before, memoryMb] = [await countPayments(), await residentMb(service)];
      const [flooded, other] = await Promise.all([
        pay(flooder, { rate: 4_000, seconds: 3, connectionsMax: 1_000 }),
        pay(neighbour, { rate: 10, seconds: 3, connectionsMax: 30 }),
      ]);
      const { 201: taken = 0, 503: refused = 0, ...others } = counts(flooded);
      expect(others).toEqual({});
      expect(taken).toBeGreaterThan(0);
      expect(refused).toBeGreaterThan(0);
      expect(flooded).toMatchObject({ broken: 0, unanswered: 0, withoutRetryAfter: 0 });
      expect(counts(other)).toEqual({ 201: 30 });
      expect((await countPayments()) - before).toBe(taken + 30);
      expect((await residentMb(service)) - memoryMb).toBeLessThan(growthMaxMb);
      expect(counts(await pay(flooder, { rate: 20, seconds: 1, connectionsMax: 20 }))).toEqual({ 201: 20 });
    },
  );
});

const counts = ({ statuses }: FloodResult): Record<string, number> =>
  Object.fromEntries(Object.entries(statuses).map(([status, { count }]) => [status, count]));

const countPayments = async (): Promise<number> => {
  const { rows } = await sql<{ count: bigint }>`select count(*) from payments.payments`.execute(database.db);
  return Number(rows[0]?.count);
};
