import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pino } from 'pino';
import { systemClock } from '../../src/lib/clock.ts';
import { exchange, testSettings } from '../../src/lib/http/testing.ts';
import { startRedirect } from '../../src/lib/http/redirect.ts';
import {
  oneProcess,
  testKey,
  testParts,
  twoProcesses,
  type TestApi,
  type TestParts,
} from '../../src/services/testing.ts';
import { testDatabase, type TestDatabase } from '../setup/database.ts';
import { headerNames } from './injection.ts';

/*
 * What a client sends comes back in a few header fields: the id of a request, the origin of a page, the place that a
 * redirect leads to. Nothing of it may begin a field or a body of its own, whatever stands between us and the client.
 */
const marker = 'canary-7f3a';

/** Ends of a line as servers and proxies have understood them; U+010A and U+560A lose a byte on their way. */
const breaks: Readonly<Record<string, string>> = {
  'CR LF': '\r\n',
  LF: '\n',
  CR: '\r',
  'CR LF and a space': '\r\n ',
  NUL: '\u0000',
  'percent-encoded CR LF': '%0d%0a',
  'percent-encoded twice': '%250d%250a',
  'U+010A': '\u010a',
  'U+560D U+560A': '\u560d\u560a',
  'U+2028': '\u2028',
  'VT and FF': '\v\f',
  'backslash r backslash n': '\\r\\n',
  NEL: '\u0085',
};

const values = Object.values(breaks).flatMap((end) => [
  `${marker}${end}X-Injected: 1`,
  `${marker}${end}${end}<script>${marker}</script>`,
  `${end}X-Injected: 1`,
]);

/** The fields of every answer in what came back; more than one answer means that what was sent became a request. */
const answersIn = (text: string): { head: string; fields: [name: string, value: string][] }[] =>
  text
    .split(/(?=HTTP\/1\.1 \d{3} )/)
    .filter((part) => part !== '')
    .map((part) => {
      const [head = ''] = part.split('\r\n\r\n', 1);
      const fields = head
        .split('\r\n')
        .slice(1)
        .map((line): [string, string] => [
          line.slice(0, line.indexOf(':')).toLowerCase(),
          line.slice(line.indexOf(':') + 1).trim(),
        ]);
      return { head, fields };
    });

const faultsOf = (text: string): string[] => {
  const answers = answersIn(text);
  return [
    ...(answers.length === 1 ? [] : [`${answers.length} answers`]),
    ...answers.flatMap(({ head, fields }) => [
      ...(/[^\r]\n|\r[^\n]/.test(head) ? ['half an end of a line'] : []),
      // oxlint-disable-next-line no-control-regex -- finding control characters is what it is for
      ...(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(head) ? ['a control character'] : []),
      ...fields
        .filter(([name]) => name === 'x-injected' || !/^[a-z-]+$/.test(name))
        .map(([name]) => `a field ${name}`),
      ...fields
        .filter(([, value]) => value.includes('X-Injected') || value.includes('<script'))
        .map(([name]) => `the text in ${name}`),
    ]),
  ];
};

/** A whole request as bytes, with the one field or path that is in question. */
const requestOf = ({
  method = 'GET',
  path = '/api/v1/customers',
  fields = {},
}: {
  method?: string;
  path?: string;
  fields?: Record<string, string>;
}): string => {
  const all: Record<string, string> = { host: 'x', connection: 'close', ...testKey, ...fields };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
};

/** CR LF in what a client sends as a field is a field of the client, and ends the request where two of them stand. */
const endsRequest = (value: string): boolean => /\r\n\r\n|\n\n/.test(value);

