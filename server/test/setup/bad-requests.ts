import { plain, type PlainSchema } from '../../src/lib/openapi/example.ts';
import { isNumber, pathOf, prefixOf, type Good } from './good-requests.ts';
import type { Operation, Parameter, Sent } from './requests.ts';
import { cardNumbers, edgesOfTime, objectText, spoil, validMembers, words } from './spoilt.ts';

/** One bad request: how it differs from a good one, and how it has to be refused. */
export type Bad = {
  what: string;
  change: Partial<Pick<Sent, 'headers' | 'body' | 'chunked'>> & { path?: string };
  /** 400 unless told. */
  statuses?: readonly number[];
  /** The fields that a 400 may name: any for an empty text, and it need not name one if the list is empty. */
  fields?: readonly string[];
};

/** The header fields of a JSON body. */
export const json = { 'content-type': 'application/json' };
const bodyLimitBytes = 1024 * 1024;
const base64url = (text: string): string => Buffer.from(text).toString('base64url');

/** The bad requests of one operation that have no amount in them. */
export const badRequests = (operation: Operation, good: Good, cursors: readonly string[]): Bad[] => {
  const parametersIn = (place: Parameter['in']) => operation.parameters.filter((each) => each.in === place);
  return [
    ...parametersIn('path').flatMap((parameter) => badPaths(parameter, operation, good)),
    ...parametersIn('query').flatMap((parameter) => badQueries(parameter, good, cursors)),
    ...(parametersIn('query').length > 0 ? strangeQueries(good) : []),
    ...parametersIn('header').flatMap((parameter) => badHeaders(parameter, operation)),
    ...(operation.body ? badBodies(operation.body) : []),
    ...(operation.method === 'GET' ? [] : unreadableBodies(good)),
  ];
};

const badPaths = (parameter: Parameter, operation: Operation, { ids }: Good): Bad[] => {
  const { name } = parameter;
  const id = ids[name] ?? '';
  if (isNumber(parameter))
    return words('0 -1 01 1.0 1e0 +1 %201 x 999999999 9999999999 null').map((segment) => ({
      what: `path ${name} ${segment}`,
      change: { path: pathOf(operation, { ...ids, [name]: segment }) },
      statuses: [404],
      fields: [],
    }));
  const prefix = prefixOf(parameter);
  const foreign = prefix === 'pay_' ? 'cus_' : 'pay_';
  const unknown = [prefix, foreign].flatMap((each) => [
    `${each}${'0'.repeat(26)}`,
    `${each}7${'z'.repeat(25)}`,
  ]);
  const coded = words('%00 %07 %1b %20 %0a %2f %F0%9F%92%A9 %27%3B--');
  const others = [
    'x',
    id.toUpperCase(),
    `${id}0`,
    id.slice(0, -1),
    'x'.repeat(5_000),
    ...coded,
    ...coded.map((code) => id + code),
  ];
  const at = (segment: string, statuses: number[]): Bad => ({
    what: `path ${name} ${segment.slice(0, 60)}`,
    change: { path: pathOf(operation, { ...ids, [name]: segment }) },
    statuses,
    fields: [],
  });
  return [
    ...[...unknown, ...others].map((segment) => at(segment, [404])),
    // These make another path, or none at all.
    ...['', ...words('. .. %2e%2e %ff %ed%a0%80 % %zz')].map((segment) => at(segment, [400, 404, 405])),
  ];
};

const strangeQueries = ({ path }: Good): Bad[] => [
  ...[...words('nonsense __proto__ constructor toString limit[a] %e2%82%ac'), 'n'.repeat(300)].map(
    (name) => ({
      what: `query ${name.slice(0, 20)}: unknown`,
      change: { path: `${path}?${name}=1` },
      fields: [decodeURIComponent(name), `${name.slice(0, 60)}…`],
    }),
  ),
  ...words('limit%00=1 %07=1 limit=%ff limit=%ed%a0%80 limit=% limit=%zz').map((query) => ({
    what: `query ${query}`,
    change: { path: `${path}?${query}` },
    fields: ['query'],
  })),
];

