import { newId } from '../../src/lib/ids.ts';
import type { Operation, Parameter, Sent } from '../setup/requests.ts';
import { words } from '../setup/spoilt.ts';
import type { Holder, Memory } from './fuzz-memory.ts';
import type { Random } from './fuzz-random.ts';
import { nearlyValid, strangeJson, strangeTexts, validValue, type Hints } from './fuzz-values.ts';

/** One request of the fuzz, without the server it goes to. */
export type Shot = Omit<Sent, 'url'> & {
  operation: Operation;
  path: string;
  headers: Record<string, string | string[]>;
  holder: Holder;
  /** Whose objects the answer may show; undefined when the request leaves that open. */
  tenant: string | undefined;
};

type Aim = { random: Random; memory: Memory; operation: Operation; holder: Holder };

/** Makes the next request: an operation, somebody who calls it, and values that are valid, nearly so, or nonsense. */
export const nextShot = (random: Random, memory: Memory, operations: readonly Operation[]): Shot => {
  const drawn = random.pick(operations);
  // Probes have little to say, and reads less than writes; another draw makes them rarer.
  const isDull = drawn.isProbe ? random.chance(0.8) : drawn.method === 'GET' && random.chance(0.4);
  const operation = isDull ? random.pick(operations) : drawn;
  const succeeded = [...(memory.succeeded.get(operation.id) ?? [])];
  // Who is refused for the role or for being a vendor gets no further, so mostly it is somebody whom it worked for.
  const holder = random.pick(succeeded.length > 0 && random.chance(0.6) ? succeeded : memory.holders);
  const aim = { random, memory, operation, holder };
  const headers = { ...credentialsFor(aim), ...parametersIn(aim, 'header'), ...strangeHeaders(aim) };
  const body = bodyFor(aim, headers);
  const isHolders = Object.entries(holder.headers).every(([name, value]) => headers[name] === value);
  return {
    operation,
    holder,
    // A vendor can only name itself; a platform key says by this field whom it acts for.
    tenant: isHolders && !('Florin-Vendor' in headers) ? holder.tenant : undefined,
    method: operation.method,
    path: pathFor(aim) + queryFor(aim),
    headers,
    body,
    chunked: body !== undefined && random.chance(0.1),
  };
};

/** A client address of its own for nearly every request, so that guesses of credentials are not slowed down. */
const addressOf = (random: Random): string =>
  `10.${random.below(256)}.${random.below(256)}.${random.below(256)}`;

const credentialsFor = ({ random, operation, holder }: Aim): Shot['headers'] => {
  const address = { 'x-forwarded-for': addressOf(random) };
  if (operation.isPublic && random.chance(0.6)) return address;
  return random.weighted<Shot['headers']>([
    [60, { ...holder.headers, ...address }],
    [1, address],
    [1, { ...holder.headers, ...address, 'x-api-key': random.pick(printable) }],
    [1, { ...address, authorization: `Bearer ${random.pick(printable)}` }],
    [1, { ...address, 'x-client-id': 'test_client_id', 'x-client-secret': random.pick(printable) }],
    [1, { ...address, 'x-client-id': random.pick(printable) }],
  ]);
};

/** Texts that a client can put into a header field at all. */
const printable = [
  ...strangeTexts.filter((text) => /^[\x20-\x7e\xa0-\xff]*$/.test(text)),
  'clé',
  'a'.repeat(3_000),
];

/** What the schemas do not tell: credentials, and objects that exist. */
const hintsFor = ({ memory, operation, holder }: Aim): Hints => ({
  customer_id: (random) => memory.id(random, 'cus', holder.tenant) ?? newId('customer'),
  cursor: (random) => memory.cursor(random, operation.id) ?? 'W10',
  object: (random) =>
    memory.id(random, random.pick(['pay', 'cus', 'ref']), holder.tenant) ?? newId('payment'),
  ...(operation.isPublic && {
    client_id: () => holder.headers['x-client-id'] ?? 'test_client_id',
    client_secret: () => holder.headers['x-client-secret'] ?? 'test_client_secret',
    token: () => holder.headers['authorization']?.slice('Bearer '.length) ?? 'a.b.c',
  }),
});

const parametersIn = (aim: Aim, place: Parameter['in']): Shot['headers'] => {
  const { random, memory, operation } = aim;
  const given: Shot['headers'] = {};
  for (const { name, schema } of operation.parameters.filter((each) => each.in === place)) {
    if (name === 'Idempotency-Key') {
      const key = random.weighted([
        [5, undefined],
        [3, `k-${random.below(1e9)}`],
        [2, memory.keys.length > 0 ? random.pick(memory.keys) : 'k'],
        [1, random.pick(printable)],
      ]);
      if (key !== undefined) given[name] = key;
      if (key !== undefined && random.chance(0.3)) memory.keys.splice(0, memory.keys.length - 50, key);
      continue;
    }
    const likely = place === 'query' ? 0.3 : 0.08;
    if (!random.chance(likely)) continue;
    const value = random.chance(0.75)
      ? String(validValue(random, schema, name, hintsFor(aim)))
      : random.pick(place === 'header' ? printable : strangeTexts);
    given[name] = place === 'header' ? value.replaceAll(/[^\x20-\x7e\xa0-\xff]/g, '?') : value;
  }
  return given;
};

