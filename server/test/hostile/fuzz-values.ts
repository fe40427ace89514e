import fc from 'fast-check';
import { sandboxCases } from '../../src/payments/connectors/sandbox.ts';
import { exampleOf, plain, type PlainSchema } from '../../src/lib/openapi/example.ts';
import { listOf } from '../setup/requests.ts';
import { words } from '../setup/spoilt.ts';
import type { Random } from './fuzz-random.ts';

/** Texts that programs trip over: encodings, directions, half characters, other languages' code. */
export const strangeTexts: readonly string[] = [
  // Nothing, and what looks like nothing.
  '',
  ' ',
  '\t\n',
  '\ufeff',
  'null',
  'undefined',
  'NaN',
  '-0',
  '1e3',
  '[object Object]',
  // Ends of lines and texts, terminals.
  '\u0000',
  '\u001b[2J\u0007',
  'a\r\nX-Injected: 1',
  '%00%0d%0a',
  '\\u0000',
  '\u2028',
  // Unicode.
  '\u202eabc',
  '\ud800',
  'x\udc00\ud800',
  '😀',
  '👩‍👩‍👧‍👦'.repeat(20),
  'e\u0301'.repeat(60),
  'İıßẞﬀ',
  '\uffff\ufdd0',
  '٣١',
  // Other languages' code.
  "' or 1=1 --",
  '"; drop table payments; --',
  '${jndi:ldap://x}',
  '{{7*7}}',
  '<script>x</script>',
  '$(id)',
  '../../etc/passwd',
  '__proto__',
  'constructor',
  'toString',
  // Lengths around the bounds.
  'x'.repeat(128),
  'x'.repeat(500),
  'x'.repeat(5_000),
];

const strangeNumbers = words(
  '0 -0 -1 1e400 -1e400 1e308 5e-324 1e21 1E+2 1e-7 0.1 0.005 1.0 1.00000000000000000001 9007199254740993 ' +
    '9223372036854775807 9223372036854775808 2147483648 -2147483649 123456789012345678901234567890 999999999999.99',
);

const strangeShapes = [
  ...words('null true false [] {} [[]] [null] {"":""} {"a":{"b":{"c":[1]}}} "" "0" [1,2,3]'),
  ...words('{"__proto__":{"admin":true}} {"constructor":{"prototype":{"admin":true}}} {"\\u005f_proto__":1}'),
  `${'['.repeat(63)}1${']'.repeat(63)}`,
  `${'{"a":'.repeat(70)}1${'}'.repeat(70)}`,
];

/** Members that no request has, and that an object or a row may have. */
const strangeMembers = words(
  '__proto__ constructor prototype toString id object tenant_id tenant mode role status version fee captured ' +
    'amount_captured_minor enabled vendor_id created_at is_admin $where',
);

/** JSON text of any value. */
export const strangeJson = (random: Random): string =>
  random.weighted([
    [3, () => JSON.stringify(random.pick(strangeTexts))],
    [3, () => random.pick(strangeNumbers)],
    [3, () => random.pick(strangeShapes)],
    [1, () => escaped(random.pick(strangeTexts))],
  ])();

/** A string with every UTF-16 unit escaped: another spelling of the same JSON. */
const escaped = (text: string): string =>
  `"${[...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`;

/** What a schema cannot say about its values, by the name of the field. */
export type Hints = Readonly<Record<string, ((random: Random) => unknown) | undefined>>;

const methods = [
  'book',
  'book',
  'book',
  'bank',
  ...Object.keys(sandboxCases).map((name) => `sandbox:${name}`),
];
// Those that keep a request waiting; a few of them are enough.
const quickMethods = methods.filter((method) => !/timeout|slow/.test(method));

let made = 0;

/** Values that make sense for the fields of this house; all others come from their schemas. */
const known: Hints = {
  amount: (random) => random.pick(['1', '10', '2', '100', 7, 12, 3, '1000', '5.50', 99.5, '0.01', '250.125']),
  currency: (random) => random.pick(words('USD USD USD EUR JPY KWD CLF')),
  payment_method: (random) => random.pick(random.chance(0.03) ? methods : quickMethods),
  slug: (random) => `fuzz-${random.below(1_000_000)}-${(made += 1)}`,
  email: (random) => `somebody.${random.below(400)}@example.com`,
  customer_email: (random) => `somebody.${random.below(400)}@example.com`,
  name: (random) => random.pick(['Ada', 'Ünal Ǆ', '李小龍', 'x'.repeat(200), '😀'.repeat(100)]),
  expires_at: (random) => random.pick(['2030-01-01T00:00:00Z', '2199-12-31T23:59:59.999+14:00']),
};