const badQueries = ({ name, schema }: Parameter, { path }: Good, cursors: readonly string[]): Bad[] => {
  const at = (text: string, statuses = [400]): Bad => ({
    what: `query ${name}=${text.slice(0, 40)}`,
    change: { path: `${path}?${name}=${text}` },
    statuses,
    fields: [name],
  });
  const always = words(`%00 %07 %1b a%00b 1&${name}=2`).map((text) => at(text));
  if (name === 'cursor') {
    const [own = '', ...others] = cursors;
    const positions = words(
      'null {} [] [1] [null] ["x"] [["x"]] ["0"] ["-1"] ["99999999999999999999"] ["1","2"] "x"',
    );
    // The same position, written in another way than ours.
    const spaced = base64url(` ${Buffer.from(own, 'base64url').toString()}`);
    const tampered = [
      `${own}A`,
      `${own}=`,
      own.slice(0, -1),
      own.slice(1),
      spaced,
      '',
      'x',
      '!',
      'a'.repeat(501),
    ];
    return [...always, ...[...positions.map(base64url), ...tampered, ...others].map((text) => at(text))];
  }
  if (schema['type'] === 'integer') {
    const outside = [Number(schema['minimum']) - 1, Number(schema['maximum']) + 1].map(String);
    const texts = words('abc %20 1.5 1e1 0x10 %2b5 %205 5%20 %D9%A3 null true [] 1_0 NaN Infinity');
    return [...always, ...['', '9'.repeat(40), ...texts, ...outside].map((text) => at(text))];
  }
  if (schema['type'] !== 'string') {
    throw new Error(`No bad values are known for the query parameter ${name}: add its kind to badQueries`);
  }
  // What a string refuses in a body, it refuses in a query; but there everything is text, and nothing of it is kept.
  const texts = spoil(schema, name).flatMap(({ json: text, what }) => {
    const value: unknown = JSON.parse(text);
    const isFit = typeof value === 'string' && value.isWellFormed() && value.length < 5_000;
    return isFit && !what.includes('card number') && !edgesOfTime.includes(value)
      ? [encodeURIComponent(value)]
      : [];
  });
  const isTime = schema['format'] === 'date-time';
  const times = isTime
    ? words('2026-13-01T00:00:00Z 2026-02-30T00:00:00Z 2026-11-22 2026-11-22T08:00:00 1795334400 now')
    : [];
  // As the end of a search these would do, if they were understood.
  const edges = isTime ? edgesOfTime.map((time) => at(time, [200, 400])) : [];
  return [...always, ...[...texts, ...times].map((text) => at(text)), ...edges];
};

/** A wrong credential; after twenty of them an address has to wait. */
const notProven = [401, 429];

const badHeaders = ({ name, schema }: Parameter, { isPublic }: Operation): Bad[] => {
  const texts = [
    '',
    '   ',
    'a b',
    'x'.repeat(Number(schema['maxLength']) + 1),
    cardNumbers[1] ?? '',
    'clé',
    Buffer.from('ключ').toString('latin1'),
  ];
  return [...texts, ['a', 'b']].map((value) => ({
    what: `header ${name} ${JSON.stringify(value).slice(0, 40)}`,
    // Credentials come in one way only, so there is no body beside them.
    change: { headers: { [name]: value }, ...(isPublic && { body: '' }) },
    // Whom a header field names is unknown or not proven; any other field is wrong as such.
    statuses: name === 'Florin-Vendor' ? [400, 404] : isPublic ? [400, ...notProven] : [400],
    fields: [name],
  }));
};

/** Values that the fields of a body must refuse. */
const badBodies = (body: PlainSchema): Bad[] => {
  const bodies = spoil(body).map(({ what, json: text, fields }) => ({
    what,
    change: { body: text },
    fields,
  }));
  const needsOne =
    bodies.some(({ change }) => change.body === 'null') && Object.keys(validMembers(body)).length > 0;
  return needsOne ? [...bodies, { what: 'no body', change: { headers: json, body: '' } }] : bodies;
};