/** Header fields that anybody may send with anything. */
const strangeHeaders = ({ random }: Aim): Shot['headers'] => {
  const one = (): Shot['headers'] => ({
    [random.pick(extraHeaders)]: random.chance(0.2)
      ? [random.pick(printable), random.pick(printable)]
      : random.pick([
          ...printable,
          'null',
          '*/*',
          'gzip, br',
          'application/xml',
          'https://shop.example',
          '1'.repeat(64),
        ]),
  });
  return random.weighted<() => Shot['headers']>([
    [28, () => ({})],
    [8, one],
    [1, () => ({ ...one(), ...one(), ...one() })],
    [
      1,
      () =>
        Object.fromEntries(
          Array.from({ length: random.pick([60, 60, 120]) }, (_, index) => [`x-${index}`, '1']),
        ),
    ],
  ])();
};

const extraHeaders = words(
  'x-request-id traceparent tracestate origin accept accept-encoding accept-language user-agent referer cookie ' +
    'x-forwarded-for x-forwarded-proto x-forwarded-host x-real-ip forwarded x-http-method-override x-original-url ' +
    'florin-service-token florin-tenant x-tenant-id x-role if-match if-none-match if-modified-since range prefer ' +
    'dry-run content-language access-control-request-method sec-fetch-site date te via x-wallet-id',
);

const pathFor = (aim: Aim): string => {
  const { random, memory, operation, holder } = aim;
  return operation.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const { schema } = operation.parameters.find((each) => each.in === 'path' && each.name === name) ?? {};
    const [, prefix = 'pay'] = /^\^([a-z]+)_/.exec(String(schema?.['pattern'])) ?? [];
    const known = memory.id(random, prefix, holder.tenant);
    const isUsable = known !== undefined && (operation.method === 'GET' || !memory.isSpared(known));
    if (isUsable && random.chance(0.9)) return known;
    return random.weighted([
      [4, newId('payment').replace('pay', prefix)],
      [2, memory.id(random, random.pick(['pay', 'cus', 'key']), holder.tenant) ?? 'x'],
      [1, (known ?? 'x').toUpperCase()],
      [2, encodeURIComponent(random.pick(strangeTexts).toWellFormed()) || 'x'],
      [1, random.pick(words('%ff %zz % %00 %2e%2e %2f ; x;y=1 %c0%af * ~ @ : {id} pay_ _ 0 -1 a%20b'))],
    ]);
  });
};

const queryFor = (aim: Aim): string => {
  const { random, operation } = aim;
  const pairs = Object.entries(parametersIn(aim, 'query')).map(
    ([name, value]) => `${name}=${encodeURIComponent(String(value).toWellFormed())}`,
  );
  if (random.chance(0.05)) pairs.push(...random.pick(strangePairs));
  if (random.chance(0.02)) pairs.push(...pairs.slice(0, 1));
  return pairs.length > 0 || (operation.method === 'GET' && random.chance(0.01)) ? `?${pairs.join('&')}` : '';
};

const strangePairs = [
  ...words(
    'limit=0 limit=-1 limit=1e2 limit[]=1 limit=%00 =1 & && %zz=1 a=%ff __proto__[x]=1 constructor=1 dry_run=1',
  ),
  `${'n'.repeat(4_000)}=1`,
  'limit=1;cursor=2',
  'tenant_id=1',
].map((pair) => [pair]);

/** A body, mostly where one is expected; its content type goes into the header fields. */
const bodyFor = (aim: Aim, headers: Shot['headers']): string | Buffer | undefined => {
  const { random, operation } = aim;
  const isExpected = operation.body !== undefined;
  if (!random.chance(isExpected ? 0.96 : 0.04)) return undefined;
  if (operation.isPublic && ('x-client-id' in headers || 'authorization' in headers) && random.chance(0.8))
    return undefined;
  const value = operation.body ? validValue(random, operation.body, '', hintsFor(aim)) : { a: 1 };
  const body = random.weighted<() => string | Buffer>([
    [55, () => JSON.stringify(value)],
    [35, () => nearlyValid(random, value)],
    [3, () => strangeJson(random)],
    [2, () => random.pick(brokenBodies)],
    [1, () => Buffer.from(Array.from({ length: random.below(64) }, () => random.below(256)))],
    [1, () => Buffer.from(JSON.stringify(value), 'utf16le')],
  ])();
  const [type, coding] = random.weighted<[type: string | undefined, coding?: string]>([
    [60, ['application/json']],
    [3, ['application/json; charset=utf-8']],
    [1, ['APPLICATION/JSON;charset="UTF-8"']],
    [1, ['application/merge-patch+json']],
    [
      1,
      [
        random.pick(
          words('text/plain application/xml multipart/form-data json */* application/json,text/plain ;'),
        ),
      ],
    ],
    [1, [undefined]],
    [1, ['application/json', random.pick(words('gzip br deflate identity zstd x-gzip gzip,gzip'))]],
  ]);
  if (type !== undefined) headers['content-type'] = type;
  if (coding !== undefined) headers['content-encoding'] = coding;
  return body;
};

const brokenBodies: readonly (string | Buffer)[] = [
  ...words('{ } [ ] " {"a" {"a": {"a":1,} {a:1} nul tru 01 +1 .5 1. 0x1 NaN Infinity // /**/'),
  '',
  ' ',
  '\u0000',
  '['.repeat(100_000),
  `{"a":"${'x'.repeat(200_000)}"}`,
  `{${Array.from({ length: 20_000 }, (_, index) => `"k${index}":1`).join()}}`,
  'x'.repeat(1024 * 1024 + 1),
  Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
];
