import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allows, roles, type Role } from '../src/lib/caller.ts';
import { plain } from '../src/lib/openapi/example.ts';
import { makeDocument } from '../src/services/document.ts';
import type { RouteRow } from '../src/services/routes.ts';
import {
  oneProcess,
  testParts,
  twoProcesses,
  type Answer,
  type TestApi,
  type TestParts,
} from '../src/services/testing.ts';
import {
  ask,
  credentialKinds,
  differencesIn,
  openWorld,
  rowsOf,
  unknownLike,
  withLiveBackend,
  type CredentialKind,
  type Headers,
  type Tenant,
  type World,
} from './setup/api.ts';
import { testDatabase, type TestDatabase } from './setup/database.ts';

/*
 * Role × route × tenant × mode, generated: the routes are those that a server registers, the bodies are the examples of
 * the OpenAPI document. A new route is tested without a change here, unless its test says what to add.
 */

const prefix = '/api/v1';

/** Bodies that are not the example of the document: those that name objects or have to be taken in live mode too. */
const bodies: Readonly<Record<string, (own: Tenant['ids']) => Record<string, unknown>>> = {
  'POST /payments': ({ customers }) => ({
    amount: '9.00',
    currency: 'USD',
    payment_method: 'bank',
    customer_id: customers,
  }),
};

const { paths } = plain(await makeDocument('test'));
const routes = await routesOfApi();

async function routesOfApi(): Promise<readonly RouteRow[]> {
  await using database = await testDatabase();
  await using parts = await testParts(database);
  await using api = await oneProcess(parts);
  return api.routes.map((row) => ({ ...row, url: row.url.slice(prefix.length) }));
}

const guarded = routes.filter(({ requires }) => requires !== 'public');
const open = routes.filter(({ requires }) => requires === 'public');
const ofTenants = guarded.filter(({ platformOnly }) => !platformOnly);
const named = ofTenants.filter(({ url }) => url.includes(':'));
const lists = ofTenants.filter((row) => row.method === 'GET' && 'next_cursor' in answerOf(row));

/** A path with its parameters filled in. `ids` holds an id for the segment before each: `payments/:id`. */
const fill = ({ method, url }: RouteRow, ids: Readonly<Record<string, string>>): string => {
  const path = url.replaceAll(/([^/]+)\/:\w+/g, (_, collection: string) => {
    const id = ids[collection];
    if (id !== undefined) return `${collection}/${id}`;
    throw new Error(
      `${method} ${url}: nobody knows an object for the parameter after "${collection}". ` +
        `Make one in \`seedObjects\` of server/test/setup/api.ts and give its id as "${collection}".`,
    );
  });
  if (!/[:*]/.test(path)) return path;
  throw new Error(
    `${method} ${url}: the matrix addresses only \`collection/:parameter\`. Teach \`fill\` of access-matrix.test.ts this path.`,
  );
};

function operationOf({ method, url }: RouteRow): Record<string, unknown> {
  const path = prefix + url.replaceAll(/:(\w+)/g, '{$1}');
  return plain(plain(plain(paths)[path])[method.toLowerCase()]);
}

function answerOf(row: RouteRow): Record<string, unknown> {
  const response = plain(plain(operationOf(row)['responses'])['200']);
  return plain(plain(plain(plain(response['content'])['application/json'])['schema'])['properties']);
}

const contentOf = (row: RouteRow): Record<string, unknown> =>
  plain(plain(plain(operationOf(row)['requestBody'])['content'])['application/json']);

/** A body that the route takes. */
const bodyOf = (row: RouteRow, own: Tenant['ids']): { json?: unknown } => {
  const made = bodies[`${row.method} ${row.url}`]?.(own);
  if (made) return { json: made };
  if (row.method === 'GET' || row.method === 'HEAD' || row.method === 'DELETE') return {};
  if (!('responses' in operationOf(row))) {
    throw new Error(
      `${row.method} ${row.url} is not in the OpenAPI document: give it an operationId, or a body in \`bodies\` of access-matrix.test.ts.`,
    );
  }
  const { example } = contentOf(row);
  return example === undefined ? {} : { json: example };
};

