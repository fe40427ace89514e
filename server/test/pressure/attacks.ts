import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { sendRaw, type Outcome } from './wire.ts';

/** An attack on a port, and the answers it may get; a connection that is only closed has none. */
export type Attack = {
  name: string;
  statuses: readonly string[];
  /** Whether it lasts until the server ends it. */
  isSlow?: boolean;
  run(port: number): Promise<readonly Outcome[]>;
};

/** The settings under which slow attacks end within seconds. They are longer in production. */
export const shortLimits = {
  SERVER_HEADERS_TIMEOUT_MS: '1000',
  SERVER_REQUEST_TIMEOUT_MS: '2000',
  SERVER_KEEP_ALIVE_TIMEOUT_MS: '1500',
};

const credential = 'x-api-key: test-key\r\n';
const get = `GET /api/v1/payments?limit=1 HTTP/1.1\r\nhost: a\r\n${credential}`;
const post = `POST /api/v1/payments HTTP/1.1\r\nhost: a\r\n${credential}content-type: application/json\r\n`;

const many = <Value>(count: number, make: (index: number) => Value): Promise<Awaited<Value>[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => make(index)));

const withBody = (body: string | Buffer, fields = ''): Buffer =>
  Buffer.concat([
    Buffer.from(`${post}${fields}connection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`),
    Buffer.from(body),
  ]);

/** Connections that last: each occupies the server for as long as it lets them. */
const slow: readonly Attack[] = [
  {
    name: '500 clients whose header fields come byte by byte',
    statuses: ['408'],
    run: (port) => many(500, () => sendRaw(port, get, { drip: { bytes: 'x-slow: 1\r\n', everyMs: 250 } })),
  },
  {
    name: '500 clients whose bodies come byte by byte',
    statuses: ['408'],
    run: (port) =>
      many(500, () =>
        sendRaw(port, `${post}content-length: 100000\r\n\r\n{"a":"`, { drip: { bytes: 'x', everyMs: 250 } }),
      ),
  },
  {
    name: '500 clients whose chunks come byte by byte',
    statuses: ['408'],
    run: (port) =>
      many(500, () =>
        sendRaw(port, `${post}transfer-encoding: chunked\r\n\r\n`, {
          drip: { bytes: '1\r\nx\r\n', everyMs: 250 },
        }),
      ),
  },
  {
    name: '2,000 connections that say nothing',
    statuses: [],
    run: (port) => many(2_000, () => sendRaw(port, '')),
  },
  {
    name: '2,000 connections that stay after one request',
    statuses: ['200', '503', '408'],
    run: (port) => many(2_000, () => sendRaw(port, 'GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n')),
  },
  {
    name: '50 clients that do not read their answers',
    statuses: [],
    run: (port) =>
      many(50, () =>
        sendRaw(port, 'GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(12), { isDeaf: true }),
      ),
  },
];

/** Requests that are larger than anybody needs. */
const large: readonly Attack[] = [
  {
    name: '100,000 header fields',
    statuses: ['431'],
    run: (port) => many(20, () => sendRaw(port, `${get}${'a: b\r\n'.repeat(100_000)}\r\n`)),
  },
  {
    name: 'a header field of a megabyte',
    statuses: ['431'],
    run: (port) => many(20, () => sendRaw(port, `${get}a: ${'b'.repeat(1_000_000)}\r\n\r\n`)),
  },
  {
    name: 'a URL of a megabyte',
    statuses: ['431'],
    run: (port) => many(20, () => sendRaw(port, `GET /${'a'.repeat(1_000_000)} HTTP/1.1\r\nhost: a\r\n\r\n`)),
  },
  {
    name: 'a URL of 15,000 bytes, in one name and in thousands',
    statuses: ['404', '400'],
    run: (port) =>
      many(200, (index) => {
        const path = (index % 2 === 0 ? 'a' : 'a/').repeat(15_000).slice(0, 15_000);
        return sendRaw(
          port,
          `GET /api/v1/payments/${path} HTTP/1.1\r\nhost: a\r\n${credential}connection: close\r\n\r\n`,
        );
      }),
  },
  {
    name: 'a body of a gigabyte',
    statuses: ['413'],
    run: (port) =>
      many(50, () => sendRaw(port, `${post}content-length: 1000000000\r\n\r\n${'a'.repeat(100_000)}`)),
  },
  {
    name: 'chunks without end',
    statuses: ['413'],
    run: (port) => {
      const chunk = `10000\r\n${'a'.repeat(0x10000)}\r\n`;
      return many(20, () => sendRaw(port, `${post}transfer-encoding: chunked\r\n\r\n${chunk.repeat(40)}`));
    },
  },
];

const zeros = Buffer.alloc(50_000_000);

/** Small or valid bodies that grow, or take long to read. All have less than a megabyte. */
const bombs: readonly Attack[] = [
  ...Object.entries({
    gzip: gzipSync(zeros),
    deflate: deflateSync(zeros),
    br: brotliCompressSync(zeros),
    'gzip, gzip': gzipSync(gzipSync(zeros)),
  }).map(([encoding, body]) => ({
    name: `50 MB of zeros as ${encoding}`,
    statuses: ['415'],
    run: (port: number) => many(50, () => sendRaw(port, withBody(body, `content-encoding: ${encoding}\r\n`))),
  })),
  ...Object.entries({
    'arrays, 500,000 deep': '['.repeat(500_000) + ']'.repeat(500_000),
    'objects, 100,000 deep': '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000),
    'arrays that never end': '['.repeat(1_000_000),
    '120,000 members': object(120_000, (index) => `m${index}`),
    '100,000 times the same member': object(100_000, () => 'amount'),
    '25,000 metadata': `{"metadata":${object(25_000, (index) => `member-${index}`)}}`,
    '500,000 items': `[${'1,'.repeat(500_000)}1]`,
    'a number of 900,000 digits': `{"amount":${'9'.repeat(900_000)}}`,
    'a number beyond all bounds': '{"amount":1e999999999}',
    'a text of 900,000 characters': `{"amount":"10.00","currency":"USD","reference":"${'x'.repeat(900_000)}"}`,
    'a text of 900,000 digits': `{"amount":"10.00","currency":"USD","reference":"${'4'.repeat(900_000)}"}`,
    '900,000 escapes': `{"reference":"${'\\u0041'.repeat(150_000)}"}`,
    '60,000 texts of digits': `[${'"4111 1111 111",'.repeat(60_000)}1]`,
    prototypes: `{"a":[${'{"__proto__":{}},'.repeat(50_000)}1]}`,
  }).map(([name, body]) => ({
    name: `JSON: ${name}`,
    statuses: ['400', '413'],
    run: (port: number) => many(20, () => sendRaw(port, withBody(body))),
  })),
];

/** Floods that cost their sender little. */
const floods: readonly Attack[] = [
  {
    name: '20 connections with 2,000 requests at once',
    statuses: ['401', '503'],
    run: (port) => {
      const one = 'GET /api/v1/payments HTTP/1.1\r\nhost: a\r\n\r\n';
      const last = 'GET /api/v1/payments HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n';
      return many(20, () => sendRaw(port, one.repeat(1_999) + last));
    },
  },
];

export const attacks: readonly Attack[] = [
  ...slow.map((attack) => ({ ...attack, isSlow: true })),
  ...large,
  ...bombs,
  ...floods,
];

function object(count: number, nameOf: (index: number) => string): string {
  return `{${Array.from({ length: count }, (_, index) => `"${nameOf(index)}":1`).join()}}`;
}
