import { describe, expect, test } from 'vitest';
import { boundedMap, openCache, processCache } from './cache.ts';
import { manualClock, systemClock } from './clock.ts';
import { memoryLog } from './http/testing.ts';
import { startRedis, withoutRedis } from './redis.testing.ts';

describe('in process', () => {
  test('a value is there until its time is over', async () => {
    const clock = manualClock('2026-11-22T08:00:00Z');
    const cache = processCache(clock);
    await cache.set('a', '1', { ttlMs: 1000 });
    expect(await cache.get('a')).toBe('1');
    clock.advance(1000);
    expect(await cache.get('a')).toBeUndefined();
    await cache.set('b', '1', { ttlMs: 1000 });
    await cache.delete('b');
    expect(await cache.get('b')).toBeUndefined();
  });

  test('without a configured Redis it says so', async () => {
    const { log } = memoryLog();
    const cache = openCache({ redis: { port: 6379, tls: false }, log, clock: systemClock });
    expect(cache.state()).toBe('not configured');
    expect(await cache.probe()).toBe('not configured');
    expect(cache.counters).toBeUndefined();
  });

  test('listeners hear what is published', async () => {
    const cache = processCache(systemClock);
    const heard: string[] = [];
    await cache.subscribe('news', (message) => heard.push(message));
    await cache.publish('news', 'one');
    await cache.publish('other', 'two');
    expect(heard).toEqual(['one']);
  });

  test('a full map loses what was used longest ago', () => {
    const map = boundedMap<number>(2);
    map.set('a', 1);
    map.set('b', 2);
    map.get('a');
    map.set('c', 3);
    expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([1, undefined, 3]);
  });
});

describe.skipIf(withoutRedis)('Redis', () => {
  const open = (redis: Awaited<ReturnType<typeof startRedis>>) => {
    const { log, lines } = memoryLog();
    return { cache: openCache({ redis: redis.settings, log, clock: systemClock }), lines };
  };

  test('values are shared between processes and end with their time', async () => {
    await using redis = await startRedis();
    const [one, two] = [open(redis).cache, open(redis).cache];
    await Promise.all([redis.ready(one), redis.ready(two)]);
    await one.set('a', 'é', { ttlMs: 60_000 });
    expect(await two.get('a')).toBe('é');
    await two.delete('a');
    expect(await one.get('a')).toBeUndefined();
    await one.set('b', '1', { ttlMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await one.get('b')).toBeUndefined();
    expect(await one.probe()).toBe('connected');
    await Promise.all([one.close(), two.close()]);
  });

  test('while it is away nothing throws and nothing waits, and it is used again when it is back', async () => {
    await using redis = await startRedis();
    const { cache, lines } = open(redis);
    await redis.ready(cache);
    await cache.set('a', '1', { ttlMs: 60_000 });
    await redis.stop();
    await redis.ready(cache, 'disconnected');
    const before = performance.now();
    expect(await cache.get('a')).toBeUndefined();
    await cache.set('a', '2', { ttlMs: 60_000 });
    await cache.delete('a');
    await cache.publish('news', 'x');
    expect(await cache.probe()).toBe('disconnected');
    expect(performance.now() - before).toBeLessThan(200);
    await redis.restart();
    await redis.ready(cache);
    await cache.set('a', '3', { ttlMs: 60_000 });
    expect(await cache.get('a')).toBe('3');
    expect(lines.map((line) => line['message'])).toEqual([
      'Redis is connected',
      'Redis is away: caches are empty and rate limits count in this process',
      'Redis is connected',
    ]);
    expect(JSON.stringify(lines)).not.toContain('redis-password-of-a-test');
    await cache.close();
  });

  test('one that hangs costs one short wait, not one a command', async () => {
    await using redis = await startRedis();
    const { cache } = open(redis);
    await redis.ready(cache);
    redis.freeze();
    const before = performance.now();
    for (let count = 0; count < 20; count += 1) expect(await cache.get('a')).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(800);
    expect(cache.state()).toBe('disconnected');
    redis.thaw();
    await cache.close();
  });

  test('it need not be there when the service starts', async () => {
    await using redis = await startRedis();
    await redis.stop();
    const { cache } = open(redis);
    expect(await cache.get('a')).toBeUndefined();
    const heard: string[] = [];
    await cache.subscribe('news', (message) => heard.push(message));
    await redis.restart();
    await redis.ready(cache);
    await cache.set('a', '1', { ttlMs: 60_000 });
    expect(await cache.get('a')).toBe('1');
    await cache.close();
  });

  test('listeners of every process hear what is published, also after Redis was away', async () => {
    await using redis = await startRedis();
    const [one, two] = [open(redis).cache, open(redis).cache];
    const heard = Promise.withResolvers<string>();
    await two.subscribe('news', heard.resolve);
    await Promise.all([redis.ready(one), redis.ready(two)]);
    await redis.stop();
    await redis.ready(one, 'disconnected');
    await redis.restart();
    await redis.ready(one);
    // The listener may come back a little later than the publisher; what is said before is lost, as stated.
    const again = setInterval(() => void one.publish('news', 'revoked'), 20);
    expect(await heard.promise).toBe('revoked');
    clearInterval(again);
    await Promise.all([one.close(), two.close()]);
  });
});
