import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toUuid } from '../../src/lib/ids.ts';
import { exampleOf, plain, type PlainSchema } from '../../src/lib/openapi/example.ts';
import { makeDocument } from '../../src/services/document.ts';
import { oneProcess, testKey, testParts, type TestApi, type TestParts } from '../../src/services/testing.ts';
import { made, rowsOf } from '../setup/api.ts';
import { testDatabase, type TestDatabase } from '../setup/database.ts';
import { maker, signTwoHeads, typeOf, type Good } from '../setup/good-requests.ts';
import {
  changedTables,
  listOf,
  operationsOf,
  tablesOf,
  transmit,
  type Operation,
  type Received,
} from '../setup/requests.ts';
import { objectText, words } from '../setup/spoilt.ts';

/*
 * What a caller may read and not write, offered with every write: as a member of the body, in the metadata, in the query
 * and in header fields. It is refused by name, or the stored object is the one that was asked for without it.
 */
const operations = operationsOf(await makeDocument('0.0.0'));
const writes = operations.filter(({ method, isPublic }) => method !== 'GET' && !isPublic);

/** What rows have and no answer shows, or programs like ours would call it. */
const internals: Readonly<Record<string, unknown>> = {
  tenant_id: 2,
  tenantId: 2,
  tenant: 2,
  vendor_id: 'ven_01h455vb4pex5vsknk084sn02q',
  vendorId: 'x',
  owner: 'x',
  mode: 'live',
  role: 'admin',
  state: 'refunded',
  status: 'refunded',
  version: 99,
  enabled: false,
  captured: '99999',
  refunded: 0,
  fee: '0.00',
  fee_minor: '0',
  balance: '99999',
  amount_minor: '1',
  posted: true,
  id: 'pay_01h455vb4pex5vsknk084sn02q',
  object: 'vendor',
  created_at: '2000-01-01T00:00:00Z',
  hash: 'x',
  platform: true,
  admin: true,
  isAdmin: true,
  permissions: ['*'],
  digest: 'x',
  secret_path: 'x',
  connector: 'book',
  customer: 'x',
  transfer_id: 'x',
  operation_id: 'x',
  actor: 'system',
  request_id: 'x',
  dry_run: true,
};

const branchesOf = (schema: PlainSchema): PlainSchema[] =>
  Array.isArray(schema['anyOf']) ? schema['anyOf'].map(plain) : [schema];

/** Every member that an answer of the API has, with a value that it could have. */
const readable = new Map<string, unknown>(
  operations
    .flatMap(({ responses }) =>
      [...responses].filter(([status]) => status < 300).map(([, { schema }]) => schema),
    )
    .flatMap((schema) => [schema, plain(plain(plain(schema['properties'])['data'])['items'])])
    .flatMap(branchesOf)
    .flatMap((schema) => Object.entries(plain(schema['properties'])))
    .map(([name, schema]) => [name, exampleOf(plain(schema))]),
);

const writableIn = (operation: Operation): string[] =>
  branchesOf(operation.body ?? {}).flatMap((schema) => Object.keys(plain(schema['properties'])));

const offeredTo = (operation: Operation): [name: string, value: unknown][] => {
  const writable = writableIn(operation);
  return [...readable, ...Object.entries(internals)].filter(([name]) => !writable.includes(name));
};

/** Where objects are stored, by the prefix of their ids. */
const tableOf: Readonly<Record<string, string>> = {
  cus: 'customers.customers',
  del: 'webhooks.deliveries',
  key: 'vendors.api_keys',
  pay: 'payments.payments',
  rec: 'reconciliation.runs',
  ref: 'payments.refunds',
  ven: 'vendors.vendors',
  we: 'webhooks.endpoints',
};

