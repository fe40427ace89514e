import { expect, test } from 'vitest';
import { bodyOf, exchange, testServer } from './testing.ts';

test.each([
  { what: 'a URL that cannot be decoded', path: '/things/%ff%', status: 400, code: 'invalid_request' },
  {
    what: 'a path parameter that is too long',
    path: `/things/${'x'.repeat(201)}`,
    status: 404,
    code: 'not_found',
  },
])(
  '$what is refused before it has a route, and is logged and counted like any other',
  async ({ path, status, code }) => {
    await using server = await testServer(
      (app) => void app.get('/things/:id', { config: { requires: 'public' } }, async () => ({})),
    );
    const request = `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: mine\r\n\r\n`;
    expect(bodyOf(await exchange(server.port, request))).toMatchObject({ status, code });
    const lines = server.lines.filter(({ message }) => message === 'request');
    expect(lines).toMatchObject([{ method: 'GET', route: 'unmatched', status, code, request_id: 'mine' }]);
    const metrics = await server.metrics.text();
    expect(metrics).toContain(
      `payments_http_requests_total{method="GET",route="unmatched",status="${status}"} 1`,
    );
    expect(metrics).toContain(`payments_rejects_total{reason="${code}"} 1`);
  },
);
