import { expect, test } from 'vitest';
import { testServer } from '../lib/http/testing.ts';
import { createMetrics } from '../lib/metrics.ts';
import { Secret } from '../lib/secret.ts';
import { metricsRoutes, plainMetricsRoutes } from './metrics.ts';

const paths = ['/metrics', '/internal/metrics', '/api/metrics'];
const publicPort = (token: Secret | undefined) =>
  testServer(async (app) => {
    await app.register(metricsRoutes({ metrics: createMetrics({ process: false }), token }));
  });
const ask = async (url: string, authorization?: string): Promise<number> =>
  (await fetch(url, { headers: authorization === undefined ? {} : { authorization } })).status;

test('on the public port metrics need the token', async () => {
  await using server = await publicPort(new Secret('scrape-me'));
  for (const path of paths) {
    expect(await ask(server.url + path)).toBe(401);
    expect(await ask(server.url + path, 'Bearer wrong')).toBe(401);
    expect(await ask(server.url + path, 'Bearer scrape-me2')).toBe(401);
    expect(await ask(server.url + path, 'Basic scrape-me')).toBe(401);
    const response = await fetch(server.url + path, { headers: { authorization: 'Bearer scrape-me' } });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(await response.text()).toContain('payments_http_requests_total');
  }
});

test('without a configured token nobody gets metrics on the public port', async () => {
  await using server = await publicPort(undefined);
  for (const path of paths) {
    for (const authorization of [undefined, 'Bearer ', 'Bearer undefined', 'Bearer null']) {
      expect(await ask(server.url + path, authorization)).toBe(401);
    }
  }
});

test('the internal listener answers /metrics plainly, and nothing else of it', async () => {
  await using server = await testServer(async (app) => {
    await app.register(plainMetricsRoutes({ metrics: createMetrics({ process: false }) }));
  });
  expect(await ask(`${server.url}/metrics`)).toBe(200);
  expect(await ask(`${server.url}/internal/metrics`)).toBe(404);
});
