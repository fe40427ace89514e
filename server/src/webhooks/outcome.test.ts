import { describe, expect, test } from 'vitest';
import { OutboundError } from '../lib/outbound/outbound.ts';
import { outcomeOf } from './outcome.ts';
import { retryAfterMs, retryDelayMs } from './schedule.ts';

const now = new Date('2026-11-22T08:00:00Z');
const retries = { schedule: 'standard', retryMax: 14 } as const;
const tried = { attempts: 1, now, random: 0 };
const answer = (status: number, headers: Record<string, string> = {}) => ({ status, headers });
const dayMs = 86_400_000;

describe('the schedule', () => {
  test('standard reaches three days with 14 retries, by growing steps of half a day at most', () => {
    const delays = Array.from({ length: 14 }, (_, index) => retryDelayMs('standard', index + 1, 0));
    expect(delays.reduce((sum, delay) => sum + delay)).toBeGreaterThan(3 * dayMs);
    expect(delays.slice(0, 4)).toEqual([5_000, 15_000, 45_000, 135_000]);
    expect(delays.toSorted((a, b) => a - b)).toEqual(delays);
    expect(delays.at(-1)).toBe(dayMs / 2);
  });

  test('of the guide is 2^n seconds with up to a tenth of jitter: 5 retries in about a minute', () => {
    const delays = [1, 2, 3, 4, 5].map((retry) => retryDelayMs('guide', retry, 0));
    expect(delays).toEqual([2_000, 4_000, 8_000, 16_000, 32_000]);
    expect(retryDelayMs('guide', 3, 1)).toBe(8_800);
  });

  test('is a number however often it was tried', () => {
    for (const name of ['standard', 'guide'] as const)
      expect(Number.isSafeInteger(retryDelayMs(name, 1_000_000))).toBe(true);
  });
});

describe('Retry-After', () => {
  test.each([
    ['120', 120_000],
    ['0', 0],
    ['Sun, 22 Nov 2026 08:05:00 GMT', 300_000],
    ['Sun, 22 Nov 2026 07:00:00 GMT', 0],
    ['9999999999', dayMs],
    ['soon', 0],
    ['-5', 0],
    [undefined, 0],
  ])('%s is read', (field, expected) => {
    expect(retryAfterMs(field, now)).toBe(expected);
  });
});

describe('an answer', () => {
  test.each([200, 201, 202, 204, 299])('%i is success', (status) => {
    expect(outcomeOf(answer(status), tried, retries)).toMatchObject({ state: 'delivered', error: undefined });
  });

  test.each([300, 301, 304, 308, 400, 401, 404, 429, 500, 503])('%i is tried again', (status) => {
    const outcome = outcomeOf(answer(status), tried, retries);
    expect(outcome).toMatchObject({ state: 'pending', status, isGone: false });
    expect(outcome.dueAt.getTime() - now.getTime()).toBe(5_000);
  });

  test('410 ends it, and its endpoint', () => {
    expect(outcomeOf(answer(410), tried, retries)).toMatchObject({ state: 'failed', isGone: true });
  });

  test('none is tried again, with the reason', () => {
    const error = new OutboundError('timeout', 'the receiver gave no whole answer within 5000 ms');
    expect(outcomeOf(error, tried, retries)).toMatchObject({
      state: 'pending',
      status: undefined,
      error: error.message,
    });
  });

  test('Retry-After puts off, and hastens nothing', () => {
    const dueIn = (attempts: number, seconds: string): number =>
      outcomeOf(answer(503, { 'retry-after': seconds }), { ...tried, attempts }, retries).dueAt.getTime() -
      now.getTime();
    expect(dueIn(1, '3600')).toBe(3_600_000);
    expect(dueIn(1, '999999')).toBe(dayMs);
    expect(dueIn(5, '1')).toBe(405_000);
  });

  test('after the last retry gives it up', () => {
    const last = (retryMax: number, attempts: number): string =>
      outcomeOf(answer(500), { ...tried, attempts }, { schedule: 'guide', retryMax }).state;
    expect([last(5, 5), last(5, 6), last(0, 1)]).toEqual(['pending', 'failed', 'failed']);
  });
});