/** Bodies that are refused before anybody looks at their fields, also where no body is expected. */
const unreadableBodies = ({ body = '{}' }: Good): Bad[] => {
  const open = body === '{}' ? '{' : `${body.slice(0, -1)},`;
  const cut = [body.slice(0, -1), body.slice(0, body.length / 2), open];
  const texts = [
    ...words(`{"a": [ " nul {'a':1} {"a":NaN} {"a":1,} /**/{}`),
    ...cut,
    `${body}x`,
    `${body}{}`,
    '  ',
  ];
  const bytes = words('ff c080 eda080 e282 f5808080').map((hex) => Buffer.from(hex, 'hex'));
  const types =
    'text/plain text/json application/xml application/x-www-form-urlencoded multipart/form-data;boundary=x json */* / ;';
  const large = body.padEnd(bodyLimitBytes + 1, ' ');
  const withHeaders = (headers: NonNullable<Sent['headers']>): Bad => ({
    what: JSON.stringify(headers),
    change: { headers, body },
    statuses: [415],
  });
  return [
    ...texts.map((text) => ({
      what: `JSON ${text}`,
      change: { headers: json, body: text },
      fields: ['body'],
    })),
    ...bytes.map((given) => ({
      what: `bytes ${given.toString('hex')}`,
      change: { headers: json, body: Buffer.concat([Buffer.from(`${open}"a":"`), given, Buffer.from('"}')]) },
      fields: ['body'],
    })),
    ...[...words(types), []].map((type) => withHeaders({ 'content-type': type })),
    ...words('gzip br x').map((coding) => withHeaders({ ...json, 'content-encoding': coding })),
    ...[false, true].map((chunked) => ({
      what: `a large body${chunked ? ' in chunks' : ''}`,
      change: { headers: json, body: large, chunked },
      statuses: [413],
    })),
  ];
};

/** An amount is read by its currency: these have 0, 2, 3 and 4 decimal places. */
const decimals = { JPY: 0, USD: 2, KWD: 3, CLF: 4 };

const badAmounts = (places: number): string[] => {
  const fine = [`1.${'0'.repeat(places)}1`, `0.${'0'.repeat(places)}1`, `1${'0'.repeat(30)}`];
  const numbers = [...fine, ...words('-1 -0.01 0 -0 0.0 1e400 -1e400 1e30 1e21 1e-7 9999999999999999')];
  const texts = words(
    '+1 1. .5 1e3 1E3 NaN Infinity -Infinity 0x10 0b1 1,5 1,000 1.000.00 1_000 01 00.5 ١٢٣ １２ ½ null $1',
  );
  const spaced = ['', ' ', ' 1', '1 ', '1\n', '1 USD', '1'.repeat(41)];
  return [...numbers, ...[...numbers, ...texts, ...spaced].map((text) => JSON.stringify(text))];
};

/** Unknown, withdrawn, not in capitals, and those of ISO 4217 that no payment can have. */
const badCurrencies = words('ZZZ QQQ DEM usd Usd US USDX U$D ＵＳＤ 978 XAU XAG XPT XDR XXX XTS');

const isAmount = (schema: unknown): boolean =>
  JSON.stringify(plain(schema)['anyOf']) === '[{"type":"number"},{"type":"string","maxLength":40}]';

type Target = { good: Good; bad: Bad[] };

/** Bad amounts and currencies, in bodies and in searches; each on a payment of the currency in question. */
export const badMoney = async (
  operation: Operation,
  goodIn: (currency: string) => Promise<Good>,
): Promise<Target[]> => {
  const properties = plain(operation.body?.['properties']);
  const members = operation.body ? validMembers(operation.body) : {};
  const hasCurrency = 'currency' in properties;
  const amounts = Object.keys(properties).filter((name) => isAmount(properties[name]));
  const queries = operation.parameters.map(({ name }) => name).filter((name) => name.startsWith('amount_'));
  const inBody = (field: string, changes: Record<string, string>): Bad => ({
    what: JSON.stringify(changes),
    change: { body: objectText({ ...members, ...changes }) },
    fields: [field],
  });
  const inQuery = (path: string, field: string, search: Record<string, string>): Bad => ({
    what: `query ${JSON.stringify(search)}`,
    change: { path: `${path}?${new URLSearchParams(search).toString()}` },
    fields: [field],
  });
  const targets: Target[] = [];
  for (const [currency, places] of Object.entries(amounts.length + queries.length > 0 ? decimals : {})) {
    const good = await goodIn(currency);
    const inCurrency = hasCurrency ? { currency: JSON.stringify(currency) } : {};
    const bad = badAmounts(places).flatMap((amount) => [
      ...amounts.map((name) => inBody(name, { ...inCurrency, [name]: amount })),
      ...queries.map((name) => inQuery(good.path, name, { currency, [name]: amount.replaceAll('"', '') })),
    ]);
    targets.push({ good, bad });
  }
  const good = await goodIn('USD');
  const bad = badCurrencies.flatMap((currency) => [
    ...(hasCurrency ? [inBody('currency', { currency: JSON.stringify(currency) })] : []),
    ...queries.map((name) => inQuery(good.path, 'currency', { currency, [name]: '1' })),
    ...('fee_fixed' in properties
      ? [inBody('fee_fixed', { fee_fixed: JSON.stringify({ [currency]: '1' }) })]
      : []),
  ]);
  return [...targets, { good, bad }];
};
