import { describe, expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { testServer } from '../lib/http/testing.ts';
import { apiHealthRoutes, healthRoutes, type Probes } from './health.ts';

const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const away = () => Promise.reject(new Error('connection to 10.0.0.5 as florin_service refused'));
const well: Probes = { database: async () => 1, cache: async () => 'connected', internal: async () => 1 };

const ask = async (changes: Partial<Probes>, path: string) => {
  await using server = await testServer(async (app) => {
    const options = { probes: { ...well, ...changes }, clock: systemClock, timeoutMs: 50 };
    await app.register(healthRoutes(options));
    await app.register(apiHealthRoutes(options));
  });
  const response = await fetch(server.url + path);
  const body: unknown = await response.json();
  return { status: response.status, body };
};

describe.each(['/health', '/api/health'])('%s', (path) => {
  test('answers 200 in the shape of guide 001', async () => {
    expect(await ask({}, path)).toEqual({
      status: 200,
      body: { status: 'ok', timestamp, database: 'connected', redis: 'connected' },
    });
  });

  test('without the database it is 503 and says no more than that', async () => {
    expect(await ask({ database: away }, path)).toEqual({
      status: 503,
      body: { status: 'error', timestamp, database: 'disconnected', redis: 'connected' },
    });
  });

  test('without Redis payments go on', async () => {
    expect(await ask({ cache: async () => 'disconnected' }, path)).toMatchObject({
      status: 200,
      body: { redis: 'disconnected' },
    });
    expect(await ask({ cache: async () => 'not configured' }, path)).toMatchObject({
      status: 200,
      body: { redis: 'not configured' },
    });
  });

  test('a database that does not answer counts as away', async () => {
    expect(await ask({ database: () => new Promise(() => undefined) }, path)).toMatchObject({ status: 503 });
  });
});

test('/health/live answers 200 whatever else is away', async () => {
  expect(await ask({ database: away, cache: away }, '/health/live')).toEqual({
    status: 200,
    body: { status: 'ok', timestamp },
  });
});

describe('a process that was told to stop', () => {
  test.each([
    ['/health/ready', 503, 'error'],
    ['/health', 503, 'error'],
    ['/api/health', 503, 'error'],
    ['/health/live', 200, 'ok'],
    ['/api/health/database', 200, 'ok'],
  ])('answers %s with %d, and asks for a new connection', async (path, status, word) => {
    const drain = { isDraining: false };
    await using server = await testServer(
      async (app) => {
        const options = { probes: well, clock: systemClock, drain };
        await app.register(healthRoutes(options));
        await app.register(apiHealthRoutes(options));
      },
      {},
      { drain },
    );
    const before = await fetch(server.url + path);
    expect(before.status).toBe(200);
    expect(before.headers.get('connection')).toBe('keep-alive');
    drain.isDraining = true;
    const after = await fetch(server.url + path);
    expect(after.status).toBe(status);
    expect(after.headers.get('connection')).toBe('close');
    expect(await after.json()).toMatchObject({ status: word });
  });
});

describe('/health/ready', () => {
  test('needs the database and, if configured, Redis', async () => {
    expect(await ask({}, '/health/ready')).toMatchObject({ status: 200 });
    expect(await ask({ cache: async () => 'not configured' }, '/health/ready')).toMatchObject({
      status: 200,
    });
    expect(await ask({ cache: async () => 'disconnected' }, '/health/ready')).toMatchObject({ status: 503 });
    expect(await ask({ database: away }, '/health/ready')).toMatchObject({ status: 503 });
  });
});

test('/api/health/database tells about the database', async () => {
  expect(await ask({}, '/api/health/database')).toEqual({
    status: 200,
    body: { status: 'ok', timestamp, database: 'connected' },
  });
  expect(await ask({ database: away }, '/api/health/database')).toMatchObject({
    status: 503,
    body: { database: 'disconnected' },
  });
});

test('/api/health/cache without Redis is 200 and says in-process', async () => {
  expect(await ask({ cache: async () => 'not configured' }, '/api/health/cache')).toMatchObject({
    status: 200,
    body: { status: 'ok', redis: 'not configured', cache: 'in-process' },
  });
  expect(await ask({}, '/api/health/cache')).toMatchObject({ status: 200, body: { cache: 'redis' } });
  expect(await ask({ cache: async () => 'disconnected' }, '/api/health/cache')).toMatchObject({
    status: 503,
  });
});

test('/api/internal-health asks the internal services', async () => {
  expect(await ask({}, '/api/internal-health')).toMatchObject({ status: 200 });
  expect(await ask({ internal: away }, '/api/internal-health')).toMatchObject({
    status: 503,
    body: { status: 'error' },
  });
});

test('a flood of probes asks the database once at a time', async () => {
  const asked = { times: 0 };
  const release = Promise.withResolvers<void>();
  await using server = await testServer(async (app) => {
    const database = () => {
      asked.times += 1;
      return release.promise;
    };
    await app.register(healthRoutes({ probes: { ...well, database }, clock: systemClock }));
  });
  const answers = Array.from({ length: 20 }, () => server.app.inject('/health'));
  release.resolve();
  await Promise.all(answers);
  expect(asked.times).toBeLessThan(3);
});
