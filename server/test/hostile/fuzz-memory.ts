import { plain } from '../../src/lib/openapi/example.ts';
import { idsIn, type Headers, type World } from '../setup/api.ts';
import { listOf } from '../setup/requests.ts';
import type { Random } from './fuzz-random.ts';

/** Somebody who can prove who they are. */
export type Holder = {
  /** For reports: `developer by token in a/test`. */
  name: string;
  headers: Headers;
  /** Whose objects these credentials reach, as `<vendor id>/<mode>`; undefined where the request itself chooses. */
  tenant: string | undefined;
};

/** What the answers so far have told: ids, cursors, credentials, and whose each object is. */
export type Memory = {
  holders: Holder[];
  /** For whom an operation has worked, by its id. */
  succeeded: Map<string, Set<Holder>>;
  /** Idempotency keys that were used, to be used again. */
  keys: string[];
  /**
   * Remembers what an answer to a tenant shows.
   * @returns ids in it that belong to another tenant
   */
  learn(shown: Shown): string[];
  /** An id with this prefix, mostly one of the tenant's; undefined when none is known. */
  id(random: Random, prefix: string, tenant: string | undefined): string | undefined;
  cursor(random: Random, operationId: string): string | undefined;
  /** An id that requests may look at but not change, so that the credentials of the run keep working. */
  isSpared(id: string): boolean;
};

type Shown = {
  operationId: string;
  holder: Holder;
  /** Whose objects the answer may show; undefined when the request left that open. */
  tenant: string | undefined;
  body: Record<string, unknown>;
};

const keptMax = 400;
const ownedPrefixes = ['pay', 'cus', 'ref', 'acct', 'trf', 'evt'];

/** A memory that begins with the credentials of a world; what keeps them working is spared. */
export const openMemory = (world: World, spared: ReadonlySet<string>): Memory => {
  const holders = world.tenants.flatMap(({ name, vendorId, mode, credentials }) =>
    Object.entries(credentials).flatMap(([kind, byRole]) =>
      Object.entries(byRole).map(([role, headers]): Holder => {
        return { name: `${role} by ${kind} in ${name}`, headers, tenant: `${vendorId}/${mode}` };
      }),
    ),
  );
  holders.push({ name: 'the platform', headers: world.platform, tenant: undefined });
  const ownHolders = holders.length;
  /** By prefix and state of the object, so that rare states are as likely as others. */
  const ids = new Map<string, Map<string, { id: string; tenant: string | undefined }[]>>();
  const owners = new Map<string, string>();
  const cursors = new Map<string, string[]>();
  const succeeded = new Map<string, Set<Holder>>();
  const gone = new WeakSet<Holder>();

  const keep = <Item>(list: Item[], item: Item): void => {
    list.push(item);
    if (list.length > keptMax) list.shift();
  };
  const entry = <Value>(map: Map<string, Value>, key: string, empty: () => Value): Value => {
    const value = map.get(key) ?? empty();
    map.set(key, value);
    return value;
  };

  const learnIds = (body: Record<string, unknown>, tenant: string | undefined): string[] => {
    const states = new Map(
      [body, ...listOf(body['data']).map(plain)].map((each) => [each['id'], each['status']]),
    );
    const foreign: string[] = [];
    for (const id of idsIn(body)) {
      const [prefix = ''] = id.split('_', 1);
      const byState = entry(
        ids,
        prefix,
        () => new Map<string, { id: string; tenant: string | undefined }[]>(),
      );
      keep(
        entry(byState, String(states.get(id)), () => []),
        { id, tenant },
      );
      if (tenant === undefined || !ownedPrefixes.includes(prefix)) continue;
      if (entry(owners, id, () => tenant) !== tenant) foreign.push(id);
    }
    return foreign;
  };

  /** New credentials join, up to a number; an old one of them goes. */
  const join = (holder: Holder): void => {
    const oldest = holders.length >= ownHolders + 40 ? holders.splice(ownHolders, 1) : [];
    for (const old of oldest) {
      gone.add(old);
      for (const some of succeeded.values()) some.delete(old);
    }
    holders.push(holder);
  };

  const learnCredentials = (body: Record<string, unknown>, tenant: string | undefined): void => {
    const { id, key, vendor, mode, token, client_secret: secret } = body;
    const [client] = listOf(body['clients']).map(plain);
    if (typeof key === 'string' && typeof vendor === 'string')
      join({
        name: `new key ${id}`,
        headers: { 'x-api-key': key },
        tenant: `${vendor}/${String(mode)}`,
      });
    if (typeof token === 'string')
      join({ name: 'new token', headers: { authorization: `Bearer ${token}` }, tenant });
    if (typeof secret === 'string' && client)
      join({
        name: `new client ${String(client['client_id'])}`,
        headers: { 'x-client-id': String(client['client_id']), 'x-client-secret': secret },
        tenant: `${String(id)}/${String(client['mode'])}`,
      });
  };

  for (const { ids: own, vendorId, mode } of world.tenants)
    learnIds({ ...own, vendors: vendorId }, `${vendorId}/${mode}`);
  return {
    holders,
    succeeded,
    keys: [],
    learn: ({ operationId, holder, body, tenant }) => {
      if (!gone.has(holder)) entry(succeeded, operationId, () => new Set<Holder>()).add(holder);
      learnCredentials(body, tenant);
      if (typeof body['next_cursor'] === 'string')
        keep(
          entry(cursors, operationId, () => []),
          body['next_cursor'],
        );
      return learnIds(body, tenant);
    },
    id: (random, prefix, tenant) => {
      const byState = ids.get(prefix);
      if (!byState) return undefined;
      const all = random.pick([...byState.values()]);
      const own = all.filter((each) => each.tenant === tenant);
      return random.pick(own.length > 0 && random.chance(0.85) ? own : all).id;
    },
    cursor: (random, operationId) => {
      const own = cursors.get(operationId) ?? [];
      const some = own.length > 0 && random.chance(0.8) ? own : [...cursors.values()].flat();
      return some.length > 0 ? random.pick(some) : undefined;
    },
    isSpared: (id) => spared.has(id),
  };
};
