import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { spansIn, startCollector, type Collector, type WireSpan } from '../src/lib/collector.testing.ts';
import { rootDirectory } from '../src/lib/config/config.ts';
import { errorKinds } from '../src/lib/errors.ts';
import { failureCodes } from '../src/payments/schema.ts';
import { send, testKey } from '../src/services/testing.ts';
import { preparedForTests } from './setup/prepared.ts';
import { startService, type Service } from './setup/service.ts';

/** What services tell of themselves after real traffic, each a process of its own. */

const prepared = preparedForTests();

const start = (name: 'api' | 'eapi' | 'sapi', variables: Record<string, string> = {}): Promise<Service> =>
  startService(name, prepared, { LOG_LEVELS: 'http=silent', ...variables });

const pay = (port: number, changes: object = {}, headers: Record<string, string> = {}) =>
  send(`http://127.0.0.1:${port}/api/v1/payments`, {
    method: 'POST',
    headers: { ...testKey, ...headers },
    json: { amount: '1.00', currency: 'USD', ...changes },
  });

describe('metrics', () => {
  type Series = { name: string; labels: Record<string, string>; value: number };

  const scrape = async (port: number): Promise<Series[]> => {
    const headers = { authorization: `Bearer ${prepared.variables['METRICS_TOKEN'] ?? ''}` };
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers });
    const lines = (await answer.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return lines.map((line) => {
      const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [
        key,
        text,
      ]);
      return { name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) };
    });
  };

  const sent = (port: number, method: string, path: string): Promise<number> =>
    new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, method, path, headers: testKey }, (answer) => {
        answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
      })
        .on('error', reject)
        .end();
    });

  /** Traffic of every kind, with ids and paths that no other turn has. */
  const traffic = async (port: number, turn: number): Promise<void> => {
    const { body: paid } = await pay(port);
    await Promise.all(Array.from({ length: 20 }, () => pay(port)));
    await pay(port, { payment_method: 'sandbox:decline_card_expired' });
    await pay(port, { amount: '-1' });
    await pay(port, { currency: 'XXX' });
    await send(`http://127.0.0.1:${port}/api/v1/payments`, { headers: { 'x-api-key': `wrong-${turn}` } });
    const { body: held } = await pay(port, { capture: false });
    await send(`http://127.0.0.1:${port}/api/v1/payments/${String(held['id'])}/capture`, {
      method: 'POST',
      headers: testKey,
      json: {},
    });
    for (let path = 0; path < 20; path += 1) {
      await sent(port, 'GET', `/scan-${turn}-${path}`);
      await sent(port, 'GET', `/api/v1/payments/${String(paid['id'])}-${path}`);
      await sent(port, 'GET', `/api/v1/payments?limit=1&cursor=${turn}-${path}`);
      await sent(port, 'GET', `/%ff-${turn}-${path}`);
    }
    for (const method of ['PROPFIND', 'TRACE', 'MKCOL', 'LINK', 'QUERY', 'PUT', 'DELETE', 'OPTIONS', 'HEAD'])
      await sent(port, method, '/api/v1/payments');
  };

  test('have every stage, and labels of few values whatever is asked', { timeout: 120_000 }, async () => {
    await using api = await start('api');
    await traffic(api.port, 1);
    // Once more, since what looks at an interval has one only now.
    await scrape(api.port);
    const first = await scrape(api.port);
    const valueOf = (name: string, labels: Record<string, string> = {}): number | undefined =>
      first.find(
        (series) =>
          series.name === name &&
          Object.entries(labels).every(([key, value]) => series.labels[key] === value),
      )?.value;

    expect(valueOf('payments_queue_wait_seconds_count')).toBeGreaterThan(0);
    expect(valueOf('payments_batch_size_sum')).toBeGreaterThanOrEqual(21);
    expect(valueOf('payments_transaction_duration_seconds_count', { kind: 'batch' })).toBeGreaterThan(0);
    expect(valueOf('payments_transaction_duration_seconds_count', { kind: 'commit' })).toBeGreaterThan(0);
    expect(valueOf('payments_database_pool_connections', { pool: 'core' })).toBeGreaterThan(0);
    expect(valueOf('payments_database_pool_idle_connections', { pool: 'core' })).toBeGreaterThan(0);
    expect(valueOf('payments_database_pool_waiting_requests', { pool: 'core' })).toBe(0);
    expect(valueOf('payments_queue_depth')).toBe(0);
    expect(valueOf('nodejs_eventloop_utilization')).toBeGreaterThan(0);
    expect(valueOf('nodejs_eventloop_lag_p99_seconds')).toBeGreaterThan(0);
    expect(valueOf('payments_rejects_total', { reason: 'invalid_request' })).toBeGreaterThanOrEqual(2);
    expect(valueOf('payments_rejects_total', { reason: 'not_found' })).toBeGreaterThanOrEqual(40);
    expect(valueOf('payments_rejects_total', { reason: 'internal_error' })).toBe(0);
    expect(valueOf('payments_payment_errors_total', { reason: 'card_expired' })).toBe(1);

    const documented = JSON.parse(
      readFileSync(join(rootDirectory, 'docs', 'api', 'openapi.json'), 'utf8'),
    ) as { paths: Record<string, object> };
    const routes = new Set([
      ...Object.keys(documented.paths).map((path) => path.replaceAll(/\{(\w+)\}/g, ':$1')),
      'unmatched',
      '/metrics',
    ]);
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'other'];
    const reasons: readonly string[] = [
      ...Object.keys(errorKinds),
      ...failureCodes,
      'contradicted',
      'requests',
      'connections',
    ];
    for (const { name, labels } of first) {
      const { method, route, status, reason } = labels;
      if (method !== undefined) expect(methods).toContain(method);
      if (route !== undefined) expect([...routes], name).toContain(route);
      if (status !== undefined) expect(status).toMatch(/^[2-5]\d\d$/);
      if (reason !== undefined) expect(reasons, name).toContain(reason);
    }
    const bounded = [
      'le',
      'method',
      'route',
      'status',
      'reason',
      'result',
      'kind',
      'pool',
      'file',
      'job',
      'type',
      'space',
      'version',
      'major',
      'minor',
      'patch',
      'quantile',
    ];
    expect(
      [...new Set(first.flatMap(({ labels }) => Object.keys(labels)))].filter(
        (label) => !bounded.includes(label),
      ),
    ).toEqual([]);

    await traffic(api.port, 2);
    const nameOf = ({ name, labels }: Series): string => `${name} ${JSON.stringify(labels)}`;
    const known = new Set(first.map(nameOf));
    const added = (await scrape(api.port)).map(nameOf).filter((name) => !known.has(name));
    // Node counts what it has open, by kinds of its own.
    expect(added.filter((name) => !name.startsWith('nodejs_'))).toEqual([]);
  });
});

