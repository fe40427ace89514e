import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exchange } from '../../src/lib/http/testing.ts';
import { createLog } from '../../src/lib/log.ts';
import { makeDocument } from '../../src/services/document.ts';
import {
  oneProcess,
  testClient,
  testConfig,
  testKey,
  testParts,
  twoProcesses,
  type TestApi,
  type TestParts,
} from '../../src/services/testing.ts';
import { testDatabase, type TestDatabase } from '../setup/database.ts';
import { operationsOf, transmit, type Sent } from '../setup/requests.ts';
import { objectText, validMembers } from '../setup/spoilt.ts';
import { breakouts, headerNames, planted, traces } from './injection.ts';

const operations = operationsOf(await makeDocument('0.0.0')).filter(({ isProbe }) => !isProbe);
const texts = [...breakouts, ...Object.values(planted)];

/** A text as far as a client can put it into a header field: Node refuses control characters and what is no Latin-1. */
const inHeader = (text: string): string =>
  text.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, (sign) => encodeURIComponent(sign.toWellFormed()));

/** Everything that a log writes, as it arrives at the terminal or the file. */
const recordedLog = (format: 'json' | 'pretty') => {
  const written: string[] = [];
  const destination = { write: (line: string) => void written.push(line) };
  const log = createLog(
    { log: { level: 'trace', levels: {}, format, filesKept: 1 } },
    { service: 'api', destination },
  );
  return { log, written };
};

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
/** A line is read by people and by programs that cut it off. */
const lineBytesMax = 16 * 1024;
// oxlint-disable-next-line no-control-regex -- finding control characters is what it is for
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

const faultsOf = (line: string): string[] => {
  const bare = line.endsWith('\n') ? line.slice(0, -1) : line;
  return [
    ...(line.endsWith('\n') ? [] : ['does not end']),
    // JSON has escapes for all of them but these two, which end no line of a file.
    ...(control.test(
      bare.replaceAll(/[\u2028\u2029\u007f-\u009f]/g, (sign) => (bare.startsWith('{') ? '' : sign)),
    )
      ? ['holds a control character']
      : []),
    ...(Buffer.byteLength(line) > lineBytesMax ? [`has ${Buffer.byteLength(line)} bytes`] : []),
    ...(/forged/.test(line) && /"?level"?\s*:\s*"fatal"/.test(line.replaceAll('\\"', ''))
      ? ['has another level']
      : []),
    ...traces.filter((trace) => line.includes(trace)).map((trace) => `holds ${trace}`),
  ].map((fault) => `${fault}: ${line.slice(0, 300)}`);
};

const jsonFaultsOf = (line: string): string[] => {
  try {
    const parsed: unknown = JSON.parse(line);
    const { level, service, time } = parsed as Record<string, unknown>; // null and texts have none of them
    const isWhole =
      levels.includes(String(level)) && service === 'api' && !Number.isNaN(Date.parse(String(time)));
    return isWhole ? [] : [`is no line of ours: ${line.slice(0, 300)}`];
  } catch {
    return [`is no JSON: ${line.slice(0, 300)}`];
  }
};

/** Requests under way at once. */
const atOnce = 8;

