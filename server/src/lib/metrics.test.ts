import { expect, test } from 'vitest';
import { createMetrics } from './metrics.ts';
import { testServer } from './http/testing.ts';

test('the names of the guides are there', async () => {
  const metrics = createMetrics();
  metrics.observe({ method: 'GET', route: '/', status: 200, durationMs: 1 });
  const names = new Set((await metrics.text()).match(/^# TYPE \S+ \S+/gm)?.map((line) => line.slice(7)));
  for (const name of [
    'payments_http_requests_total counter',
    'payments_http_request_duration_seconds histogram',
    'payments_payment_errors_total counter',
    'payments_worker_messages_processed_total counter',
    'http_requests_total counter',
    'http_server_requests_seconds histogram',
    'system_cpu_usage gauge',
    'authentication_requests_total counter',
    'process_resident_memory_bytes gauge',
    'nodejs_heap_size_used_bytes gauge',
  ]) {
    expect(names).toContain(name);
  }
});

test('a request is counted under its route template and timed in seconds', async () => {
  await using server = await testServer((app) => {
    app.get('/things/:id', { config: { requires: 'public' } }, () => 'ok');
  });
  await fetch(`${server.url}/things/1`);
  await fetch(`${server.url}/things/2?x=3`);
  const text = await server.metrics.text();
  expect(text).toContain('payments_http_requests_total{method="GET",route="/things/:id",status="200"} 2');
  expect(text).toContain('http_requests_total{method="GET",route="/things/:id",status="200"} 2');
  expect(text).toContain(
    'http_server_requests_seconds_count{method="GET",route="/things/:id",status="200"} 2',
  );
  expect(text).toMatch(
    /payments_http_request_duration_seconds_bucket\{le="1",method="GET",route="\/things\/:id",status="200"\} 2/,
  );
});

test('a thousand unknown paths make one series', async () => {
  await using server = await testServer(() => undefined);
  for (let path = 0; path < 1000; path += 1) await server.app.inject(`/scan-${path}`);
  const text = await server.metrics.text();
  expect(text).toContain('payments_http_requests_total{method="GET",route="unmatched",status="404"} 1000');
  expect(text).not.toContain('scan-');
});

test('the share of busy processors lies between 0 and 1', async () => {
  const metrics = createMetrics({ process: false });
  await metrics.text();
  const usage = Number(/^system_cpu_usage (\S+)$/m.exec(await metrics.text())?.[1]);
  expect(usage).toBeGreaterThanOrEqual(0);
  expect(usage).toBeLessThanOrEqual(1);
});