describe('traces', () => {
  const named = (spans: readonly WireSpan[], name: string): WireSpan => {
    const found = spans.find((span) => span.name === name);
    if (!found) throw new Error(`no span ${name} among ${spans.map((span) => span.name).join(', ')}`);
    return found;
  };
  const lengthOf = (span: WireSpan): number =>
    Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano));
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const parentId = 'b7ad6b7169203331';
  const traceparent = `00-${traceId}-${parentId}-01`;

  test(
    'go from the caller through the edge into queue, batch and transaction, and arrive before the end',
    { timeout: 120_000 },
    async () => {
      await using collector: Collector = await startCollector();
      const telemetry = { TELEMETRY_OTLP_ENDPOINT: collector.url, TELEMETRY_SAMPLE_RATIO: '0' };
      await using sapi = await start('sapi', telemetry);
      await using eapi = await start('eapi', {
        ...telemetry,
        SERVER_SAPI_URL: `http://127.0.0.1:${sapi.port}`,
      });
      const answer = await pay(eapi.port, { capture: false }, { traceparent });
      const plain = await pay(eapi.port, { reference: 'of-ada@example.com' }, { traceparent });
      expect(answer.headers.get('traceparent')).toMatch(new RegExp(`^00-${traceId}-`));
      // Nobody records this one.
      await pay(eapi.port);
      expect(await eapi.end('SIGTERM')).toBe(0);
      expect(await sapi.end('SIGTERM')).toBe(0);

      const spans = spansIn(collector.received);
      expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
      const services = (name: string) => spans.filter(({ resource }) => resource['service.name'] === name);
      const isOf = (id: unknown) => (span: WireSpan) => span.attributes['florin.request_id'] === id;
      const requestId = plain.headers.get('x-request-id');
      const edge = services('florin-eapi').find(isOf(requestId));
      const core = services('florin-sapi').find(isOf(requestId));
      expect(edge).toMatchObject({
        name: 'POST /api/v1/payments',
        kind: 2,
        parentSpanId: parentId,
        attributes: { 'http.route': '/api/v1/payments', 'http.response.status_code': '201' },
      });
      expect(plain.headers.get('traceparent')).toContain(edge?.spanId);
      expect(core).toMatchObject({ name: 'POST /api/v1/payments', parentSpanId: edge?.spanId });
      const children = spans.filter((span) => span.parentSpanId === core?.spanId);
      const batch = named(children, 'payments.batch');
      expect(batch.attributes).toMatchObject({
        'db.system.name': 'postgresql',
        'db.operation.batch.size': '1',
      });
      expect(lengthOf(batch)).toBeGreaterThan(0);
      expect(lengthOf(named(children, 'payments.queue'))).toBeGreaterThanOrEqual(0);
      // An authorisation takes a transaction of its own.
      const held = services('florin-sapi').find(isOf(answer.headers.get('x-request-id')));
      const own = spans.filter((span) => span.parentSpanId === held?.spanId);
      expect(named(own, 'transaction').attributes['florin.transaction.end']).toBe('commit');
      // Ids of ours and templates, nothing that a caller wrote.
      for (const { body } of collector.received)
        expect(body).not.toMatch(/ada@example|test-key|127\.0\.0\.1/);
    },
  );

  test('change nothing while the collector is away', { timeout: 60_000 }, async () => {
    await using api = await startService('api', prepared, {
      TELEMETRY_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    });
    for (let payment = 0; payment < 20; payment += 1) expect((await pay(api.port)).status).toBe(201);
    expect(await api.end('SIGTERM')).toBe(0);
  });
});

