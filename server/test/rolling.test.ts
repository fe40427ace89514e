import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { startBalancer, type Balancer } from './rolling/balancer.ts';
import type { LoadOptions, LoadResult } from './rolling/load.ts';
import { preparedForTests } from './setup/prepared.ts';
import { startService, type Service } from './setup/service.ts';

const prepared = preparedForTests();

/** Longer than the balancer takes to ask, and than an edge keeps an unused connection. */
const drainDelayMs = '1500';

const start = (name: 'api' | 'eapi' | 'sapi', variables: Record<string, string> = {}): Promise<Service> =>
  startService(name, prepared, {
    SERVER_DRAIN_DELAY_MS: drainDelayMs,
    LOG_LEVELS: 'http=warn',
    ...variables,
  });

/** Clients in another process; `finish` lets them end what they are at and gives what they saw. */
const startLoad = (options: LoadOptions) => {
  const script = join(import.meta.dirname, 'rolling', 'load.ts');
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const printed = text(child.stdout);
  return {
    finish: async () => {
      child.stdin.end();
      return JSON.parse(await printed) as LoadResult;
    },
  };
};

const storedReferences = async (): Promise<string[]> => {
  const { rows } = await sql<{ reference: string }>`select reference from payments.payments`.execute(
    prepared.database.db,
  );
  return rows.map(({ reference }) => reference);
};

const statusOf = (port: number, path: string): Promise<number> =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } }).then(
    ({ status }) => status,
    () => 0,
  );

describe('SIGTERM under load', () => {
  test(
    'refuses new work first, finishes what was accepted, and stores nothing that it does not answer',
    { timeout: 60_000 },
    async () => {
      await using api = await start('api');
      const load = startLoad({ port: api.port, clients: 16, pauseMs: 5 });
      await expect
        .poll(async () => (await storedReferences()).length, { timeout: 20_000 })
        .toBeGreaterThan(100);
      const ended = api.end('SIGTERM');
      // Not ready any more, and still at work.
      await expect.poll(() => statusOf(api.port, '/health/ready'), { interval: 10 }).toBe(503);
      expect(await statusOf(api.port, '/health/live')).toBe(200);
      const answer = await fetch(`http://127.0.0.1:${api.port}/api/v1/payments`, {
        headers: { 'x-api-key': 'test-key' },
      });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('connection')).toBe('close');
      expect(await ended).toBe(0);
      expect(await statusOf(api.port, '/health/live')).toBe(0);

      const seen = await load.finish();
      expect(seen.refused).toBeGreaterThan(0);
      // A connection that the system had taken and nobody had read from is reset; it never was a request to us.
      expect(seen.failures.filter((failure) => !/ECONNRESET|socket hang up/.test(failure))).toEqual([]);
      const stored = await storedReferences();
      expect(new Set(stored).size).toBe(stored.length);
      expect(stored.sort()).toEqual(seen.paid.sort());
    },
  );

  test('a second signal ends it at once', { timeout: 60_000 }, async () => {
    await using api = await start('api', { SERVER_DRAIN_DELAY_MS: '600000' });
    await expect.poll(() => statusOf(api.port, '/health/ready'), { timeout: 10_000 }).toBe(200);
    const ended = api.end('SIGTERM');
    await expect.poll(() => statusOf(api.port, '/health/ready'), { interval: 10 }).toBe(503);
    // One that follows at once is the same Ctrl-C, sent on by npm.
    await wait(1_100);
    expect(await statusOf(api.port, '/health/live')).toBe(200);
    expect(await api.end('SIGTERM')).toBe(1);
    expect(await ended).toBe(1);
  });
});

describe('a rolling restart', () => {
  test('of two sapi and two eapi under load fails no request', { timeout: 300_000 }, async () => {
    await using edges: Balancer = await startBalancer();
    await using cores: Balancer = await startBalancer();
    await using running = new AsyncDisposableStack();
    const sapiUrl = { SERVER_SAPI_URL: `http://127.0.0.1:${cores.port}` };
    const services = new Map<string, Service>();

    /** Starts a service under a name of its balancer, and waits until that sends it connections. */
    const begin = async (balancer: Balancer, kind: 'eapi' | 'sapi', name: string): Promise<void> => {
      const service = running.use(await start(kind, kind === 'eapi' ? sapiUrl : {}));
      services.set(name, service);
      balancer.backends.set(name, service.port);
      await expect.poll(() => balancer.ready(), { timeout: 20_000 }).toContain(name);
    };
    const restart = async (balancer: Balancer, kind: 'eapi' | 'sapi', name: string): Promise<void> => {
      expect(await services.get(name)?.end('SIGTERM')).toBe(0);
      await begin(balancer, kind, name);
    };

    await Promise.all([begin(cores, 'sapi', 'sapi 1'), begin(cores, 'sapi', 'sapi 2')]);
    await Promise.all([begin(edges, 'eapi', 'eapi 1'), begin(edges, 'eapi', 'eapi 2')]);
    const before = (await storedReferences()).length;
    const load = startLoad({ port: edges.port, clients: 4, pauseMs: 50 });
    await expect
      .poll(async () => (await storedReferences()).length, { timeout: 20_000 })
      .toBeGreaterThan(before + 50);
    await restart(cores, 'sapi', 'sapi 1');
    await restart(cores, 'sapi', 'sapi 2');
    await restart(edges, 'eapi', 'eapi 1');
    await restart(edges, 'eapi', 'eapi 2');

    const seen = await load.finish();
    expect(seen.failures).toEqual([]);
    expect(seen.refused).toBe(0);
    expect(seen.paid.length).toBeGreaterThan(200);
    expect(seen.reads).toBe(seen.paid.length);
    const stored = new Set(await storedReferences());
    expect(seen.paid.filter((reference) => !stored.has(reference))).toEqual([]);
    expect(stored.size - before).toBe(seen.paid.length);
  });
});
