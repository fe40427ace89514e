import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { spansIn, startCollector, type Collector } from './collector.testing.ts';
import { memoryLog } from './http/testing.ts';
import { traceOf } from './http/trace.ts';
import { Secret } from './secret.ts';
import { openTracing, type Span, type Tracing } from './tracing.ts';

const opened = (collector: Pick<Collector, 'url'>, otlpHeaders?: Secret) => {
  const { log, lines } = memoryLog();
  let lost = 0;
  const tracing = openTracing(
    { tracesEndpoint: `${collector.url}/v1/traces`, otlpHeaders, serviceName: 'florin-test', sampleRatio: 1 },
    { environment: 'test', release: 'florin@1.2.3', log, onLost: (spans) => (lost += spans) },
  );
  if (!tracing) throw new Error('not opened');
  return { tracing, lines, lost: () => lost };
};

const span = (name = 'work', changes: Partial<Span> = {}): Span => ({
  name,
  kind: 'server',
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
  spanId: '00f067aa0ba902b7',
  parentId: undefined,
  startedAtMs: 1_795_345_954_585.25,
  endedAtMs: 1_795_345_954_600,
  attributes: {},
  failed: false,
  ...changes,
});

const record = (tracing: Tracing, count: number): void => {
  for (let made = 0; made < count; made += 1) tracing.record(span(`work ${made}`));
};

describe('a span', () => {
  test('arrives as OTLP has it, with who made it', async () => {
    await using collector = await startCollector();
    const { tracing } = opened(collector, new Secret('authorization=Bearer%20abc, x-team=payments'));
    tracing.record(
      span('GET /x', {
        parentId: '1111111111111111',
        attributes: { route: '/x', status: 503, ratio: 0.5 },
        failed: true,
      }),
    );
    await tracing.stop();
    const [request] = collector.received;
    expect(request?.path).toBe('/v1/traces');
    expect(request?.headers).toMatchObject({
      'content-type': 'application/json',
      authorization: 'Bearer abc',
      'x-team': 'payments',
    });
    expect(spansIn(collector.received)).toEqual([
      {
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        spanId: '00f067aa0ba902b7',
        parentSpanId: '1111111111111111',
        flags: 1,
        name: 'GET /x',
        kind: 2,
        startTimeUnixNano: '1795345954585250000',
        endTimeUnixNano: '1795345954600000000',
        status: { code: 2 },
        attributes: { route: '/x', status: '503', ratio: 0.5 },
        resource: {
          'service.name': 'florin-test',
          'service.version': 'florin@1.2.3',
          'deployment.environment.name': 'test',
          'process.pid': String(process.pid),
        },
      },
    ]);
  });

  test('of work is a child of the trace in which it was done', async () => {
    await using collector = await startCollector();
    const { tracing } = opened(collector);
    const trace = traceOf(`00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`);
    const active = await tracing.run(trace, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return tracing.active();
    });
    expect(active).toEqual(trace);
    expect(tracing.active()).toBeUndefined();
    tracing.recordWork(trace, { name: 'part', startedAtMs: 1, endedAtMs: 2 });
    await tracing.stop();
    const [part] = spansIn(collector.received);
    expect(part).toMatchObject({ traceId: trace.traceId, parentSpanId: trace.spanId, name: 'part' });
    expect(part?.spanId).not.toBe(trace.spanId);
  });

  test('of a trace that is not recorded costs no context', async () => {
    await using collector = await startCollector();
    const { tracing } = opened(collector);
    const active = tracing.run({ ...traceOf(undefined), sampled: false }, () => tracing.active());
    expect(active).toBeUndefined();
    await tracing.stop();
  });
});

describe('sampling', () => {
  test.each([
    [0, 0, 0],
    [0.25, 400, 600],
    [1, 2000, 2000],
  ])('records the share %d of new traces', (ratio, least, most) => {
    const sampled = Array.from({ length: 2000 }, () => traceOf(undefined, ratio)).filter(
      (trace) => trace.sampled,
    );
    expect(sampled.length).toBeGreaterThanOrEqual(least);
    expect(sampled.length).toBeLessThanOrEqual(most);
  });

  test('follows whoever began the trace', () => {
    const traceparent = (flags: string): string => `00-${'ff'.repeat(16)}-${'cd'.repeat(8)}-${flags}`;
    expect(traceOf(traceparent('01'), 0).sampled).toBe(true);
    expect(traceOf(traceparent('00'), 1).sampled).toBe(false);
  });
});

describe('many spans', () => {
  test('are sent while they come, not only at the end, in requests of bounded size', async () => {
    await using collector = await startCollector();
    const { tracing } = opened(collector);
    record(tracing, 1_500);
    await expect.poll(() => spansIn(collector.received).length).toBeGreaterThanOrEqual(1_024);
    await tracing.stop();
    expect(spansIn(collector.received)).toHaveLength(1_500);
    for (const request of collector.received) expect(spansIn([request]).length).toBeLessThanOrEqual(512);
  });
});

describe('a collector that is away', () => {
  test('costs a bounded number of spans in memory, which are counted, and one line of the log', async () => {
    const { tracing, lines, lost } = opened({ url: 'http://127.0.0.1:9' });
    record(tracing, 20_000);
    await expect.poll(() => lines.length).toBe(1);
    expect(lost()).toBeGreaterThanOrEqual(20_000 - 4_096 - 512);
    record(tracing, 20_000);
    await tracing.stop();
    expect(lost()).toBe(40_000);
    expect(lines).toEqual([
      expect.objectContaining({ level: 40, message: 'The trace collector takes no spans' }),
    ]);
  });

  test('gets what it missed when it is back', async () => {
    await using collector = await startCollector();
    const { tracing, lines, lost } = opened(collector);
    collector.answers.status = 503;
    record(tracing, 600);
    await expect.poll(() => lines.length).toBe(1);
    collector.answers.status = 200;
    collector.received.length = 0;
    await tracing.stop();
    expect(spansIn(collector.received)).toHaveLength(600);
    expect(lost()).toBe(0);
  });

  test('and refuses them for good, is sent them once', async () => {
    await using collector = await startCollector();
    const { tracing, lost } = opened(collector);
    collector.answers.status = 400;
    record(tracing, 3);
    await tracing.stop();
    expect(collector.received).toHaveLength(1);
    expect(lost()).toBe(3);
  });

  test('and holds on to the request, delays the end by two seconds at most', async () => {
    await using collector = await startCollector();
    const { tracing } = opened(collector);
    collector.answers.isSilent = true;
    record(tracing, 3);
    const before = performance.now();
    await tracing.stop();
    expect(performance.now() - before).toBeLessThan(8_000);
  });
});

test('without an endpoint there are no traces and no timer, and without a DSN Sentry is not even loaded', () => {
  const { log } = memoryLog();
  const options = { environment: 'test', release: 'x', log, onLost: () => undefined };
  expect(openTracing({ serviceName: 'x', sampleRatio: 1 }, options)).toBeUndefined();
  const script = `
    import { openObservers } from ${JSON.stringify(new URL('./observers.ts', import.meta.url).href)};
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
    const config = { env: 'test', service: 'api', log: { level: 'silent', levels: {}, format: 'json' },
      telemetry: { serviceName: 'x', sampleRatio: 1 }, sentry: { enabled: true } };
    const { tracing, reports, stopObservers } = openObservers(config, { now: () => new Date() });
    await stopObservers();
    const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout');
    process.stdout.write(JSON.stringify({ tracing: !!tracing, reports: !!reports, loaded, timers }));`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(JSON.parse(printed)).toEqual({ tracing: false, reports: false, loaded: [], timers: [] });
});