describe.each([
  { name: 'one process, JSON', start: oneProcess, format: 'json' as const, every: 1 },
  { name: 'two processes, JSON', start: twoProcesses, format: 'json' as const, every: 5 },
  { name: 'one process, for people', start: oneProcess, format: 'pretty' as const, every: 5 },
])('the log of $name', ({ start, format, every }) => {
  const { log, written } = recordedLog(format);
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    // Short times, so that what never becomes a request is over soon. Kept connections stay: a busy machine would close
    // them just as they are used again.
    const times = { headersTimeoutMs: 500, requestTimeoutMs: 2_000 };
    const server = { ...testConfig().server, ...times, trustProxy: true };
    api = await start({ ...parts, log }, { server, rateLimit: { max: 1_000_000, windowMs: 60_000 } });
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  type Request = Omit<Sent, 'url'> & { path: string };

  /** What is wrong with the lines that were written since. */
  const faultsSince = (from: number): string[] => {
    const lines = written.slice(from);
    const faults = lines.flatMap((line) => [
      ...faultsOf(line),
      ...(format === 'json' ? jsonFaultsOf(line) : []),
    ]);
    return [...new Set(faults)].slice(0, 10);
  };

  /** Sends requests, or some of them, and gives what is wrong with the lines that they leave. */
  const faultsAfter = async (all: readonly Request[]): Promise<string[]> => {
    const from = written.length;
    const requests = all.filter((_, index) => index % every === 0);
    const send = ({ path, headers = {}, ...rest }: Request, index: number) => {
      // An address each, or guesses of credentials would be slowed down.
      const address = { 'x-forwarded-for': `10.1.${(index >> 8) & 255}.${index & 255}` };
      return transmit({ ...rest, headers: { ...address, ...headers }, url: api.url + path });
    };
    for (let first = 0; first < requests.length; first += atOnce)
      await Promise.all(
        requests.slice(first, first + atOnce).map((request, index) => send(request, first + index)),
      );
    await api.edge.events.settled();
    expect(written.length - from, 'every request leaves a line').toBeGreaterThanOrEqual(requests.length);
    return faultsSince(from);
  };

  test('whatever is in header fields', async () => {
    const requests = headerNames
      .filter(
        (name) => !['host', 'connection', 'expect', 'upgrade', 'trailer', 'te', 'keep-alive'].includes(name),
      )
      .flatMap((name) =>
        texts.map((text, index) =>
          index % 2 === 0
            ? { method: 'GET', path: '/api/v1/customers', headers: { ...testKey, [name]: inHeader(text) } }
            : { method: 'POST', path: '/api/v1/authenticate', headers: { [name]: inHeader(text) } },
        ),
      );
    expect(await faultsAfter(requests)).toEqual([]);
  });

  test('whatever is in paths and queries', async () => {
    const requests = texts.flatMap((text) => {
      const coded = encodeURIComponent(text.toWellFormed());
      return [
        ...['GET', 'POST', 'DELETE'].map((method) => ({
          method,
          path: `/api/v1/payments/${coded}`,
          headers: testKey,
        })),
        { method: 'GET', path: `/${coded}`, headers: testKey },
        { method: 'GET', path: `/api/v1/nothing/${coded}?${coded}=${coded}`, headers: {} },
        ...['reference', 'cursor', coded].map((name) => ({
          method: 'GET',
          path: `/api/v1/payments?${name}=${coded}`,
          headers: testKey,
        })),
      ];
    });
    expect(await faultsAfter(requests)).toEqual([]);
  });

  test('whatever is in bodies, as names and as values', async () => {
    const requests = operations
      .filter(({ body }) => body !== undefined)
      .flatMap(({ method, path, body, isPublic }) => {
        const members = validMembers(body ?? {});
        const headers = { ...(isPublic ? {} : testKey), 'content-type': 'application/json' };
        const send = (json: string) => ({
          method,
          path: path.replaceAll(/\{\w+\}/g, 'x'),
          headers,
          body: json,
        });
        return texts.flatMap((text) => [
          ...Object.keys(members).map((name) =>
            send(objectText({ ...members, [name]: JSON.stringify(text) })),
          ),
          send(objectText({ ...members, [text]: JSON.stringify(text) })),
          send(JSON.stringify({ metadata: { [text]: text }, description: text })),
          send(text),
        ]);
      });
    expect(await faultsAfter(requests)).toEqual([]);
  });

  test('what is stored, with texts in it that look like lines', async () => {
    const description = breakouts.find((text) => text.startsWith('"}')) ?? '';
    const body = JSON.stringify({
      amount: '1.00',
      currency: 'USD',
      description,
      metadata: { [description]: description },
    });
    const headers = {
      ...testKey,
      'content-type': 'application/json',
      'idempotency-key': '{"level":"fatal"}',
    };
    expect(await faultsAfter([{ method: 'POST', path: '/api/v1/payments', headers, body }])).toEqual([]);
    const [id = '', secret = ''] = Object.values(testClient);
    const requests = ['/api/v1/authenticate', '/api/v1/customers'].map((path) => ({
      method: 'POST',
      path,
      headers: { 'x-client-id': `${id}","level":"fatal`, 'x-client-secret': `${secret}hunter2` },
    }));
    expect(await faultsAfter(requests)).toEqual([]);
  });

  test('what is no HTTP', async () => {
    const from = written.length;
    const port = Number(new URL(api.url).port);
    const answers = await Promise.all(
      texts.flatMap((text) => [
        exchange(port, `${text}\r\n\r\n`),
        exchange(port, `GET /${text} HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n${text}\r\n\r\n`),
        exchange(port, `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: ${text}\r\n\r\n`),
      ]),
    );
    expect(answers.length).toBe(texts.length * 3);
    expect(written.length - from).toBeGreaterThan(texts.length);
    expect(faultsSince(from)).toEqual([]);
  });
});

test('a line that holds what it must not is found', () => {
  expect(faultsOf('{"level":"info"}\n')).toEqual([]);
  for (const line of [
    '{"a":1}',
    '{"a":1}\n{"b":1}\n',
    `{"a":"${planted.apiKey}"}\n`,
    `{"a":"${'x'.repeat(20_000)}"}\n`,
    'a\u001b[2J\n',
  ])
    expect(faultsOf(line), line.slice(0, 40)).not.toEqual([]);
  expect(jsonFaultsOf('"x"\n')).not.toEqual([]);
  expect(jsonFaultsOf('{"level":"fatal"\n')).not.toEqual([]);
});
