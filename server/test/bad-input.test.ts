import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../src/lib/clock.ts';
import { bodyOf, exchange, testServer } from '../src/lib/http/testing.ts';
import { plain, type PlainSchema } from '../src/lib/openapi/example.ts';
import { makeDocument } from '../src/services/document.ts';
import { apiHealthRoutes, healthRoutes } from '../src/services/health.ts';
import {
  oneProcess,
  send,
  testClient,
  testKey,
  testParts,
  twoProcesses,
  type TestApi,
  type TestParts,
} from '../src/services/testing.ts';
import { testDatabase, type TestDatabase } from './setup/database.ts';
import {
  cardNumbers,
  changedTables,
  edgesOfTime,
  objectText,
  operationsOf,
  problemFaults,
  secrets,
  shown,
  spoil,
  tablesOf,
  transmit,
  undocumented,
  validMembers,
  words,
  type Operation,
  type Parameter,
  type Received,
  type Sent,
} from './setup/requests.ts';

const document = await makeDocument('0.0.0');
const operations = operationsOf(document);
const problem = plain(plain(plain(plain(document)['components'])['schemas'])['Problem']);

/** One bad request: how it differs from a good one, and how it has to be refused. */
type Bad = {
  what: string;
  change: Partial<Pick<Sent, 'headers' | 'body' | 'chunked'>> & { path?: string };
  /** 400 unless told. */
  statuses?: readonly number[];
  /** The fields that a 400 may name: any for an empty text, and it need not name one if the list is empty. */
  fields?: readonly string[];
};

const json = { 'content-type': 'application/json' };
const bodyLimitBytes = 1024 * 1024;
const base64url = (text: string): string => Buffer.from(text).toString('base64url');

/** The bad requests of one operation that have no amount in them. */
const badRequests = (operation: Operation, good: Good, cursors: readonly string[]): Bad[] => {
  const parametersIn = (place: Parameter['in']) => operation.parameters.filter((each) => each.in === place);
  return [
    ...parametersIn('path').flatMap((parameter) => badPaths(parameter, operation, good)),
    ...parametersIn('query').flatMap((parameter) => badQueries(parameter, good, cursors)),
    ...(parametersIn('query').length > 0 ? strangeQueries(good) : []),
    ...parametersIn('header').flatMap((parameter) => badHeaders(parameter, operation)),
    ...(operation.body ? badBodies(operation, operation.body) : []),
    ...(operation.method === 'GET' ? [] : unreadableBodies(good)),
  ];
};

