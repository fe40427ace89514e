import { beforeAll, describe, expect, test } from 'vitest';
import type { Role } from '../src/lib/caller.ts';
import { plain } from '../src/lib/openapi/example.ts';
import type { RouteRow } from '../src/services/routes.ts';
import {
  apiForTests,
  arrangements,
  oneProcess,
  testParts,
  withoutRateLimit,
  type Answer,
} from '../src/services/testing.ts';
import {
  ask,
  credentialKinds,
  differencesIn,
  idsIn,
  mixtures,
  openWorld,
  rowsOf,
  unknownLike,
  withLiveBackend,
  type CredentialKind,
  type Headers,
  type Tenant,
  type World,
} from './setup/api.ts';
import { testDatabase } from './setup/database.ts';
import { bodyOf, fill, idsFor, isList, operationOf, prefix, referencesIn, type Ids } from './setup/routes.ts';

/*
 * Role × route × tenant × mode, generated: the routes are those that a server registers, the bodies are the examples of
 * the OpenAPI document. A new route is tested without a change here, unless its test says what to add.
 */

/** Each includes the ones before it. Written out, so that the code under test does not judge itself. */
const roles: readonly Role[] = ['viewer', 'developer', 'finance', 'admin'];
const routes = await (async (): Promise<RouteRow[]> => {
  await using database = await testDatabase();
  await using parts = await testParts(database);
  await using api = await oneProcess(parts);
  return api.routes
    .filter(({ url }) => url.startsWith(prefix))
    .map((row) => Object.assign(row, { url: row.url.slice(prefix.length) }));
})();
const open = routes.filter(({ requires }) => requires === 'public');
const guarded = routes.filter(({ requires }) => requires !== 'public');
const ofTenants = guarded.filter(({ platformOnly }) => !platformOnly);
const named = ofTenants.filter(({ url }) => url.includes(':'));
const writes = ofTenants.filter(({ method }) => method !== 'GET' && method !== 'HEAD');
const references = ofTenants.flatMap((row) =>
  referencesIn(row).map((reference) => Object.assign(reference, row)),
);
const lists = ofTenants.filter(isList);

/** What an answer says, without what differs between any two. */
const said = ({ status, body }: Answer): string => JSON.stringify({ status, ...body, request_id: undefined });

/** A state or a name that is taken may stand in the way of the same request a second time; its form may not. */
const isAccepted = (status: number): boolean =>
  (status >= 200 && status < 300) || status === 409 || status === 422;

describe('the generator', () => {
  test('knows the routes of the house', () => {
    const known = guarded.map(({ method, url }) => `${method} ${url}`);
    expect(known).toEqual(
      expect.arrayContaining(['POST /payments', 'GET /customers/:id', 'DELETE /api-keys/:id']),
    );
    expect(references).toMatchObject([{ url: '/payments', member: 'customer_id', idPrefix: 'cus' }]);
    expect(lists.length).toBeGreaterThanOrEqual(6);
    expect(named.length).toBeGreaterThanOrEqual(10);
  });

  test('routes ask for the roles that were promised', () => {
    const promised: [route: RegExp, role: Role][] = [
      [/^(GET|HEAD) \/(payments|customers)\b/, 'viewer'],
      [/^\w+ \/payments\/:id\/refunds?$/, 'finance'],
      [/^\w+ \/(payments|customers)\b/, 'developer'],
      [/^(GET|HEAD) \/events\b/, 'viewer'],
      [/^\w+ \/webhook-endpoints\/:id\/secret$/, 'admin'],
      [/^\w+ \/(webhook-endpoints|deliveries)\b/, 'developer'],
      [/^\w+ \/ledger\b/, 'finance'],
      [/^\w+ \/reconciliations\/:id\/breaks\/:number\/correct$/, 'admin'],
      [/^\w+ \/reconciliations\b/, 'finance'],
      [/^\w+ \/(vendors|api-keys|audit)\b/, 'admin'],
    ];
    const wrong = guarded.filter(({ method, url, requires }) => {
      const [, role = requires] = promised.find(([route]) => route.test(`${method} ${url}`)) ?? [];
      return role !== requires;
    });
    expect(wrong).toEqual([]);
  });

  test('says what to add for a route that it cannot address', () => {
    const row: Omit<RouteRow, 'url'> = { method: 'PATCH', requires: 'admin' };
    expect(() => fill({ ...row, url: '/gadgets/:id' }, {})).toThrow('give its id as "gadgets"');
    expect(() => fill({ ...row, url: '/gadgets/*' }, {})).toThrow('Teach `fill`');
    expect(() => bodyOf({ ...row, url: '/gadgets' }, {})).toThrow('give it an operationId');
  });
});