/** The members of a body that name an object, with the kind of its id: `customer_id`, `cus`. */
const referencesIn = (row: RouteRow): { member: string; idPrefix: string }[] =>
  Object.entries(plain(plain(contentOf(row)['schema'])['properties'])).flatMap(([member, schema]) => {
    const [, idPrefix] = /^\^([a-z]+)_\[0-7\]/.exec(String(plain(schema)['pattern'])) ?? [];
    return idPrefix === undefined ? [] : [{ member, idPrefix }];
  });

/** Every choice of own and foreign ids for the parameters of a path that has at least one foreign. */
const mixtures = (url: string, own: Tenant['ids'], foreign: Tenant['ids']): Record<string, string>[] => {
  const collections = [...url.matchAll(/([^/]+)\/:/g)].map(([, collection = '']) => collection);
  const choices = Array.from({ length: 2 ** collections.length - 1 }, (_, index) => index + 1);
  return choices.map((choice) => {
    const chosen = collections.filter((_, bit) => choice & (1 << bit));
    return {
      ...own,
      ...Object.fromEntries(chosen.flatMap((name) => (foreign[name] ? [[name, foreign[name]]] : []))),
    };
  });
};

const anyId = /\b(?:acct|cus|evt|hold|key|pay|ref|req|trf|ven)_[0-7][0-9a-hjkmnp-tv-z]{25}\b/g;
const idsIn = (value: unknown): Set<string> => new Set(JSON.stringify(value).match(anyId) ?? []);

/** What an answer says, without what differs between any two. */
const said = ({ status, body }: Answer): string => JSON.stringify({ status, ...body, request_id: undefined });

describe('the generator', () => {
  test('knows the routes of the house', () => {
    const known = guarded.map(({ method, url }) => `${method} ${url}`);
    expect(known).toEqual(
      expect.arrayContaining(['POST /payments', 'GET /customers/:id', 'DELETE /api-keys/:id', 'GET /audit']),
    );
    expect(lists.length).toBeGreaterThanOrEqual(7);
    expect(named.length).toBeGreaterThanOrEqual(16);
  });

  test('says what to add for a route that it cannot address', () => {
    const row = { method: 'PATCH', requires: 'admin' } as const;
    expect(() => fill({ ...row, url: '/gadgets/:id' }, {})).toThrow('give its id as "gadgets"');
    expect(() => fill({ ...row, url: '/gadgets/*' }, {})).toThrow('Teach `fill`');
    expect(() => bodyOf({ ...row, url: '/gadgets' }, {})).toThrow('give it an operationId');
  });
});

