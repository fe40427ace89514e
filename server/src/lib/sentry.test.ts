import { describe, expect, test } from 'vitest';
import { manualClock } from './clock.ts';
import { startCollector, type Received } from './collector.testing.ts';
import { memoryLog } from './http/testing.ts';
import { Secret } from './secret.ts';
import { openReports } from './sentry.ts';

const opened = (port: number) => {
  const { log } = memoryLog();
  const clock = manualClock('2026-11-22T08:00:00Z');
  let lost = 0;
  const reports = openReports(
    { dsn: new Secret(`http://publickey@127.0.0.1:${port}/42`), enabled: true },
    {
      service: 'sapi',
      environment: 'test',
      release: 'florin@1.2.3',
      log,
      clock,
      onLost: (count) => (lost += count),
    },
  );
  if (!reports) throw new Error('not opened');
  return { reports, clock, lost: () => lost };
};

type Event = {
  exception: { values: { type: string; value: string; stacktrace: { frames: { filename: string }[] } }[] };
  tags: Record<string, string>;
} & Record<string, unknown>;

/** The events in Sentry's envelopes: a line about the envelope, then two lines an item. */
const eventsIn = (received: readonly Received[]): Event[] =>
  received.map(({ body }) => JSON.parse(body.split('\n')[2] ?? '') as Event);

describe('a report', () => {
  test('arrives with its causes and stack, the request id, release and environment', async () => {
    await using collector = await startCollector();
    const { reports } = opened(collector.port);
    const error = new Error('outer', { cause: new TypeError('inner') });
    const about = {
      request_id: 'req_01',
      route: 'POST /api/v1/payments',
      code: 'internal_error',
      trace_id: 'ab',
    };
    reports.report(error, about);
    await reports.stop();
    expect(collector.received.map(({ path }) => path)).toEqual([
      expect.stringMatching(/^\/api\/42\/envelope\/\?.*sentry_key=publickey/),
    ]);
    const [event] = eventsIn(collector.received);
    expect(event).toMatchObject({
      level: 'error',
      platform: 'node',
      release: 'florin@1.2.3',
      environment: 'test',
      tags: { ...about, service: 'sapi' },
    });
    expect(event?.exception.values.map(({ type, value }) => [type, value])).toEqual([
      ['TypeError', 'inner'],
      ['Error', 'outer'],
    ]);
    expect(event?.exception.values[0]?.stacktrace.frames.at(-1)?.filename).toContain('sentry.test.ts');
  });

  test('holds nothing personal and no secret, wherever it was planted', async () => {
    await using collector = await startCollector();
    const { reports } = opened(collector.port);
    const planted = [
      '4111 1111 1111 1111',
      'ada@example.com',
      'Ada Lovelace',
      '203.0.113.77',
      '2001:db8:85a3:8d3:1319:8a2e:370:7348',
      `fk_live_${'a1b2c3d4'.repeat(6)}`,
      'hunter2-plain',
      'eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ0ZXN0In0.b2YtYW4tYWNjZXNzLXRva2Vu',
    ];
    const [card, mail, name, ip4, ip6, key, password, token] = planted;
    const database = Object.assign(new Error(`invalid input syntax for type integer: "${name}"`), {
      code: '22P02',
      detail: `Key (email)=(${mail})`,
      where: name,
    });
    const errors = [
      new Error(`card ${card} of ${mail} from ${ip4} and ${ip6}, key ${key}`),
      new Error(`postgres://u:${password}@h/d, Bearer ${token}, "${name}"`, { cause: database }),
      new SyntaxError(`Unexpected token 'A', "${name}" is not valid JSON`),
      Object.assign(new Error('with members'), {
        customer: { name, mail },
        headers: { authorization: token },
      }),
      `a text that was thrown: ${mail}`,
      { name, mail },
    ];
    for (const error of errors) reports.report(error, { request_id: 'req_01' });
    await reports.stop();
    // Of what is no error nothing is told, so the last two are the same.
    expect(collector.received).toHaveLength(errors.length - 1);
    for (const { body } of collector.received) for (const value of planted) expect(body).not.toContain(value);
    const values = eventsIn(collector.received).flatMap(({ exception }) =>
      exception.values.map(({ value }) => value),
    );
    expect(values).toContain('SQLSTATE 22P02');
    expect(values).toContain('with members');
    // Of the machine and its user: nothing but the place of our files.
    for (const event of eventsIn(collector.received)) {
      expect(Object.keys(event).sort()).toEqual(
        [
          'environment',
          'event_id',
          'exception',
          'level',
          'platform',
          'release',
          'sdk',
          'tags',
          'timestamp',
        ].sort(),
      );
    }
  });

  test('of the same error is made once a minute, and of all errors twenty times', async () => {
    await using collector = await startCollector();
    const { reports, clock } = opened(collector.port);
    const error = new Error('again and again');
    for (let turn = 0; turn < 100; turn += 1) reports.report(error, {});
    clock.advance(60_000);
    for (let turn = 0; turn < 100; turn += 1) reports.report(new Error(`number ${turn}`), {});
    await reports.stop();
    expect(collector.received).toHaveLength(1 + 20);
  });
});

describe('a Sentry that is away', () => {
  test('is counted, and neither throws nor delays the end', async () => {
    const { reports, lost } = opened(9);
    reports.report(new Error('nobody hears it'), {});
    const before = performance.now();
    await reports.stop();
    expect(performance.now() - before).toBeLessThan(15_000);
    expect(lost()).toBe(1);
  });

  test('or refuses reports, is counted', async () => {
    await using collector = await startCollector();
    collector.answers.status = 500;
    const { reports, lost } = opened(collector.port);
    reports.report(new Error('refused'), {});
    await reports.stop();
    expect(lost()).toBe(1);
  });
});

test('without a DSN, or when it is switched off, there is nothing', () => {
  const { log } = memoryLog();
  const options = {
    service: 'sapi',
    environment: 'test',
    release: 'x',
    log,
    clock: manualClock('2026-11-22T08:00:00Z'),
    onLost: () => undefined,
  };
  expect(openReports({ enabled: true }, options)).toBeUndefined();
  const shown = new Secret('https://your-sentry-dsn');
  expect(openReports({ dsn: shown, enabled: true }, options)).toBeUndefined();
  expect(openReports({ dsn: new Secret('http://a@b/1'), enabled: false }, options)).toBeUndefined();
});
