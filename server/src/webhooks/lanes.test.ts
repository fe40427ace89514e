import { describe, expect, test } from 'vitest';
import { newId, type Id } from '../lib/ids.ts';
import { createLanes, type Lane } from './lanes.ts';
import type { Claim } from './queue-store.ts';

const bounds = { inFlightMax: 64, perEndpointMax: 8 };

/** Lanes at a time that stands still, and endpoints whose queues never end. */
const open = () => {
  let nowMs = 0;
  const lanes = createLanes(bounds, () => nowMs);
  const claimFor = ({ endpointId, tenantId }: Lane): Claim => ({
    tenantId,
    id: newId('delivery'),
    endpointId,
    position: 1n,
    attempts: 1,
    number: 1,
    dueAtMs: 0,
    endpointVersion: 1,
    isFailing: false,
    leasedUntil: new Date(0),
  });
  const offer = (tenantId: number): Id<'webhook_endpoint'> => {
    const endpointId = newId('webhook_endpoint');
    lanes.offer({ endpointId, tenantId });
    return endpointId;
  };
  /** Claims all that there is room for, and sends all that may be under way. */
  const fill = (): { lane: Lane; claim: Claim }[] => {
    for (const [lane, count] of lanes.allot())
      lanes.take(
        lane,
        Array.from({ length: count }, () => claimFor(lane)),
        count,
      );
    const sent: { lane: Lane; claim: Claim }[] = [];
    for (let next = lanes.next(); next; next = lanes.next()) sent.push(next);
    return sent;
  };
  const end = ({ lane, claim }: { lane: Lane; claim: Claim }, accepted = true): void => {
    lanes.answered(lane, claim, accepted);
    lanes.recorded(lane);
  };
  return { lanes, offer, fill, end, advance: (ms: number) => (nowMs += ms) };
};

const countOf = (sent: readonly { lane: Lane }[], id: string): number =>
  sent.filter(({ lane }) => lane.endpointId === id).length;

describe('what is under way', () => {
  test('is little to an endpoint that has not accepted anything yet, and more once it has', () => {
    const { offer, fill, end } = open();
    const id = offer(1);
    const first = fill();
    expect(countOf(first, id)).toBe(2);
    first.forEach((one) => end(one));
    expect(countOf(fill(), id)).toBe(bounds.perEndpointMax);
  });

  test('is never more than the bounds, however many endpoints there are', () => {
    const { offer, fill, end, lanes } = open();
    for (let tenant = 1; tenant <= 100; tenant += 1) offer(tenant);
    for (let round = 0; round < 20; round += 1) {
      const sent = fill();
      expect(lanes.inFlight()).toBeLessThanOrEqual(bounds.inFlightMax);
      sent.forEach((one) => end(one));
    }
  });

  test('to receivers that accept nothing is half of what may be, so that others find room', () => {
    const { offer, fill, end, lanes } = open();
    for (let count = 0; count < 200; count += 1) offer(1);
    const hanging = fill();
    expect(hanging.length).toBeLessThanOrEqual(bounds.inFlightMax / 2);
    const good = open();
    const id = good.offer(2);
    good.fill().forEach((one) => good.end(one));
    expect(countOf(good.fill(), id)).toBe(bounds.perEndpointMax);
    expect(lanes.inFlight()).toBe(hanging.length);
    hanging.forEach((one) => end(one, false));
    expect(lanes.inFlight()).toBe(0);
  });

  test('to a receiver that begins to hang grows no more after a second', () => {
    const { offer, fill, end, advance } = open();
    const id = offer(1);
    fill().forEach((one) => end(one));
    const sent = fill();
    expect(countOf(sent, id)).toBe(8);
    advance(1_500);
    sent.slice(0, 4).forEach((one) => end(one));
    expect(countOf(fill(), id)).toBe(0);
  });
});

describe('turns', () => {
  test('are taken by tenants, so that one with many endpoints gets no more than one with one', () => {
    const { offer, fill, end } = open();
    for (let count = 0; count < 40; count += 1) offer(1);
    const alone = offer(2);
    // Everybody proves to work.
    for (let round = 0; round < 30; round += 1) fill().forEach((one) => end(one));
    const sent = fill();
    expect(countOf(sent, alone)).toBe(bounds.perEndpointMax);
    expect(sent.length).toBeGreaterThan(32);
  });

  test('come round to every endpoint of a tenant', () => {
    const { offer, fill, end } = open();
    const ids = Array.from({ length: 100 }, () => offer(1));
    const served = new Set<string>();
    for (let round = 0; round < 20; round += 1)
      for (const one of fill()) {
        served.add(one.lane.endpointId);
        end(one);
      }
    expect(served.size).toBe(ids.length);
  });
});

test('what waits too long is dropped, and may be claimed again', () => {
  const { lanes, offer, fill, end } = open();
  offer(1);
  fill().forEach((one) => end(one));
  const sent = fill();
  const dropped = lanes.drop();
  expect(dropped.length).toBeGreaterThan(0);
  expect(lanes.next()).toBeUndefined();
  sent.forEach((one) => end(one));
  expect(fill().length).toBeGreaterThan(0);
});
