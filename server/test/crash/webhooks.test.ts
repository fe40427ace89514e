import { describe, expect, test } from 'vitest';
import { killKinds } from './webhooks-kills.ts';
import { differencesOf, type Books } from './webhooks-owed.ts';
import type { Arrival } from './webhooks-receiver.ts';
import { neverStruck, struckIn, webhooksReportLines } from './webhooks-report.ts';
import { crashWebhooks } from './webhooks.ts';

const seed = Number(process.env['FLORIN_TEST_SEED'] ?? 1);

test(
  'kills of workers, services and database during 300 deliveries lose none, and repeat one only under its id',
  { timeout: 600_000 },
  async () => {
    const kills = killKinds.length;
    const report = await crashWebhooks({ deliveries: 300, kills, seed, keep: false, say: () => undefined });
    const lines = webhooksReportLines(report).join('\n');
    expect(report.differences, lines).toEqual([]);
    expect(neverStruck(report), lines).toEqual([]);
    expect(struckIn(report), lines).toBe(kills);
    expect(report.delivered, lines).toBeGreaterThanOrEqual(300);
  },
);

describe('what came is held against what happened:', () => {
  const base = {
    tenantId: 1,
    events: ['payment.*'],
    isThin: false,
    isEnabled: true,
    fromPosition: 0n,
    madePosition: 0n,
  };
  const events = [1, 2].map((sequence) => ({
    id: `evt_${sequence}`,
    tenantId: 1,
    type: 'payment.succeeded',
    sequence,
    position: BigInt(sequence),
  }));
  const books: Books = {
    endpoints: [
      { ...base, path: '/a', isOrdered: true },
      { ...base, path: '/foreign', isOrdered: false, tenantId: 2 },
    ],
    events,
    queue: events.map(({ id }) => ({ path: '/a', event: id, state: 'delivered', statuses: [null, 200] })),
  };
  const arrival = (sequence: number, changes: Partial<Arrival> = {}): Arrival => ({
    endpoint: '/a',
    id: `evt_${sequence}`,
    eventId: `evt_${sequence}`,
    type: 'payment.succeeded',
    objectId: 'pay_1',
    sequence,
    hasData: true,
    isVerified: true,
    treatment: 'accepted',
    ...changes,
  });

  test('each once or more often, in order, is as it should be', () => {
    const dropped = arrival(1, { treatment: 'dropped' });
    expect(differencesOf(books, [dropped, arrival(1), arrival(2), arrival(1)])).toEqual([]);
  });

  test.each<[string, Arrival[], string]>([
    ['one that never came', [arrival(1)], 'evt_2, payment.succeeded, never came'],
    ['disorder', [arrival(2), arrival(1)], 'evt_1 came after number 2 of pay_1, and is 1'],
    ['an id of its own', [arrival(1), arrival(2), arrival(2, { id: 'evt_3' })], 'are both about pay_1 2'],
    ['another’s', [arrival(1), arrival(2), arrival(1, { endpoint: '/foreign' })], 'is not for this endpoint'],
    ['no such endpoint', [arrival(1), arrival(2), arrival(1, { endpoint: '/b' })], 'no such endpoint'],
    ['a wrong signature', [arrival(1), arrival(2, { isVerified: false })], 'evt_2 does not verify'],
    ['less than was asked for', [arrival(1), arrival(2, { hasData: false })], 'evt_2 is thin'],
    ['another number', [arrival(1), arrival(2, { sequence: 3 })], 'evt_2 says payment.succeeded 3'],
    [
      'one that only the queue says is delivered',
      [arrival(1), arrival(2, { treatment: 'dropped' })],
      'evt_2 is delivered, and was never accepted',
    ],
    [
      'an attempt marked accepted that was not',
      [arrival(1), arrival(2, { treatment: 'refused' })],
      'evt_2 was accepted 1 times, says the queue; the receiver: 0',
    ],
  ])('%s is told', (_name, arrivals, fault) => {
    expect(differencesOf(books, arrivals).join('\n')).toContain(fault);
  });

  test.each<[string, Books['queue'], string]>([
    [
      'pending',
      [{ path: '/a', event: 'evt_1', state: 'pending', statuses: [] }],
      'evt_1 is pending in the end',
    ],
    ['not queued', [], 'evt_1 was never queued'],
    [
      'delivered without an attempt that was accepted',
      [{ path: '/a', event: 'evt_1', state: 'delivered', statuses: [null, 500] }],
      'evt_1 is delivered, by no attempt of its own',
    ],
    ['another’s', [{ path: '/foreign', event: 'evt_1', state: 'delivered', statuses: [200] }], 'for nothing'],
  ])('a row of the queue that is wrong is told: %s', (_name, queue, fault) => {
    expect(differencesOf({ ...books, queue }, [arrival(1), arrival(2)]).join('\n')).toContain(fault);
  });
});