describe.each([
  { name: 'one process', start: oneProcess },
  { name: 'two processes', start: twoProcesses },
])('header injection into $name', ({ start }) => {
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    api = await start(parts, { rateLimit: { max: 1_000_000, windowMs: 60_000 } });
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  const faultsAfter = async (requests: readonly string[]): Promise<string[]> => {
    const port = Number(new URL(api.url).port);
    const found: string[] = [];
    for (let from = 0; from < requests.length; from += 16) {
      const some = requests.slice(from, from + 16);
      const answers = await Promise.all(some.map((request) => exchange(port, Buffer.from(request, 'utf8'))));
      for (const [index, answer] of answers.entries())
        found.push(
          ...faultsOf(answer).map((fault) => `${fault} after ${JSON.stringify(some[index]).slice(0, 200)}`),
        );
    }
    return found.slice(0, 10);
  };

  test('through header fields', async () => {
    const requests = headerNames
      .filter((name) => !['connection', 'expect'].includes(name))
      .flatMap((name) =>
        values
          .filter((value) => !endsRequest(value))
          .map((value) =>
            requestOf({ fields: { ...(name.startsWith('x-client') && { 'x-api-key': '' }), [name]: value } }),
          ),
      );
    expect(await faultsAfter(requests)).toEqual([]);
  });

  test('through paths, queries and methods', async () => {
    const coded = values
      .filter((value) => !/[\r\n]/.test(value))
      .map((value) => value.replaceAll(' ', '%20'));
    const raw = values
      .filter((value) => /[\r\n]/.test(value) && !endsRequest(value))
      .map((value) => value.replaceAll(' ', '%20'));
    const paths = [...coded, ...coded.map((text) => encodeURI(text)), ...raw].flatMap((text) => [
      `/${text}`,
      `/api/v1/payments/${text}`,
      `/api/v1/payments?cursor=${text}`,
      `/docs/${text}`,
      `//${text}`,
    ]);
    expect(await faultsAfter(paths.map((path) => requestOf({ path })))).toEqual([]);
    const methods = ['OPTIONS', 'PROPFIND', 'TRACE', 'PUT', 'M-SEARCH'];
    expect(
      await faultsAfter(
        methods.flatMap((method) => paths.slice(0, 20).map((path) => requestOf({ method, path }))),
      ),
    ).toEqual([]);
  });

  test('an id of a request comes back only as it is allowed to look', async () => {
    const port = Number(new URL(api.url).port);
    const ask = async (id: string): Promise<string | undefined> =>
      answersIn(await exchange(port, requestOf({ fields: { 'x-request-id': id } })))[0]?.fields.find(
        ([name]) => name === 'x-request-id',
      )?.[1];
    expect(await ask(marker)).toBe(marker);
    for (const id of [
      `${marker} x`,
      `${marker};x`,
      `${marker}%0d%0a`,
      `${marker}\u010a`,
      'x'.repeat(65),
      '<b>',
      '4242424242424242',
    ])
      expect(await ask(id)).toMatch(/^req_[0-9a-z]{26}$/);
  });

  test('of the origins of pages only those that are allowed come back', async () => {
    const port = Number(new URL(api.url).port);
    const origins = [
      'null',
      '*',
      'https://shop.example.evil.example',
      'https://shop.example:443',
      'https://shop.example\t',
      `https://${marker}`,
    ];
    for (const origin of origins) {
      const [answer] = answersIn(await exchange(port, requestOf({ fields: { origin } })));
      const allowed = answer?.fields.find(([name]) => name === 'access-control-allow-origin')?.[1];
      expect([undefined, 'https://shop.example']).toContain(allowed);
    }
  });
});

test('a redirect leads to the name that was asked for, or nowhere', async () => {
  const { server: limits } = testSettings();
  const { port, stop } = await startRedirect({
    host: '127.0.0.1',
    port: 0,
    httpsPort: 443,
    limits,
    log: pino({ enabled: false }),
    clock: systemClock,
  });
  const requests = [
    ...values
      .filter((value) => !endsRequest(value))
      .map((value) => `GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`),
    ...values
      .filter((value) => !/[\r\n ]/.test(value))
      .map((value) => `GET /${value} HTTP/1.1\r\nHost: shop.example\r\n\r\n`),
    ...[
      'evil.example/',
      'a@evil.example',
      'a\\evil.example',
      'evil.example#',
      'evil.example?',
      '',
      ' ',
      '[::1',
      'a b',
    ].map((host) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`),
    ...['http://evil.example/', '*', 'evil.example', '\\\\evil.example'].map(
      (target) => `GET ${target} HTTP/1.1\r\nHost: shop.example\r\n\r\n`,
    ),
    'GET / HTTP/1.1\r\nHost: shop.example\r\nHost: evil.example\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Host: evil.example\r\n\r\n',
  ];
  for (const request of requests) {
    const text = await exchange(port, Buffer.from(request, 'utf8'));
    const location = answersIn(text)[0]?.fields.find(([name]) => name === 'location')?.[1];
    expect.soft(faultsOf(text.replaceAll(/X-Injected|<script/g, 'text')), request).toEqual([]);
    if (location !== undefined)
      expect.soft(location, request).toMatch(/^https:\/\/(shop\.example|canary-7f3a[\w.-]*)\/[\x21-\x7e]*$/);
  }
  await stop();
});

test('a broken answer is found', () => {
  expect(faultsOf('HTTP/1.1 200 OK\r\ndate: x\r\n\r\nbody')).toEqual([]);
  for (const head of ['X-Injected: 1', 'a: b\nc: d', 'a: \u0000', 'location: /X-Injected', 'a: b\rc'])
    expect(faultsOf(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`), head).not.toEqual([]);
  expect(faultsOf('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n')).not.toEqual([]);
});