describe('mass assignment', () => {
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;
  let make: ReturnType<typeof maker>;
  let tables: Awaited<ReturnType<typeof tablesOf>>;

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    api = await oneProcess(parts, { rateLimit: { max: 1_000_000, windowMs: 60_000 } });
    make = maker(api.url);
    tables = await tablesOf(database.superuser);
    await made(api.url, testKey, '/vendors', { slug: 'other', name: 'Other' });
    await signTwoHeads(api.url, database);
    await api.edge.watch.reportUse();
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  type Offer = { members?: Record<string, string>; query?: string; headers?: Record<string, string> };

  const offer = (
    operation: Operation,
    good: Good,
    { members, query = '', headers = {} }: Offer,
  ): Promise<Received> => {
    const body = bodyOf(good, members);
    const type = typeOf({ ...good, body });
    return transmit({
      method: operation.method,
      url: `${api.url}${good.path}${query}`,
      headers: { ...testKey, ...type, ...headers },
      body,
    });
  };

  /** The row of what a request made or changed. */
  const storedFor = async (answer: Received): Promise<Record<string, unknown>> => {
    // What has no id of its own changed, or is about, what it names.
    const { id: own, reconciliation_id: run, endpoint_id: endpoint } = answer.body;
    const id = String(own ?? run ?? endpoint);
    const table = tableOf[id.split('_')[0] ?? ''];
    if (table === undefined) throw new Error(`where is ${id} stored? Say so in \`tableOf\``);
    // An id of the answer, whose form the document promises.
    const uuid = toUuid(id as Parameters<typeof toUuid>[0]);
    const { rows } = await sql<{ row: Record<string, unknown> }>`
      select to_jsonb(t) as row from ${sql.raw(table)} t where id = ${uuid}
    `.execute(database.superuser);
    return rows[0]?.row ?? {};
  };

  const perform = async (
    operation: Operation,
    what: Offer,
  ): Promise<{ answer: Received; row: Record<string, unknown> }> => {
    const answer = await offer(operation, await make(operation), what);
    return { answer, row: answer.status < 300 ? await storedFor(answer) : {} };
  };

  /** What two requests alike have in common: the rest differs by itself, such as ids and addresses. */
  const common = (one: Record<string, unknown>, other: Record<string, unknown>): string[] =>
    Object.keys(one).filter((name) => JSON.stringify(one[name]) === JSON.stringify(other[name]));

  /** Which of these members two objects differ in, metadata apart where that is what was sent. */
  const differing = (
    names: readonly string[],
    one: Record<string, unknown>,
    other: Record<string, unknown>,
  ): string[] => names.filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]));

  /** What a request with an offer did that two without one did not. */
  const effectsOf = async (operation: Operation, what: Offer): Promise<string[]> => {
    const [first, second] = [await perform(operation, {}), await perform(operation, {})];
    const rows = await rowsOfOther();
    const offered = await perform(operation, what);
    const isMeant = (name: string): boolean =>
      name === 'metadata' && what.members?.['metadata'] !== undefined;
    const shown = common(first.answer.body, second.answer.body).filter((name) => !isMeant(name));
    const stored = common(first.row, second.row).filter((name) => !isMeant(name));
    // If these differed by themselves, nothing would be compared.
    expect([shown.length, stored.length]).toEqual([
      expect.toSatisfy((count) => count > 3),
      expect.toSatisfy((count) => count > 3),
    ]);
    expect(stored).toEqual(expect.arrayContaining(tenantColumns.filter((name) => name in first.row)));
    const { status, text } = offered.answer;
    return [
      ...(status === first.answer.status ? [] : [`answered ${text}`]),
      ...differing(shown, first.answer.body, offered.answer.body).map((name) => `shows another ${name}`),
      ...differing(stored, first.row, offered.row).map((name) => `stores another ${name}`),
      ...differing(Object.keys(rows), rows, await rowsOfOther()).map(
        (name) => `wrote ${name} of another tenant`,
      ),
    ];
  };

  const tenantColumns = words('tenant_id mode state');

  /** How many rows another vendor has of everything. */
  const rowsOfOther = async (): Promise<Record<string, string>> => {
    const { rows } = await sql<{ id: number }>`
      select t.id from vendors.tenants t join vendors.vendors v on v.id = t.vendor_id
      where v.slug = 'other' and t.mode = 'test'
    `.execute(database.db);
    const counts = await rowsOf(database.db, rows[0]?.id ?? 0);
    return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, String(count)]));
  };

  test('what is offered is what answers show and requests do not take, and more', () => {
    const names = writes.flatMap((operation) =>
      offeredTo(operation).map(([name]) => `${operation.id} ${name}`),
    );
    expect(names).toEqual(
      expect.arrayContaining(
        words('fee status version amount_captured_minor tenant_id mode role').map(
          (name) => `createPayment ${name}`,
        ),
      ),
    );
    expect(names).toEqual(
      expect.arrayContaining(words('slug enabled clients').map((name) => `updateVendor ${name}`)),
    );
    expect(names).not.toContain('createApiKey role');
  });

  describe.each(writes.map((operation) => ({ name: operation.id, operation })))('$name', ({ operation }) => {
    if (operation.body)
      test('a member that is not the caller’s to set is refused by its name, and nothing is written', async () => {
        const good = await make(operation);
        await api.edge.events.settled();
        const before = await tables.contents();
        for (const [name, value] of offeredTo(operation)) {
          const { status, body } = await offer(operation, good, {
            members: { [name]: JSON.stringify(value) },
          });
          const fields = listOf(body['errors']).map((each) => plain(each)['field']);
          expect.soft({ name, status, fields }).toEqual({ name, status: 400, fields: [name] });
        }
        expect(changedTables(before, await tables.contents())).toEqual([]);
      });

    if (!operation.body)
      test('a body that nobody asked for changes nothing of what is done', async () => {
        const members = Object.fromEntries(
          offeredTo(operation).map(([name, value]) => [name, JSON.stringify(value)]),
        );
        expect(await effectsOf(operation, { members })).toEqual([]);
      });

    test('the same in the query and in header fields changes nothing of what is done', async () => {
      const texts = offeredTo(operation).map(
        ([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const,
      );
      const query = `?${texts.map(([name, text]) => `${name}=${encodeURIComponent(text)}`).join('&')}`;
      const takesQuery = operation.parameters.some((parameter) => parameter.in === 'query');
      // A query that is read has no unknown members either.
      if (takesQuery)
        expect(await offer(operation, await make(operation), { query })).toMatchObject({ status: 400 });
      else expect(await effectsOf(operation, { query })).toEqual([]);
      const some = texts
        .filter(([name]) => name in internals)
        .map(([name, text]) => [`x-${name.replaceAll('_', '-')}`, text]);
      const claims = {
        'florin-tenant': '2',
        'florin-mode': 'live',
        'florin-role': 'admin',
        'florin-caller': '{"role":"admin"}',
      };
      expect(await effectsOf(operation, { headers: { ...Object.fromEntries(some), ...claims } })).toEqual([]);
    });

    if (writableIn(operation).includes('metadata'))
      test('in the metadata they are metadata', async () => {
        const names = Object.keys(internals);
        const text = `{${names.map((name) => `${JSON.stringify(name)}:"x"`).join()}}`;
        expect(await effectsOf(operation, { members: { metadata: text } })).toEqual([]);
      });
  });
});

let slugs = 0;

/** A good body with more members in it; names that may be taken once are new each time. */
const bodyOf = ({ body, type }: Good, more: Record<string, string> | undefined): string | undefined => {
  if (body === undefined && more === undefined) return undefined;
  // What is no JSON has no place for members.
  if (type !== undefined) return body;
  const members = Object.entries(plain(JSON.parse(body ?? '{}'))).map(([name, value]) => [
    name,
    JSON.stringify(name === 'slug' ? `taken-${(slugs += 1)}` : value),
  ]);
  return objectText({ ...Object.fromEntries(members), ...more });
};
