import { describe, expect, test } from 'vitest';
import { manualClock } from '../lib/clock.ts';
import { agedCache } from './cache.ts';

const cacheOf = (
  options: {
    maxEntries?: number;
    untilOf?: (value: string) => Date | undefined;
    sinceOf?: (value: string) => Date;
  } = {},
) => {
  const clock = manualClock('2026-11-22T08:00:00Z');
  return { clock, cache: agedCache<string>({ clock, maxAgeMs: 60_000, maxEntries: 10, ...options }) };
};

describe('the aged cache', () => {
  test('an answer is used again until its age is reached, and using it does not make it younger', async () => {
    const { clock, cache } = cacheOf();
    let lookups = 0;
    const load = async () => `answer ${(lookups += 1)}`;
    expect(await cache.through('a', load)).toBe('answer 1');
    clock.advance(59_999);
    expect(await cache.through('a', load)).toBe('answer 1');
    clock.advance(1);
    expect(await cache.through('a', load)).toBe('answer 2');
  });

  test('an answer may end before its age', () => {
    const { clock, cache } = cacheOf({ untilOf: (value) => new Date(value) });
    cache.keep('a', '2026-11-22T08:00:10Z');
    clock.advance(9_999);
    expect(cache.peek('a')).toBeDefined();
    clock.advance(1);
    expect(cache.peek('a')).toBeUndefined();
  });

  test('a clock that is set makes no answer older or younger', () => {
    const { clock, cache } = cacheOf();
    cache.keep('a', 'answer');
    clock.set('2026-11-22T09:00:00Z');
    expect(cache.peek('a')).toBe('answer');
    clock.set('2026-11-22T07:00:00Z');
    clock.advance(60_000);
    expect(cache.peek('a')).toBeUndefined();
  });

  test('an answer of a clock that was put back since does not count', () => {
    const { clock, cache } = cacheOf({ sinceOf: (value) => new Date(value) });
    cache.keep('a', '2026-11-22T08:00:00Z');
    expect(cache.peek('a')).toBeDefined();
    clock.set('2026-11-22T07:59:59Z');
    expect(cache.peek('a')).toBeUndefined();
  });

  test('many who ask at once cause one lookup', async () => {
    const { cache } = cacheOf();
    let lookups = 0;
    const load = async () => `answer ${(lookups += 1)}`;
    const answers = await Promise.all(Array.from({ length: 50 }, () => cache.through('a', load)));
    expect(new Set(answers)).toEqual(new Set(['answer 1']));
  });

  test('what was dropped while it was looked up is not kept', async () => {
    const { cache } = cacheOf();
    const { promise, resolve } = Promise.withResolvers<string>();
    const asking = cache.through('a', () => promise);
    cache.drop(() => false);
    resolve('stale');
    expect(await asking).toBe('stale');
    expect(cache.peek('a')).toBeUndefined();
  });

  test('a failed lookup is not kept', async () => {
    const { cache } = cacheOf();
    await expect(cache.through('a', () => Promise.reject(new Error('away')))).rejects.toThrow('away');
    expect(await cache.through('a', async () => 'answer')).toBe('answer');
  });

  test('the least recently used answer makes room', () => {
    const { cache } = cacheOf({ maxEntries: 2 });
    cache.keep('a', 'A');
    cache.keep('b', 'B');
    cache.peek('a');
    cache.keep('c', 'C');
    expect([cache.peek('a'), cache.peek('b'), cache.peek('c')]).toEqual(['A', undefined, 'C']);
  });
});