describe.each(arrangements)('access in $name', { timeout: 60_000 }, ({ start }) => {
  const api = apiForTests({ start, change: withLiveBackend, config: withoutRateLimit });
  let world: World;

  beforeAll(async () => {
    world = await openWorld(api.url, api.database);
  });

  const call = (row: RouteRow, headers: Headers, ids: Ids, given = bodyOf(row, ids)): Promise<Answer> =>
    ask(api.url, { method: row.method, path: fill(row, ids), headers, ...given });
  const adminOf = ({ credentials }: Tenant): Headers => credentials['API key'].admin;
  /** Everybody who may do everything for a tenant: its own key, and the platform acting for it. */
  const adminsOf = (tenant: Tenant): Headers[] => [adminOf(tenant), tenant.credentials['platform key'].admin];
  const pairs = (): { caller: Tenant; owner: Tenant }[] =>
    world.tenants.flatMap((caller) =>
      world.tenants.filter((owner) => owner !== caller).map((owner) => ({ caller, owner })),
    );
  const rowsOfAll = () => Promise.all(world.tenants.map(({ tenantId }) => rowsOf(api.database.db, tenantId)));

  /** Tells what of an answer belongs to other tenants: what their lists show and what was made for them. */
  const strangersFor = async (caller: Tenant | undefined): Promise<(shown: unknown) => string[]> => {
    const owned = world.tenants.map(async (owner) => {
      if (owner === caller) return new Set<string>();
      const pages = lists.map((list) =>
        ask(api.url, { path: `${fill(list, owner.ids)}?limit=100`, headers: adminOf(owner) }),
      );
      return idsIn([owner.ids, (await Promise.all(pages)).map(({ body }) => body)]);
    });
    const foreign = (await Promise.all(owned))
      .reduce((all, some) => all.union(some))
      .difference(world.shared);
    return (shown) => [...idsIn(shown).intersection(foreign)];
  };

  describe.each(guarded)('$method $url', (row) => {
    // HEAD answers have no body to tell more.
    const refused = (status: number, detail: string) =>
      row.method === 'HEAD' ? { status } : { status, body: { detail } };

    test('without a credential is 401 "API key required"', async () => {
      for (const { ids } of world.tenants)
        expect(await call(row, {}, ids)).toMatchObject(refused(401, 'API key required'));
    });

    test(`takes ${row.requires} and above, refuses roles below, whatever the credential, tenant and mode`, async () => {
      const expected = (kind: CredentialKind, role: Role) => {
        if (row.platformOnly && kind !== 'platform key')
          return refused(404, 'There is nothing at this path.');
        if (roles.findIndex((least) => least === row.requires) <= roles.indexOf(role))
          return { status: expect.toSatisfy(isAccepted) };
        return refused(403, 'Insufficient permissions');
      };
      for (const tenant of world.tenants) {
        const { name, credentials } = tenant;
        for (const kind of credentialKinds) {
          const answers = await Promise.all(
            roles.map(async (role) => call(row, credentials[kind][role], await idsFor(api.url, row, tenant))),
          );
          for (const [index, role] of roles.entries()) {
            const who = `${role} by ${kind} in ${name}`;
            expect({ who, ...answers[index] }).toMatchObject({ who, ...expected(kind, role) });
          }
        }
      }
    });

    test('is a 404 for a vendor that names another vendor', async () => {
      for (const { caller, owner } of pairs().filter((pair) => pair.caller.slug !== pair.owner.slug)) {
        for (const vendor of [owner.slug, owner.vendorId]) {
          const headers = { ...adminOf(caller), 'florin-vendor': vendor };
          expect(await call(row, headers, owner.ids)).toMatchObject(refused(404, 'No such vendor.'));
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
            expect(answer.status, `${caller.name} asks for ${fill(row, ids)}, ${owner.name}`).toBe(404);
            expect(said(answer)).toBe(said(await call(row, headers, nobodys[index] ?? {})));
          }
        }
      }
      expect(await rowsOfAll()).toEqual(before);
    });
  });

  describe.each(references)('$method $url, $member', ({ member, idPrefix, ...row }) => {
    test('an object of another vendor or mode is a 404 like one that nobody has, and changes nothing', async () => {
      const before = await rowsOfAll();
      for (const { caller, owner } of pairs()) {
        const id = Object.values(owner.ids).find((each) => each.startsWith(`${idPrefix}_`)) ?? '';
        expect(id, `make an object ${idPrefix}_… in \`seedObjects\` of server/test/setup/api.ts`).not.toBe(
          '',
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
  });

  describe.each(writes)('$method $url', (row) => {
    test('an Idempotency-Key of another vendor or mode is a new one', async () => {
      for (const tenant of world.tenants) {
        const answer = await call(
          row,
          { ...adminOf(tenant), 'idempotency-key': `${row.method}-${row.url}` },
          await idsFor(api.url, row, tenant),
        );
        expect(answer.body['code']).not.toBe('idempotency_key_reused');
        expect(answer.headers.get('idempotent-replayed'), `${tenant.name}: ${said(answer)}`).toBeNull();
      }
    });
  });

  describe.each(lists)('the list $url', (row) => {
    const page = async (headers: Headers, ids: Ids, query: Record<string, string>) => {
      const { status, body } = await ask(api.url, {
        path: `${fill(row, ids)}?${new URLSearchParams(query)}`,
        headers,
      });
      expect(status, `${row.url}: ${JSON.stringify(body)}`).toBe(200);
      // Every list answers with these.
      return body as { data: Record<string, unknown>[]; next_cursor: string | null };
    };
    /** Every item, page by page, from a cursor on. */
    const itemsOf = async (headers: Headers, ids: Ids, query: Record<string, string> = {}) => {
      const items: Record<string, unknown>[] = [];
      let place = query;
      for (let pages = 0; pages < 500; pages += 1) {
        const { data, next_cursor: cursor } = await page(headers, ids, { limit: '100', ...place });
        items.push(...data);
        if (cursor === null) return items;
        place = { ...query, cursor };
      }
      throw new Error(`${row.url} never ends`);
    };
    test('shows on its pages what the tenant has, and nothing of another vendor or mode', async () => {
      for (const caller of world.tenants) {
        const strangersIn = await strangersFor(caller);
        const own = caller.ids[row.url.split('/').at(-1) ?? ''];
        for (const headers of adminsOf(caller)) {
          const limit = Math.ceil((await itemsOf(headers, caller.ids)).length / 3) || 1;
          const shown = await itemsOf(headers, caller.ids, { limit: String(Math.min(limit, 100)) });
          expect(
            shown.length,
            `make more for ${row.url} in \`seedObjects\` of server/test/setup/api.ts`,
          ).toBeGreaterThan(1);
          // Breaks have numbers, which are no ids.
          if (own?.includes('_')) expect(idsIn(shown)).toContain(own);
          expect(strangersIn(shown), `${caller.name} sees them`).toEqual([]);
        }
      }
    });

    test('filters find one’s own, and nothing of another vendor or mode', async () => {
      // The document says where each parameter goes.
      const parameters = (operationOf(row)['parameters'] as { in: string; name: string }[]).filter(
        (each) => each.in === 'query',
      );
      for (const caller of world.tenants) {
        const strangersIn = await strangersFor(caller);
        for (const owner of world.tenants) {
          const theirs = plain((await page(adminOf(owner), owner.ids, { limit: '1' })).data[0]);
          for (const { name } of parameters.filter((each) => typeof theirs[each.name] === 'string')) {
            const shown = await itemsOf(adminOf(caller), caller.ids, { [name]: String(theirs[name]) });
            if (owner === caller) expect(shown, `${name} of ${caller.name}`).not.toEqual([]);
            expect(strangersIn(shown), `${caller.name} searches for ${name} of ${owner.name}`).toEqual([]);
          }
        }
      }
    });

    test('the cursor of another vendor or mode leads to nothing of theirs', async () => {
      for (const { caller, owner } of pairs()) {
        const { next_cursor: cursor } = await page(adminOf(owner), owner.ids, { limit: '1' });
        const shown = await itemsOf(adminOf(caller), caller.ids, { cursor: String(cursor) });
        expect((await strangersFor(caller))(shown)).toEqual([]);
      }
    });

    test('the platform sees what the vendor has that it names, by name or id', async () => {
      for (const tenant of world.tenants) {
        const own = await itemsOf(adminOf(tenant), tenant.ids);
        for (const vendor of [tenant.slug, tenant.vendorId]) {
          const headers = { ...tenant.credentials['platform key'].admin, 'florin-vendor': vendor };
          expect(await itemsOf(headers, tenant.ids), `${vendor} in ${tenant.mode}`).toEqual(own);
        }
      }
    });
  });

  describe.each(ofTenants)('$method $url', (row) => {
    test(`a platform key that names no vendor ${row.withoutVendor ? 'sees nothing of any' : 'is asked for one'}`, async () => {
      const strangersIn = await strangersFor(undefined);
      for (const { ids } of world.tenants) {
        const answer = await call(row, world.platform, ids);
        if (!row.withoutVendor) expect(answer.status).toBe(400);
        else if (row.url.includes(':')) expect(answer.status).toBe(404);
        else expect(strangersIn(answer.body)).toEqual([]);
      }
    });
  });

  test.each(open)('$method $url is for everybody', async (row) => {
    expect((await call(row, {}, {})).body['detail']).not.toBe('API key required');
  });

  test('what is between services does not exist outside', async () => {
    for (const path of ['/internal/v1/health', '/internal/v1/revocations']) {
      expect((await fetch(`${api.url}${path}`, { headers: world.platform })).status).toBe(404);
    }
  });

  test('after all this the books agree', async () => {
    expect(await differencesIn(api.database.db)).toEqual([]);
  });
});
