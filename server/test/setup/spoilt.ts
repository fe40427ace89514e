import { Compile } from 'typebox/schema';
import { exampleOf, plain, type PlainSchema } from '../../src/lib/openapi/example.ts';
import { listOf } from './requests.ts';

/** A value that a field must refuse, as JSON text, and the fields that the refusal may name. */
export type Spoilt = { what: string; json: string; fields: readonly string[] };

/** One that is certainly bad, or else bad only if the schema says so. */
type Candidate = Spoilt & { certain: boolean };

/** Words of a text, for lists. */
export const words = (text: string): string[] => text.split(' ');

export const cardNumbers = ['4242 4242 4242 4242', '4242-4242-4242-4242', '4242424242424242'];

/** Times that RFC 3339 allows and that cannot be kept: a leap second, and what is the year 10000 in UTC. */
export const edgesOfTime = ['2026-12-31T23:59:60Z', '9999-12-31T23:59:59-23:59'];

/** Credentials of the demo vendors, which no log may show. */
export const secrets = ['test-key', 'test_client_secret'];

const anyTypes = words('0 -1.5 1e30 1e400 "text" true null [] ["text"] [[]] {} {"text":1} {"text":{}}');
const deep = [100, 10_000].flatMap((depth) => [
  `${'['.repeat(depth)}${']'.repeat(depth)}`,
  `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
]);
const poisons = words('{"__proto__":{"x":"y"}} {"\\u005f_proto__":{}} {"constructor":{"prototype":{}}}');

/**
 * Bad values for a schema of the document: what the schema itself refuses, and what no field may take, such as control
 * characters and card numbers. A kind of schema that is not known here fails, so that nobody forgets to test it.
 * @param where the path of the field; empty for a whole body
 */
export const spoil = (schema: PlainSchema, where = ''): Spoilt[] => {
  const validator = Compile(schema);
  const candidates = [
    ...anyTypes.map((json) => bad(where, json, json)),
    ...deep.map((json) => tooDeep(where, json)),
    ...branchesOf(schema).flatMap((branch) => candidatesOf(branch, where)),
  ];
  return candidates.filter(({ certain, json }) => certain || !validator.Check(JSON.parse(json)));
};

const bad = (where: string, what: string, json: string, certain = false): Candidate => ({
  what: `${where || 'body'}: ${what}`,
  json,
  fields: [where],
  certain,
});

/** A large body that nests too deep is refused as a whole, before it is parsed (`lib/http/shape.ts`). */
const tooDeep = (where: string, json: string): Candidate => {
  const candidate = bad(where, `${json.slice(0, 10)}… ${json.length} characters deep`, json);
  return json.length > 16_384 ? { ...candidate, fields: [where, 'body'] } : candidate;
};

const branchesOf = (schema: PlainSchema): PlainSchema[] =>
  Array.isArray(schema['anyOf']) ? schema['anyOf'].flatMap((branch) => branchesOf(plain(branch))) : [schema];

/** The bound that a schema sets, or the advice to set one: everything a caller may send is bounded. */
const boundOf = (schema: PlainSchema, keyword: string, where: string): number => {
  if (typeof schema[keyword] === 'number') return schema[keyword];
  throw new Error(`${where || 'body'} has no ${keyword}: give it one in its schema`);
};

const candidatesOf = (schema: PlainSchema, where: string): Candidate[] => {
  if (Array.isArray(schema['enum'])) return [bad(where, 'none of the choices', '"nonsense"')];
  switch (schema['type']) {
    case 'string':
      return badTexts(schema, where);
    case 'integer':
    case 'number': {
      const limits = [schema['minimum'], schema['maximum']].filter((limit) => typeof limit === 'number');
      return limits
        .flatMap((limit) => [limit - 1, limit + 1])
        .map((each) => bad(where, `${each}`, `${each}`));
    }
    case 'boolean':
    case 'null':
      return [];
    case 'array': {
      const items = plain(schema['items']);
      const many = Array.from({ length: boundOf(schema, 'maxItems', where) + 1 }, () =>
        validOf(items, where),
      );
      const each = spoil(items, `${where}.0`).map((one) => ({
        ...one,
        json: `[${one.json}]`,
        certain: true,
      }));
      return [bad(where, 'too many items', `[${many.join()}]`), ...each];
    }
    case 'object':
      return 'properties' in schema ? badMembers(schema, where) : badMaps(schema, where);
    default:
      throw new Error(
        `No bad values are known for ${where}, ${JSON.stringify(schema)}: add its kind in setup/spoilt.ts`,
      );
  }
};

const badTexts = (schema: PlainSchema, where: string): Candidate[] => {
  const lengthMax = boundOf(schema, 'maxLength', where);
  const example = String(exampleOf(schema));
  const refusable = {
    empty: '',
    blank: ' ',
    'too long': example + 'x'.repeat(lengthMax + 1 - example.length),
    'far too long': 'x'.repeat(100_000),
    'too long in combining marks': `${example}${'\u0301'.repeat(lengthMax)}`,
  };
  const certain = {
    ...Object.fromEntries(
      ['\u0000', '\u0007', '\u001b', '\u0085', '\ud800'].map((sign) => [
        JSON.stringify(sign),
        example + sign,
      ]),
    ),
    ...Object.fromEntries(cardNumbers.map((card) => [`a card number ${card}`, card])),
    'a card number in a text': `Card ${cardNumbers[0]}, please`,
    'secrets and a control character': `${secrets.join(' ')}\u0000`,
    ...Object.fromEntries((schema['format'] === 'date-time' ? edgesOfTime : []).map((time) => [time, time])),
  };
  return [
    ...Object.entries(refusable).map(([what, text]) => bad(where, what, JSON.stringify(text))),
    ...Object.entries(certain).map(([what, text]) => bad(where, what, JSON.stringify(text), true)),
  ];
};

/** An object whose members have names that the caller chooses. */
const badMaps = (schema: PlainSchema, where: string): Candidate[] => {
  const [example] = Object.entries(plain(exampleOf(schema)));
  if (!example) throw new Error(`${where} needs an example in its schema`);
  const [name, value] = example;
  const inner = plain(Object.values(plain(schema['patternProperties']))[0] ?? schema['additionalProperties']);
  const named = (given: string): string => objectText({ [given]: JSON.stringify(value) });
  const many = Array.from({ length: boundOf(schema, 'maxProperties', where) + 1 }, (_, index) => [
    `K${index}`,
    '"v"',
  ]);
  const names = [
    ...cardNumbers,
    '\u0007',
    '\ud800',
    '',
    'K'.repeat(5_000),
    `${'K'.repeat(59)}😀${'K'.repeat(9)}`,
  ];
  const long = `${`{"${'n'.repeat(60)}":`.repeat(60)}"\\u0000"${'}'.repeat(60)}`;
  return [
    ...spoil(inner, inside(where, name)).map((one) => ({
      ...one,
      json: objectText({ [name]: one.json }),
      certain: true,
    })),
    bad(where, 'too many members', objectText(Object.fromEntries(many))),
    ...names.map((given) => bad(where, `a member ${JSON.stringify(given).slice(0, 70)}`, named(given), true)),
    bad(where, 'a control character deep inside long names', long, true),
    ...poisons.map((json) => ({ ...bad(where, json, json, true), fields: [where, 'body'] })),
  ];
};

const badMembers = (schema: PlainSchema, where: string): Candidate[] => {
  if (schema['additionalProperties'] !== false)
    throw new Error(`${where || 'body'} takes unknown members: close it`);
  const members = validMembers(schema, where);
  const withMember = (name: string, json: string | undefined): string =>
    objectText({ ...members, [name]: json });
  const unknown = [...words('nonsense constructor toString'), 'n'.repeat(5_000), `${'n'.repeat(59)}😀`];
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`unknown_${index}`, '1']));
  const parts = Object.entries(plain(schema['properties'])).flatMap(([name, property]) =>
    spoil(plain(property), inside(where, name)).map((one) => ({
      ...one,
      json: withMember(name, one.json),
      certain: true,
    })),
  );
  return [
    ...parts,
    ...listOf(schema['required']).map((name) =>
      bad(inside(where, String(name)), 'missing', withMember(String(name), undefined)),
    ),
    // A long name is shortened where it is named.
    ...unknown.map((name) =>
      bad(
        name.length > 50 ? where : inside(where, name),
        `unknown ${name.slice(0, 70)}`,
        withMember(name, '1'),
      ),
    ),
    bad(where, '10,000 unknown members', objectText({ ...members, ...many })),
    ...poisons.map((json) => ({ ...bad(where, json, json), fields: [where, 'body'] })),
  ];
};

const inside = (where: string, name: string): string => (where === '' ? name : `${where}.${name}`);

/** An object from the JSON texts of its members. */
export const objectText = (members: Record<string, string | undefined>): string => {
  const given = Object.entries(members).filter(([, json]) => json !== undefined);
  return `{${given.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join()}}`;
};

/** The members that an object needs at least to be accepted, as JSON texts. */
export const validMembers = (schema: PlainSchema, where = ''): Record<string, string> => {
  const [first = {}] = branchesOf(schema);
  const properties = plain(first['properties']);
  const required = listOf(first['required']).map(String);
  const least = Number(first['minProperties'] ?? 0);
  const needed = required.length >= least ? required : Object.keys(properties).slice(0, least);
  return Object.fromEntries(
    needed.map((name) => [name, validOf(plain(properties[name]), inside(where, name))]),
  );
};

let addresses = 0;

/** A value that a schema accepts, as JSON text; an email address is another one each time. */
const validOf = (schema: PlainSchema, where: string): string => {
  const [first = {}] = branchesOf(schema);
  if (first['format'] === 'email') return JSON.stringify(`somebody.${(addresses += 1)}@example.com`);
  if (first['type'] === 'object' && 'properties' in first) return objectText(validMembers(first, where));
  const value = exampleOf(first);
  if (!Compile(schema).Check(value)) throw new Error(`${where} needs an example in its schema`);
  return JSON.stringify(value);
};
