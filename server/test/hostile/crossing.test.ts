import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { plain } from '../../src/lib/openapi/example.ts';
import { makeDocument } from '../../src/services/document.ts';
import {
  oneProcess,
  testParts,
  twoProcesses,
  type TestApi,
  type TestParts,
} from '../../src/services/testing.ts';
import {
  credentialKinds,
  openWorld,
  rowsOf,
  unknownLike,
  withLiveBackend,
  type Headers,
  type Tenant,
  type World,
} from '../setup/api.ts';
import { testDatabase, type TestDatabase } from '../setup/database.ts';
import { operationsOf, transmit, type Operation, type Received } from '../setup/requests.ts';
import { objectText, validMembers } from '../setup/spoilt.ts';

/*
 * Every place of the document that takes the id of an object, with an id of another vendor or of the other mode in it,
 * by every kind of credential. The access matrix does this for paths and bodies of two kinds; here are all of them, and
 * queries, and a place that nobody knows fails.
 */
const operations = operationsOf(await makeDocument('0.0.0')).filter(
  ({ isPublic, path }) => !isPublic && !path.startsWith('/api/v1/vendors'),
);

/** Which object of a tenant has ids with this prefix, by the path segment of its collection. */
const collections: Readonly<Record<string, string>> = {
  acct: 'accounts',
  cus: 'customers',
  del: 'deliveries',
  evt: 'proofs',
  key: 'api-keys',
  pay: 'payments',
  rec: 'reconciliations',
  ref: 'refunds',
  trf: 'transfers',
  we: 'webhook-endpoints',
};

/** Texts in queries that name an object of any kind. */
const anyObject = ['object'];

type Place = { in: 'path' | 'query' | 'body'; name: string; prefix: string };

const prefixIn = (schema: unknown): string | undefined =>
  /^\^([a-z]+)_/.exec(String(plain(schema)['pattern']))?.[1];

const placesOf = (operation: Operation): Place[] => {
  const parameters = operation.parameters.flatMap(({ in: place, name, schema }): Place[] => {
    const prefix = prefixIn(schema) ?? (anyObject.includes(name) ? 'pay' : undefined);
    return prefix === undefined || place === 'header' ? [] : [{ in: place, name, prefix }];
  });
  const members = Object.entries(plain(operation.body?.['properties'])).flatMap(([name, schema]): Place[] => {
    const prefix = prefixIn(schema);
    return prefix === undefined ? [] : [{ in: 'body', name, prefix }];
  });
  return [...parameters, ...members];
};

const cases = operations.flatMap((operation) =>
  placesOf(operation).map((place) => ({
    name: `${operation.id}, ${place.name} in the ${place.in}`,
    operation,
    place,
  })),
);

const idOf = ({ ids, name }: Tenant, prefix: string): string => {
  const id = ids[collections[prefix] ?? ''];
  if (id !== undefined) return id;
  throw new Error(
    `${name} has no object ${prefix}_…: make one in \`seedObjects\` of server/test/setup/api.ts and name its collection here`,
  );
};

/** A request in which everything is the caller's own but for one id. */
const requestWith = (operation: Operation, own: Tenant, { in: place, name }: Place, id: string) => {
  const path = operation.path.replace(/\{(\w+)\}/g, (_, parameter: string) => {
    if (place === 'path' && parameter === name) return id;
    const { schema } =
      operation.parameters.find((each) => each.in === 'path' && each.name === parameter) ?? {};
    const prefix = prefixIn(schema);
    // What is no id counts within its object.
    return prefix === undefined ? '1' : idOf(own, prefix);
  });
  const members = operation.body ? validMembers(operation.body) : undefined;
  if (members && place === 'body') members[name] = JSON.stringify(id);
  if (members && 'payment_method' in plain(operation.body?.['properties']))
    members['payment_method'] = '"bank"';
  return {
    method: operation.method,
    path: place === 'query' ? `${path}?${name}=${id}` : path,
    body: members && objectText(members),
  };
};

const said = ({ status, body }: Received): string => JSON.stringify({ status, ...body, request_id: '' });

