import { describe, expect, test } from 'vitest';
import { manualClock, systemClock } from '../clock.ts';
import { openCache } from '../cache.ts';
import { startRedis, withoutRedis } from '../redis.testing.ts';
import { addressKey, limitFailures, limitRequests } from './limits.ts';
import type { App } from './server.ts';
import { memoryLog, testServer } from './testing.ts';
import type { Counters } from '../cache.ts';

const limited = (options: { max: number; windowMs: number; counters?: Counters | undefined }) =>
  testServer((app: App) => {
    limitRequests(app, {
      counters: undefined,
      ...options,
      keyOf: (request) => request.headers['x-api-key']?.toString(),
    });
    app.get('/', { config: { requires: 'public' } }, () => 'ok');
    app.get('/health', { config: { requires: 'public', probe: true } }, () => 'ok');
  });

const ask = (url: string, key?: string) =>
  fetch(url, { headers: key === undefined ? {} : { 'x-api-key': key } });

describe('requests', () => {
  test('within the limit, every answer says how many are left', async () => {
    await using server = await limited({ max: 3, windowMs: 60_000 });
    for (const left of [2, 1, 0]) {
      const { status, headers } = await ask(server.url);
      expect(status).toBe(200);
      expect(headers.get('ratelimit-policy')).toBe('"default";q=3;w=60');
      expect(headers.get('ratelimit')).toMatch(new RegExp(`^"default";r=${left};t=(60|59)$`));
    }
  });

  test('beyond the limit the answer is 429, and Retry-After is not earlier than the reset', async () => {
    await using server = await limited({ max: 1, windowMs: 2_000 });
    await ask(server.url);
    const refused = await ask(server.url);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({
      code: 'rate_limited',
      error: 'Too many requests from this IP',
    });
    const retryAfterS = Number(refused.headers.get('retry-after'));
    const resetS = Number(/t=(\d+)/.exec(refused.headers.get('ratelimit') ?? '')?.[1]);
    expect(retryAfterS).toBeGreaterThanOrEqual(resetS);
    expect(retryAfterS).toBeGreaterThan(1);
  });

  test('a credential is counted by itself, strangers by address', async () => {
    await using server = await limited({ max: 1, windowMs: 60_000 });
    expect((await ask(server.url, 'a')).status).toBe(200);
    expect((await ask(server.url, 'b')).status).toBe(200);
    expect((await ask(server.url)).status).toBe(200);
    const refused = await ask(server.url, 'a');
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: 'Too many requests with this credential' });
    expect((await ask(server.url)).status).toBe(429);
  });

  test('probes are never refused, unknown paths are', async () => {
    await using server = await limited({ max: 1, windowMs: 60_000 });
    for (let count = 0; count < 5; count += 1) {
      const probe = await ask(`${server.url}/health`);
      expect(probe.status).toBe(200);
      expect(probe.headers.has('ratelimit')).toBe(false);
    }
    expect((await ask(`${server.url}/nothing`)).status).toBe(404);
    expect((await ask(`${server.url}/nothing`)).status).toBe(429);
  });
});

describe('failed authentications', () => {
  test('an address that failed too often is refused until the window ends, others are not', async () => {
    const clock = manualClock('2026-11-22T08:00:00Z');
    const failures = limitFailures({ max: 2, windowMs: 60_000, counters: undefined, clock });
    await failures.record('192.0.2.1');
    failures.guard('192.0.2.1');
    await failures.record('192.0.2.1');
    expect(() => failures.guard('192.0.2.1')).toThrow('Too many requests');
    expect(() => failures.guard('::ffff:192.0.2.1')).toThrow('Too many requests');
    failures.guard('192.0.2.2');
    clock.advance(61_000);
    failures.guard('192.0.2.1');
  });
});

test('an IPv6 network counts as one address, a mapped IPv4 address as itself', () => {
  expect(addressKey('2001:db8::1')).toBe(addressKey('2001:db8:0:0:ffff::9'));
  expect(addressKey('2001:db8::1')).not.toBe(addressKey('2001:db8:0:1::1'));
  expect(addressKey('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(addressKey('')).toBe('');
});

describe.skipIf(withoutRedis)('with Redis', () => {
  test('processes count together, and a Redis that goes away refuses nobody', async () => {
    await using redis = await startRedis();
    const { log } = memoryLog();
    const caches = [1, 2].map(() => openCache({ redis: redis.settings, log, clock: systemClock }));
    const [one, two] = caches;
    await Promise.all(caches.map((cache) => redis.ready(cache)));
    await using first = await limited({ max: 2, windowMs: 60_000, counters: one?.counters });
    await using second = await limited({ max: 2, windowMs: 60_000, counters: two?.counters });
    expect((await ask(first.url, 'k')).status).toBe(200);
    expect((await ask(second.url, 'k')).status).toBe(200);
    expect((await ask(first.url, 'k')).status).toBe(429);
    expect((await ask(second.url, 'k')).status).toBe(429);
    await redis.stop();
    const after = await ask(first.url, 'k');
    expect(after.status).toBe(200);
    expect(after.headers.get('ratelimit')).toContain('r=1');
    await Promise.all(caches.map((cache) => cache.close()));
  });
});