/** A value that a schema accepts, as far as a schema can tell. */
export const validValue = (random: Random, schema: PlainSchema, name: string, hints: Hints): unknown => {
  const hint = hints[name] ?? known[name];
  if (hint && random.chance(0.96)) return hint(random);
  const branches = listOf(schema['anyOf']).map(plain);
  if (branches.length > 0) return validValue(random, random.pick(branches), '', hints);
  if ('const' in schema) return schema['const'];
  if (Array.isArray(schema['enum'])) return random.pick(schema['enum']);
  const inner = (part: unknown, of: string): unknown => validValue(random, plain(part), of, hints);
  switch (schema['type']) {
    case 'object':
      return 'properties' in schema ? validObject(random, schema, inner) : validMap(random, schema, inner);
    case 'array':
      return Array.from({ length: random.below(3) }, () => inner(schema['items'], name));
    case 'integer':
    case 'number':
      return between(random, Number(schema['minimum'] ?? -1000), Number(schema['maximum'] ?? 1000));
    case 'boolean':
      return random.chance(0.5);
    case 'null':
      return null;
    default:
      return validText(random, schema);
  }
};

type Inner = (part: unknown, of: string) => unknown;

const validObject = (random: Random, schema: PlainSchema, inner: Inner): object => {
  const required = listOf(schema['required']);
  const names = Object.entries(plain(schema['properties'])).filter(
    ([name]) => required.includes(name) || random.chance(0.35),
  );
  const members = Object.fromEntries(names.map(([name, part]) => [name, inner(part, name)]));
  // A name goes with an address, and either with an id: what no schema says.
  if (random.chance(0.9)) {
    if ('customer_id' in members) delete members['customer_email'];
    if (!('customer_email' in members)) delete members['customer_name'];
  }
  return members;
};

const validMap = (random: Random, schema: PlainSchema, inner: Inner): object => {
  const [[pattern, values] = ['', schema['additionalProperties']]] = Object.entries(
    plain(schema['patternProperties']),
  );
  const count = random.weighted([
    [8, random.below(4)],
    [1, Number(schema['maxProperties'] ?? 10)],
  ]);
  const names = pattern === '' ? ['order', 'k', '😀', '"', 'a.b'] : matching(pattern);
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      pattern === '' ? `${random.pick(names)}${index}` : random.pick(names),
      inner(values, ''),
    ]),
  );
};

const between = (random: Random, least: number, most: number): number =>
  random.weighted([
    [6, least + random.below(most - least + 1)],
    [1, least],
    [1, most],
  ]);

const validText = (random: Random, schema: PlainSchema): string => {
  const lengthMax = Number(schema['maxLength'] ?? 100);
  if (schema['format'] === 'date-time')
    return random.pick(words('2026-11-22T08:00:00Z 2020-02-29T23:59:59.999+14:00 1970-01-01T00:00:00-12:00'));
  if (typeof schema['pattern'] === 'string')
    return random.pick(matching(schema['pattern'])).slice(0, lengthMax);
  return random.weighted([
    [4, String(exampleOf(schema))],
    [1, '😀'.repeat(lengthMax)],
    [1, 'x'.repeat(lengthMax)],
    [2, random.pick(odd).slice(0, lengthMax)],
  ]);
};

/** Texts that every field of free text takes. */
const odd = ['a\tb\nc', '\u202eabc', '<b>', "'; --", '👩‍👩‍👧‍👦', 'e\u0301', '{"level":"fatal"}', '\\u0000', 'ﬀ'];

const matches = new Map<string, readonly string[]>();

/** Texts of a pattern, always the same. */
const matching = (pattern: string): readonly string[] => {
  const texts =
    matches.get(pattern) ?? fc.sample(fc.stringMatching(new RegExp(pattern)), { seed: 1, numRuns: 40 });
  matches.set(pattern, texts);
  return texts;
};

/** JSON text that differs from a valid value in a place or two. */
export const nearlyValid = (random: Random, value: unknown): string => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return strangeJson(random);
  let members = Object.entries(value).map(([name, member]) => [name, JSON.stringify(member)] as const);
  for (let left = 1 + random.below(2); left > 0; left -= 1) members = changed(random, members);
  const text = `{${members.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join()}}`;
  return random.weighted([
    [12, text],
    [1, text.slice(0, random.below(text.length))],
    [1, `${text}${random.pick(['x', '}', ',', '{}', '\u0000', '\u2028'])}`],
    [1, `\ufeff${text}`],
    [1, ` \t\r\n${text}\n`],
  ]);
};

type Members = (readonly [name: string, json: string])[];

const changed = (random: Random, members: Members): Members => {
  const at = random.below(members.length);
  const [name, json] = members[at] ?? ['a', '1'];
  return random.weighted<() => Members>([
    [4, () => members.toSpliced(at, 1, [name, strangeJson(random)])],
    [2, () => members.toSpliced(at, 1)],
    [2, () => [...members, [random.pick(strangeMembers), strangeJson(random)]]],
    [1, () => [...members, [name, strangeJson(random)]]],
    [1, () => [[name, strangeJson(random)], ...members]],
    [1, () => members.toSpliced(at, 1, [name.toUpperCase(), json])],
    [1, () => members.toSpliced(at, 1, [`${name}[]`, json])],
  ])();
};
