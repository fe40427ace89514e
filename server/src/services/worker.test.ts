import { describe, expect, test } from 'vitest';
import { serviceTokenHeader, serviceTokens } from '../access/service-token.ts';
import { newId } from '../lib/ids.ts';
import { createMetrics } from '../lib/metrics.ts';
import { resolveDue } from '../payments/resolver.ts';
import {
  listen,
  oneProcess,
  partsForTests,
  send,
  testConfig,
  testKey,
  threeProcesses,
  type Answer,
} from './testing.ts';
import { buildWorker, localSettle, remoteSettle, resolverOf } from './worker.ts';

const parts = partsForTests();

/** Longer than the backend of these tests may take, and the time to settle its answer. */
const callMs = 3_000;

const tokens = () => serviceTokens(testConfig().auth.serviceSecret, parts.clock);

const pay = (url: string, key: string, name = 'timeout_after_charging'): Promise<Answer> =>
  send(`${url}/api/v1/payments`, {
    method: 'POST',
    headers: { ...testKey, 'idempotency-key': key },
    json: { amount: '10.00', currency: 'USD', payment_method: `sandbox:${name}` },
  });

/** The value of a metric in Prometheus' text. */
const valueOf = async (metric: string): Promise<number> => {
  const text = await parts.metrics.text();
  const line = text.split('\n').find((each) => each.startsWith(`${metric} `));
  return Number(line?.slice(metric.length));
};

const asksWith = (result: string): Promise<number> =>
  valueOf(`payments_worker_messages_processed_total{kind="resolve",result="${result}"}`);

describe('the resolver', () => {
  test('as a process of its own has sapi settle what it found out, and the key answers with it', async () => {
    await using api = await threeProcesses(parts);
    expect(await pay(api.url, 'three')).toMatchObject({ status: 202, body: { status: 'unknown' } });
    expect(await api.resolve()).toBe(0);
    parts.clock.advance(callMs);
    expect(await api.resolve()).toBe(1);
    const answer = await pay(api.url, 'three');
    expect(answer).toMatchObject({ status: 201, body: { status: 'succeeded', amount_captured: '10.00' } });
    expect(answer.headers.get('idempotent-replayed')).toBe('true');
    const log = await send(`${api.url}/api/v1/audit?object=${String(answer.body['id'])}`, {
      headers: testKey,
    });
    expect(JSON.stringify(log.body)).toContain('system:worker');
  });

  test('in one process with the core settles directly', async () => {
    await using api = await oneProcess(parts);
    await pay(api.url, 'one', 'timeout_declined');
    parts.clock.advance(callMs);
    await resolveDue(resolverOf({ ...parts, ...parts.payments, settle: localSettle(parts.payments) }));
    expect(await pay(api.url, 'one', 'timeout_declined')).toMatchObject({
      status: 201,
      body: { status: 'failed', failure_code: 'do_not_honor' },
    });
  });

  test('counts what it was told, and shows what is still unknown and since when', async () => {
    await using api = await threeProcesses(parts);
    const approved = await asksWith('approved');
    await pay(api.url, 'counted');
    await pay(api.url, 'never', 'timeout_for_ever');
    parts.clock.advance(callMs);
    await api.resolve();
    expect(await asksWith('approved')).toBe(approved + 1);
    expect(await asksWith('unknown')).toBe(1);
    parts.clock.advance(60_000);
    await api.resolve();
    expect(await asksWith('unknown')).toBe(2);
    expect(await valueOf('payments_unresolved_operations')).toBe(1);
    expect(await valueOf('payments_unresolved_oldest_age_seconds')).toBe(63);
  });

  test('loses nothing while sapi is away', async () => {
    await using api = await threeProcesses(parts);
    await pay(api.url, 'away');
    parts.clock.advance(callMs);
    const settle = remoteSettle({ sapiUrl: 'http://127.0.0.1:1', serviceTokens: tokens() });
    await resolveDue(resolverOf({ ...parts, ...parts.payments, settle }));
    expect(await asksWith('failed')).toBe(1);
    expect((await pay(api.url, 'away')).status).toBe(202);
    parts.clock.advance(5_000);
    await api.resolve();
    expect((await pay(api.url, 'away')).status).toBe(201);
  });
});

describe('POST /internal/v1/operations/:id/settle', () => {
  const settle = async (sapiUrl: string, service: string | undefined, json: object): Promise<Answer> => {
    const token = service && tokens().issue({ service, caller: undefined });
    return send(`${sapiUrl}/internal/v1/operations/${newId('operation')}/settle`, {
      method: 'POST',
      headers: token ? { [serviceTokenHeader]: token } : {},
      json,
    });
  };
  const approved = { tenantId: 1, result: { outcome: 'approved' } };

  test.each([
    [401, undefined, approved],
    [403, 'eapi', approved],
    [404, 'worker', approved],
    [400, 'worker', { tenantId: 1, result: { outcome: 'absent' } }],
    [400, 'worker', { tenantId: 0, result: { outcome: 'approved' } }],
    [400, 'worker', { tenantId: 1, result: { outcome: 'declined', failureCode: 'because' } }],
  ])('answers %i to %s for %j', async (status, service, json) => {
    await using api = await threeProcesses(parts);
    expect((await settle(api.sapiUrl, service, json)).status).toBe(status);
  });

  test('a caller whom an edge has proven does not reach it', async () => {
    await using api = await threeProcesses(parts);
    const path = `/internal/v1/operations/${newId('operation')}/settle`;
    const answer = await send(`${api.url}${path}`, { method: 'POST', headers: testKey, json: approved });
    expect(answer.status).toBe(404);
  });
});

test('a worker answers health and metrics, and nothing else', async () => {
  const probes = {
    database: async () => undefined,
    cache: async () => 'not configured' as const,
    internal: async () => undefined,
  };
  const metrics = createMetrics({ process: false });
  const app = buildWorker({ config: testConfig(), log: parts.log, clock: parts.clock, metrics, probes });
  const url = await listen(app);
  try {
    expect((await send(`${url}/health/live`)).status).toBe(200);
    expect((await send(`${url}/health/ready`)).status).toBe(200);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('payments_unresolved_operations 0');
    expect((await send(`${url}/api/v1/payments`, { headers: testKey })).status).toBe(404);
  } finally {
    await app.close();
  }
});