test('the places of ids that are known', () => {
  const names = cases.map(({ name }) => name);
  expect(names.length).toBeGreaterThanOrEqual(17);
  expect(names).toEqual(
    expect.arrayContaining([
      'capturePayment, id in the path',
      'getRefund, refund_id in the path',
      'listPayments, customer_id in the query',
      'listAudit, object in the query',
      'createPayment, customer_id in the body',
    ]),
  );
});

describe.each([
  { name: 'one process', start: oneProcess, kinds: credentialKinds },
  { name: 'two processes', start: twoProcesses, kinds: ['token'] as const },
])('ids of other vendors and modes in $name', ({ start, kinds }) => {
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;
  let world: World;

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    api = await start(withLiveBackend(parts), { rateLimit: { max: 1_000_000, windowMs: 60_000 } });
    world = await openWorld(api.url, database);
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  const call = (
    headers: Headers,
    { method, path, body }: ReturnType<typeof requestWith>,
  ): Promise<Received> => {
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    return transmit({ method, url: api.url + path, headers: { ...headers, ...type }, body });
  };
  const rowsOfAll = () => Promise.all(world.tenants.map(({ tenantId }) => rowsOf(database.db, tenantId)));

  test('every route that takes an id is in the document', () => {
    const described = operations.map(
      ({ method, path }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`,
    );
    const taking = api.routes.filter(
      ({ url, platformOnly, method }) => url.includes(':') && !platformOnly && method !== 'HEAD',
    );
    expect(taking.length).toBeGreaterThan(10);
    expect(
      taking.map(({ method, url }) => `${method} ${url}`).filter((route) => !described.includes(route)),
    ).toEqual([]);
  });

  test.each(cases)('$name', async ({ operation, place }) => {
    const before = await rowsOfAll();
    const faults: string[] = [];
    for (const caller of world.tenants) {
      for (const owner of world.tenants.filter((each) => each !== caller)) {
        const foreign = idOf(owner, place.prefix);
        for (const kind of kinds) {
          const headers = caller.credentials[kind].admin;
          const answer = await call(headers, requestWith(operation, caller, place, foreign));
          const nobodys = await call(headers, requestWith(operation, caller, place, unknownLike(foreign)));
          const isEmpty =
            place.in === 'query' && answer.status === 200 && JSON.stringify(answer.body['data']) === '[]';
          if (said(answer) !== said(nobodys))
            faults.push(`${kind} of ${caller.name} can tell ${foreign} of ${owner.name} from nothing`);
          if (answer.status !== 404 && !isEmpty)
            faults.push(`${kind} of ${caller.name} with ${foreign} of ${owner.name}: ${said(answer)}`);
        }
      }
    }
    expect(faults).toEqual([]);
    expect(await rowsOfAll()).toEqual(before);
  });

  test.each(cases.filter(({ place }) => place.in !== 'query'))(
    '$name: another kind of id, or another spelling',
    async ({ operation, place }) => {
      const before = await rowsOfAll();
      const [caller] = world.tenants;
      if (!caller) throw new Error('the world is empty');
      const headers = caller.credentials['API key'].admin;
      const own = idOf(caller, place.prefix);
      const [, suffix = ''] = own.split('_');
      const others = Object.keys(collections).filter((prefix) => prefix !== place.prefix);
      const wrong = [
        ...others.map((prefix) => idOf(caller, prefix)),
        ...others.map((prefix) => `${prefix}_${suffix}`),
        own.toUpperCase(),
        suffix,
        `${own}x`,
        `x${own}`,
      ];
      for (const id of wrong) {
        const { status } = await call(headers, requestWith(operation, caller, place, id));
        expect.soft({ id, status }).toEqual({ id, status: place.in === 'path' ? 404 : 400 });
      }
      expect(await rowsOfAll()).toEqual(before);
    },
  );

  test('a key of the platform reaches only the mode that it is of, whichever vendor it names', async () => {
    const modes = world.tenants.filter(({ slug }) => slug === 'a');
    for (const caller of modes) {
      for (const owner of modes.filter((each) => each !== caller)) {
        for (const vendor of [owner.slug, owner.vendorId]) {
          const headers = { ...caller.credentials['platform key'].admin, 'florin-vendor': vendor };
          const path = `/api/v1/payments/${owner.ids['payments']}`;
          expect((await transmit({ method: 'GET', url: api.url + path, headers })).status).toBe(404);
        }
      }
    }
  });
});