describe('Sentry', () => {
  test('is told of what nobody expected, and of nothing else', { timeout: 60_000 }, async () => {
    await using collector: Collector = await startCollector();
    await using api = await start('api', { SENTRY_DSN: `http://publickey@127.0.0.1:${collector.port}/42` });
    expect((await pay(api.port, { amount: 'x' })).status).toBe(400);
    expect((await send(`http://127.0.0.1:${api.port}/api/v1/payments`)).status).toBe(401);
    await sql`alter table customers.customers rename to elsewhere`.execute(prepared.database.superuser);
    const body = { email: 'ada@example.com', name: 'Ada Lovelace' };
    const failed = await send(`http://127.0.0.1:${api.port}/api/v1/customers`, {
      method: 'POST',
      headers: testKey,
      json: body,
    });
    await sql`alter table customers.elsewhere rename to customers`.execute(prepared.database.superuser);
    expect(failed.status).toBe(500);
    expect(await api.end('SIGTERM')).toBe(0);
    expect(collector.received).toHaveLength(1);
    const event = JSON.parse(collector.received[0]?.body.split('\n')[2] ?? '') as Record<string, unknown>;
    expect(event).toMatchObject({
      environment: 'test',
      release: expect.stringMatching(/^florin@\d/) as string,
      tags: {
        service: 'api',
        code: 'internal_error',
        route: 'POST /api/v1/customers',
        request_id: failed.headers.get('x-request-id'),
      },
    });
    expect(JSON.stringify(event)).not.toMatch(/Lovelace|ada@|test-key/);
  });
});