describe.each([
  { name: 'one process', start: oneProcess },
  { name: 'two processes', start: twoProcesses },
])('access matrix in $name', { timeout: 60_000 }, ({ start }) => {
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;
  let world: World;

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    api = await start(withLiveBackend(parts), { rateLimit: { max: 1_000_000, windowMs: 60_000 } });
    world = await openWorld(api.url, database);
  }, 60_000);
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  const call = (
    row: RouteRow,
    headers: Headers,
    ids: Readonly<Record<string, string>>,
    json = bodyOf(row, ids),
  ): Promise<Answer> => ask(api.url, { method: row.method, path: fill(row, ids), headers, ...json });

  /** A tenant's admins: its own key, and the platform acting for it. */
  const adminsOf = ({ credentials }: Tenant): Headers[] => [
    credentials['API key'].admin,
    credentials['platform key'].admin,
  ];
  const pairs = (): { caller: Tenant; owner: Tenant }[] =>
    world.tenants.flatMap((caller) =>
      world.tenants.flatMap((owner) => (owner === caller ? [] : [{ caller, owner }])),
    );
  const rowsOfAll = (): Promise<unknown> =>
    Promise.all(world.tenants.map(({ tenantId }) => rowsOf(database.db, tenantId)));

  describe.each(guarded)('$method $url', (row) => {
    // HEAD answers have no body to tell more.
    const expected = (status: number, detail: string): object =>
      row.method === 'HEAD' ? { status } : { status, body: { detail } };

    test('without a credential: 401 "API key required"', async () => {
      for (const { ids } of world.tenants)
        expect(await call(row, {}, ids)).toMatchObject(expected(401, 'API key required'));
    });

    test(`with every role and credential: ${row.requires} and above may, the others may not`, async () => {
      const refusalOf = (kind: CredentialKind, role: Role): object | undefined => {
        if (row.platformOnly && kind !== 'platform key')
          return expected(404, 'There is nothing at this path.');
        return allows(role, row.requires as Role) ? undefined : expected(403, 'Insufficient permissions');
      };
      for (const { name, ids, credentials } of world.tenants) {
        for (const kind of credentialKinds) {
          const answers = await Promise.all(roles.map((role) => call(row, credentials[kind][role], ids)));
          for (const [index, role] of roles.entries()) {
            const refusal = refusalOf(kind, role);
            const who = `${role} by ${kind} in ${name}`;
            if (refusal) expect(answers[index], who).toMatchObject(refusal);
            // A state or a name that is taken may stand in the way of the same request a second time, its form may not.
            else
              expect({ who, ...answers[index] }).toMatchObject({ who, status: expect.toSatisfy(isAccepted) });
          }
        }
      }
    });

    test('a vendor can’t act for another vendor', async () => {
      for (const { caller, owner } of pairs().filter((pair) => pair.caller.slug !== pair.owner.slug)) {
        for (const vendor of [owner.slug, owner.vendorId]) {
          const headers = { ...caller.credentials['API key'].admin, 'florin-vendor': vendor };
          for (const ids of [caller.ids, owner.ids])
            expect(await call(row, headers, ids)).toMatchObject(expected(404, 'No such vendor.'));
        }
      }
    });
  });

  describe.each(named)('$method $url', (row) => {
    test('an id of another vendor or mode is a 404 like one that nobody has, and changes nothing', async () => {
      const before = await rowsOfAll();
      for (const { caller, owner } of pairs()) {
        const unknown = Object.fromEntries(
          Object.entries(owner.ids).map(([name, id]) => [name, unknownLike(id)]),
        );
        const nobodys = mixtures(row.url, caller.ids, unknown);
        for (const [index, ids] of mixtures(row.url, caller.ids, owner.ids).entries()) {
          for (const headers of adminsOf(caller)) {
            const answer = await call(row, headers, ids);
            expect(answer.status, `${caller.name} asks for ${fill(row, ids)} of ${owner.name}`).toBe(404);
            expect(said(answer)).toBe(said(await call(row, headers, nobodys[index] ?? {})));
          }
        }
      }
      expect(await rowsOfAll()).toEqual(before);
    });
  });

  describe.each(ofTenants.flatMap((row) => referencesIn(row).map((reference) => ({ ...row, ...reference }))))(
    '$method $url with $member',
    ({ member, idPrefix, ...row }) => {
      test('naming an object of another vendor or mode is a 404 like one that nobody has', async () => {
        const before = await rowsOfAll();
        for (const { caller, owner } of pairs()) {
          const id = Object.values(owner.ids).find((each) => each.startsWith(`${idPrefix}_`));
          if (id === undefined)
            throw new Error(
              `${row.method} ${row.url}: make an object ${idPrefix}_… in \`seedObjects\` of server/test/setup/api.ts`,
            );
          const naming = (given: string) => ({
            json: { ...plain(bodyOf(row, caller.ids).json), [member]: given },
          });
          for (const headers of adminsOf(caller)) {
            const answer = await call(row, headers, caller.ids, naming(id));
            expect(answer.status, `${caller.name} names ${id} of ${owner.name}`).toBe(404);
            expect(said(answer)).toBe(said(await call(row, headers, caller.ids, naming(unknownLike(id)))));
          }
        }
        expect(await rowsOfAll()).toEqual(before);
      });
    },
  );

  describe.each(lists)('list $url', (row) => {
    const page = async (headers: Headers, ids: Tenant['ids'], query: Record<string, string>) => {
      const { status, body } = await ask(api.url, {
        path: `${fill(row, ids)}?${new URLSearchParams(query)}`,
        headers,
      });
      expect(status, `${row.url} ${JSON.stringify(query)} ${JSON.stringify(body)}`).toBe(200);
      return {
        data: body['data'] as Record<string, unknown>[],
        cursor: body['next_cursor'] as string | null,
      }; // every list has these
    };
    /** Every item, page by page, from a cursor on. */
    const items = async (headers: Headers, ids: Tenant['ids'], query: Record<string, string> = {}) => {
      const all: Record<string, unknown>[] = [];
      for (let pages = 0; pages < 500; pages += 1) {
        const { data, cursor } = await page(headers, ids, { limit: '2', ...query });
        all.push(...data);
        if (cursor === null) return all;
        query = { ...query, cursor };
      }
      throw new Error(`${row.url} never ends`);
    };
    /** What only the owner may see: everything it made or that its lists show. */
    const idsOf = async ({ ids, credentials }: Tenant): Promise<Set<string>> => {
      const admin = credentials['API key'].admin;
      const shown = await Promise.all(
        lists.map(
          async (list) => (await ask(api.url, { path: `${fill(list, ids)}?limit=100`, headers: admin })).body,
        ),
      );
      return idsIn([shown, Object.entries(ids).filter(([name]) => name !== 'vendors')]).difference(
        world.shared,
      );
    };
    const foreignIn = async (shown: unknown, owner: Tenant): Promise<string[]> => [
      ...idsIn(shown).intersection(await idsOf(owner)),
    ];

    test('shows what the tenant has, on several pages, and nothing of another vendor or mode', async () => {
      for (const caller of world.tenants) {
        for (const headers of adminsOf(caller)) {
          const shown = await items(headers, caller.ids);
          expect(
            shown.length,
            `make two or more for ${row.url} in \`seedObjects\` of server/test/setup/api.ts`,
          ).toBeGreaterThan(1);
          for (const owner of world.tenants) {
            if (owner !== caller)
              expect(await foreignIn(shown, owner), `${caller.name} sees what ${owner.name} has`).toEqual([]);
          }
        }
      }
    });

    test('filters find one’s own and nothing of another vendor or mode', async () => {
      const parameters = (operationOf(row)['parameters'] as { in: string; name: string }[]).filter(
        (each) => each.in === 'query',
      );
      for (const { caller, owner } of pairs()) {
        const [theirs = {}] = await items(owner.credentials['API key'].admin, owner.ids);
        for (const { name } of parameters) {
          const value = theirs[name];
          if (typeof value !== 'string') continue;
          expect(await items(owner.credentials['API key'].admin, owner.ids, { [name]: value })).not.toEqual(
            [],
          );
          for (const headers of adminsOf(caller)) {
            const shown = await items(headers, caller.ids, { [name]: value });
            expect(
              await foreignIn(shown, owner),
              `${caller.name} searches ${name}=${value} of ${owner.name}`,
            ).toEqual([]);
          }
        }
      }
    });

    test('the cursor of another vendor or mode leads to nothing of theirs', async () => {
      for (const { caller, owner } of pairs()) {
        const { cursor } = await page(owner.credentials['API key'].admin, owner.ids, { limit: '1' });
        const shown = await items(caller.credentials['API key'].admin, caller.ids, { cursor: cursor ?? '' });
        expect(await foreignIn(shown, owner)).toEqual([]);
      }
    });

    test('the platform sees what the vendor has that it names, by name or id', async () => {
      for (const { slug, vendorId, mode, ids, credentials } of world.tenants) {
        const platform = credentials['platform key'].admin;
        const own = await items(credentials['API key'].admin, ids);
        for (const vendor of [slug, vendorId]) {
          expect(await items({ ...platform, 'florin-vendor': vendor }, ids), `${vendor} in ${mode}`).toEqual(
            own,
          );
        }
      }
    });
  });

  describe.each(ofTenants)('$method $url', (row) => {
    test(`a platform key that names no vendor ${row.withoutVendor ? 'sees nothing of any' : 'is asked for one'}`, async () => {
      for (const tenant of world.tenants) {
        const answer = await call(row, world.platform, tenant.ids);
        if (!row.withoutVendor) expect(answer.status).toBe(400);
        else if (row.url.includes(':')) expect(answer.status).toBe(404);
        else expect([...idsIn(answer.body).intersection(new Set(Object.values(tenant.ids)))]).toEqual([]);
      }
    });
  });

  test.each(open)('$method $url is for everybody', async (row) => {
    expect((await call(row, {}, {})).body['detail']).not.toBe('API key required');
  });

  test('what is between services only does not exist outside', async () => {
    for (const path of ['/internal/v1/health', '/internal/v1/revocations']) {
      const { status } = await fetch(`${api.url}${path}`, { headers: world.platform });
      expect(status).toBe(404);
    }
  });

  test('after all this the books agree', async () => {
    expect(await differencesIn(database.db)).toEqual([]);
  });
});

const isAccepted = (status: number): boolean =>
  (status >= 200 && status < 300) || status === 409 || status === 422;