const badPaths = (parameter: Parameter, operation: Operation, { ids }: Good): Bad[] => {
  const { name } = parameter;
  const id = ids[name] ?? '';
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

/** Values that the fields of a body must refuse. What nobody keeps is refused as a wrong credential. */
const badBodies = ({ isPublic }: Operation, body: PlainSchema): Bad[] => {
  const bodies = spoil(body).map(({ what, json: text, fields }) => ({
    what,
    change: { body: text },
    fields,
    statuses: isPublic && what.includes('card number') ? notProven : [400],
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
const badMoney = async (
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

/** A request that would be accepted: the objects in its path, its path, its body. */
type Good = { ids: Record<string, string>; path: string; body: string | undefined };

const prefixOf = ({ name, schema }: Pick<Parameter, 'name' | 'schema'>): string => {
  const [, prefix] = /^\^([a-z]+_)/.exec(String(schema['pattern'])) ?? [];
  if (prefix === undefined)
    throw new Error(`The path parameter ${name} is no id: say in badPaths what it must refuse`);
  return prefix;
};

const pathOf = ({ path }: Operation, ids: Record<string, string>): string =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? '');

let made = 0;

/** Makes the objects that requests need, by the prefix of their ids, through the API itself. */
const maker = (url: string) => {
  const create = async (path: string, body: object): Promise<string> => {
    const answer = await send(`${url}/api/v1${path}`, { method: 'POST', headers: testKey, json: body });
    if (answer.status !== 201)
      throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return String(answer.body['id']);
  };
  const first = async (path: string, member: string): Promise<string> => {
    const { body } = await send(`${url}/api/v1${path}`, { headers: testKey });
    return String(plain((body['data'] as unknown[])[0])[member]);
  };
  const issue = async (): Promise<unknown> =>
    (await send(`${url}/api/v1/authenticate`, { method: 'POST', headers: testClient })).body['token'];
  type Make = (operation: Operation, ids: Record<string, string>, currency: string) => Promise<string>;
  const makers: Record<string, Make> = {
    acct_: () => first('/ledger/accounts?code=payable', 'id'),
    cus_: () => create('/customers', { email: `made.${(made += 1)}@example.com`, name: 'Ada' }),
    key_: () => create('/api-keys', { name: 'Till' }),
    pay_: ({ id }, _, currency) =>
      create('/payments', { amount: '1000', currency, capture: !/^(capture|cancel)/.test(id) }),
    ref_: (_, ids) => create(`/payments/${ids['id']}/refunds`, { amount: '1' }),
    trf_: async () =>
      first(`/ledger/accounts/${await first('/ledger/accounts?code=payable', 'id')}/entries`, 'transfer_id'),
    ven_: () => create('/vendors', { slug: `made-${(made += 1)}`, name: 'Made' }),
  };
  return async (operation: Operation, currency = 'USD'): Promise<Good> => {
    const ids: Record<string, string> = {};
    for (const parameter of operation.parameters.filter((each) => each.in === 'path')) {
      const make = makers[prefixOf(parameter)];
      if (!make)
        throw new Error(
          `No object has an id that starts with ${prefixOf(parameter)}: add it to the makers in bad-input.test.ts`,
        );
      ids[parameter.name] = await make(operation, ids, currency);
    }
    const members = operation.body && validMembers(operation.body);
    if (members && 'token' in members) members['token'] = JSON.stringify(await issue());
    return { ids, path: pathOf(operation, ids), body: members && objectText(members) };
  };
};

describe.each([
  { name: 'one process', start: oneProcess, every: 1 },
  { name: 'two processes', start: twoProcesses, every: 12 },
])('bad input to $name', ({ start, every }) => {
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;
  let health: Awaited<ReturnType<typeof testServer>>;
  let tables: Awaited<ReturnType<typeof tablesOf>>;
  let make: ReturnType<typeof maker>;
  let cursors: ReadonlyMap<string, string>;
  const strangers = new Set<string>();

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    api = await start(parts, { rateLimit: { max: 1_000_000, windowMs: 60_000 } });
    const probes = {
      database: async () => 1,
      cache: async () => 'not configured' as const,
      internal: async () => 1,
    };
    health = await testServer(async (app) => {
      await app.register(healthRoutes({ probes, clock: systemClock }));
      await app.register(apiHealthRoutes({ probes, clock: systemClock }));
    });
    tables = await tablesOf(database.superuser);
    make = maker(api.url);
    for (const operation of [...operations, ...operations]) await make(operation);
    // What is noted about credentials is noted now, and stays the same while the clock stands still.
    await api.edge.watch.reportUse();
    cursors = await cursorsOfLists();
  });
  afterAll(async () => {
    await health?.[Symbol.asyncDispose]();
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  const isList = ({ parameters }: Operation): boolean => parameters.some(({ name }) => name === 'cursor');

  /** A cursor that each list gave out itself; so every list needs two rows. */
  const cursorsOfLists = async (): Promise<Map<string, string>> => {
    const found = new Map<string, string>();
    for (const operation of operations.filter(isList)) {
      const good = await make(operation);
      // Where the objects of a list are made at its own path, it is an empty one yet.
      for (const _ of [1, 2])
        if (good.ids['id'])
          await send(api.url + good.path, { method: 'POST', headers: testKey, json: { amount: '1' } });
      const { body } = await send(`${api.url}${good.path}?limit=1`, { headers: testKey });
      if (typeof body['next_cursor'] !== 'string')
        throw new Error(`${operation.id} needs two rows: make them in cursorsOfLists`);
      found.set(operation.id, body['next_cursor']);
    }
    return found;
  };

  const transmitTo = (operation: Operation, good: Good, change: Bad['change'] = {}): Promise<Received> => {
    const { path = good.path, headers = {}, ...rest } = change;
    const credential = operation.isPublic ? {} : testKey;
    const type = (rest.body ?? good.body) === undefined ? {} : json;
    const sent = { ...type, ...credential, ...headers };
    const url = operation.isProbe ? health.url : api.url;
    return transmit({ body: good.body, ...rest, method: operation.method, url: url + path, headers: sent });
  };

  /** What is wrong with the way in which a bad request is refused. */
  const judge = async (
    operation: Operation,
    good: Good,
    bad: Bad,
  ): Promise<{ answer: Received; faults: string[] }> => {
    const before = await tables.contents();
    const answer = await transmitTo(operation, good, bad.change);
    const { status, body } = answer;
    if (status === 401) await api.edge.events.settled();
    const written = changedTables(before, await tables.contents());
    const { statuses = [400], fields = [''] } = bad;
    const named = (Array.isArray(body['errors']) ? body['errors'] : []).map((each) =>
      String(plain(each)['field']),
    );
    const strange = named.filter((name) => !fields.some((field) => concerns(field, name)));
    const told = [...secrets, ...cardNumbers].filter((secret) => String(body['detail']).includes(secret));
    const faults = [
      ...(statuses.includes(status) ? [] : [`answered ${shown(answer)}, not ${statuses.join(' or ')}`]),
      ...(status >= 400 ? problemFaults(problem, answer) : []),
      ...(status === 400 && named.length === 0 && fields.length > 0 ? ['no field is named'] : []),
      ...(status === 400 && strange.length > 0
        ? [`names ${strange.join().slice(0, 100)}, not ${fields.join(' or ')}`]
        : []),
      ...(written.length === 0 || (await areSecurityEvents(answer, written))
        ? []
        : [`wrote ${written.join(', ')}`]),
      ...told.map((secret) => `tells ${secret}`),
    ];
    return { answer, faults: faults.map((fault) => `${bad.what}: ${fault}`) };
  };

  /** Whether all that was written are the journal entries about a caller who proved nothing. */
  const areSecurityEvents = async ({ status, headers }: Received, written: string[]): Promise<boolean> => {
    const { rows } = await sql<{ kind: string }>`
      select kind from journal.entries where request_id = ${headers['x-request-id']}
    `.execute(database.superuser);
    const isExpected = status === 401 && rows.every(({ kind }) => kind === 'authentication.failed');
    return isExpected && written.join() === `journal.entries (${rows.length} rows more)`;
  };

  const judgeAll = async (operation: Operation, good: Good, bad: readonly Bad[]): Promise<string[]> => {
    const found: string[] = [];
    let target = good;
    const offset = operations.indexOf(operation);
    for (const one of bad.filter((_, index) => (index + offset) % every === 0)) {
      const { answer, faults } = await judge(operation, target, one);
      found.push(...faults);
      // With another path comes another operation.
      if (answer.status >= 400 && answer.status !== 405)
        for (const one of undocumented(operation, answer)) strangers.add(one);
      // What was accepted by mistake has changed the object; the next case needs a fresh one.
      else target = await make(operation);
    }
    return found;
  };

  test.each(operations.map((operation) => ({ name: `${operation.method} ${operation.path}`, operation })))(
    '$name refuses it with the field named and writes nothing',
    async ({ operation }) => {
      const good = await make(operation);
      const own = cursors.get(operation.id) ?? '';
      const bad = badRequests(operation, good, [
        own,
        ...[...cursors.values()].filter((cursor) => cursor !== own),
      ]);
      const faults = await judgeAll(operation, good, bad);
      for (const group of await badMoney(operation, (currency) => make(operation, currency))) {
        faults.push(...(await judgeAll(operation, group.good, group.bad)));
      }
      expect(faults).toEqual([]);
    },
  );

  test('what is no HTTP is refused with 400, and nothing is written', async () => {
    const before = await tables.contents();
    const port = Number(new URL(api.url).port);
    const head = `POST /api/v1/payments HTTP/1.1\r\nHost: x\r\nX-API-Key: ${testKey['x-api-key']}\r\nContent-Type: application/json\r\n`;
    const body = '{"amount":"1.00","currency":"USD"}';
    const length = `Content-Length: ${body.length}\r\n`;
    const controls = ['\u0000', '\u0007', '\u001b'].map(
      (control) => `Idempotency-Key: a${control}b\r\n${length}`,
    );
    const lengths = [
      'Content-Length: -1\r\n',
      'Content-Length: 1e1\r\n',
      `${length}Content-Length: 2\r\n`,
      `${length}Transfer-Encoding: chunked\r\n`,
    ];
    for (const fields of [...controls, ...lengths, `${length}no field\r\n`, ` folded: ${length}`]) {
      const text = await exchange(port, `${head}${fields}\r\n${body}`);
      expect(text, fields).toMatch(/^HTTP\/1.1 400 /);
      expect(bodyOf(text), fields).toMatchObject({ code: 'invalid_request', status: 400 });
    }
    expect(changedTables(before, await tables.contents())).toEqual([]);
  });

  test('every refusal that was met is documented for its operation', () => {
    expect([...strangers]).toEqual([]);
  });

  test('no table holds a card number that was sent', async () => {
    const found = await Promise.all(cardNumbers.map((card) => tables.find(card)));
    expect(found.flat().map((row) => row.slice(0, 200))).toEqual([]);
  });

  test('no log line holds a credential or a card number that was sent, be it refused or accepted', async () => {
    const text = secrets.join(' and ');
    const accepted = [
      send(`${api.url}/api/v1/customers`, {
        method: 'POST',
        headers: testKey,
        json: { name: text, email: 'x@example.com', metadata: { text } },
      }),
      send(`${api.url}/api/v1/payments`, {
        method: 'POST',
        headers: testKey,
        json: { amount: '1.00', currency: 'USD', description: text },
      }),
      send(`${api.url}/api/v1/payments?reference=${encodeURIComponent(`${text} ${cardNumbers[0]}`)}`, {
        headers: testKey,
      }),
      send(`${api.url}/api/v1/authenticate`, { method: 'POST', headers: testClient }),
    ];
    expect((await Promise.all(accepted)).map(({ status }) => status)).toEqual([201, 201, 200, 200]);
    const lines = [...parts.lines, ...health.lines].map((line) => JSON.stringify(line));
    expect(lines.length).toBeGreaterThan(100);
    const planted = [...secrets, ...cardNumbers, 'eyJ'];
    expect(lines.filter((line) => planted.some((secret) => line.includes(secret)))).toEqual([]);
  });
});

test('every request that is spoilt here would be accepted as it stands', async () => {
  await using database = await testDatabase();
  await using parts = await testParts(database);
  await using api = await oneProcess(parts);
  const make = maker(api.url);
  const refused: string[] = [];
  for (const operation of operations.filter(({ isProbe }) => !isProbe)) {
    const { path, body } = await make(operation);
    const headers = { ...(operation.isPublic ? {} : testKey), ...(body === undefined ? {} : json) };
    const { status, text } = await transmit({ method: operation.method, url: api.url + path, headers, body });
    if (status >= 300) refused.push(`${operation.id} answered ${status}: ${text}`);
  }
  expect(refused).toEqual([]);
});

/** Whether a field that a refusal names is the one that is wrong, a part of it, or what it is a part of. */
const concerns = (wrong: string, named: string): boolean =>
  wrong === '' || named === wrong || named.startsWith(`${wrong}.`) || wrong.startsWith(`${named}.`);
