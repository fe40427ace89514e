import { sql } from 'kysely';
import { append } from '../../src/journal/journal.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { createAccounts, makeTransfer, post } from '../../src/ledger/ledger.ts';
import { listTransfers } from '../../src/ledger/store.ts';
import { verifyLedger } from '../../src/ledger/verify.ts';
import { platformTenantId, roles, type Context, type Mode, type Role } from '../../src/lib/caller.ts';
import { inTransaction, openDatabase, type Db } from '../../src/lib/database.ts';
import type { Finding } from '../../src/lib/finding.ts';
import { idPrefixes, newId, type Id } from '../../src/lib/ids.ts';
import { Secret } from '../../src/lib/secret.ts';
import { book } from '../../src/payments/connectors/book.ts';
import { verifyPayments } from '../../src/payments/verify.ts';
import { verifyReconciliations } from '../../src/reconciliation/verify.ts';
import {
  oneProcess,
  send,
  testKey,
  testParts,
  withConnectors,
  withoutRateLimit,
  type Answer,
  type TestParts,
} from '../../src/services/testing.ts';
import { spreadEvents } from '../../src/webhooks/testing.ts';
import { insertApiKey } from '../../src/vendors/api-keys.ts';
import type { TestDatabase } from './database.ts';

export type Headers = Readonly<Record<string, string>>;

/** One request, without saying where to. */
export type Request = { method?: string; path: string; headers?: Headers; json?: unknown; csv?: string };

/** Sends a request to `/api/v1` of a server. */
export const ask = (url: string, { path, ...options }: Request): Promise<Answer> =>
  send(`${url}/api/v1${path}`, options);

/** The body of an answer that was 2xx. @throws Error with the answer */
export const granted = async (url: string, request: Request): Promise<Answer['body']> => {
  const { status, body } = await ask(url, request);
  if (status < 300) return body;
  throw new Error(`${request.method ?? 'GET'} ${request.path}: ${status} ${JSON.stringify(body)}`);
};

/** What a POST made. @throws Error with the answer, if it was refused */
export const made = (url: string, headers: Headers, path: string, json: object): Promise<Answer['body']> =>
  granted(url, { method: 'POST', path, headers, json });

/** What every check of `florin ledger verify` finds wrong; empty when the books agree. */
export const differencesIn = async (db: Db): Promise<Finding[]> => {
  const findings = [
    ...(await verifyLedger(db)),
    ...(await verifyPayments(db)),
    ...(await verifyReconciliations(db)),
    ...(await verifyJournal(db, (ids) => listTransfers(db, ids))),
  ];
  return findings.filter(({ difference }) => difference !== undefined);
};

/** Connections of one process: fewer than the requests of a race, so that they queue for these too. */
const poolMax = 12;

/** API servers on one database, each with its own pool, writer, caches and clock, as separate processes have them. */
export const openProcesses = async (
  database: TestDatabase,
  count: number,
): Promise<AsyncDisposable & { urls: string[] }> => {
  const stack = new AsyncDisposableStack();
  const urls: string[] = [];
  const { connection } = database;
  for (let opened = 0; opened < count; opened += 1) {
    const { db } = stack.use(
      openDatabase({ connection, poolMax, applicationName: `test-process-${opened}` }),
    );
    const parts = stack.use(await testParts({ db, connection }));
    const { url } = stack.use(await oneProcess(parts, withoutRateLimit));
    urls.push(url);
  }
  return { urls, [Symbol.asyncDispose]: () => stack.disposeAsync() };
};

/** Pays out to the vendor, so that its balance is less than what its payments may still have to give back. */
export const payOut = async (db: Db, tenantId: number, amountMinor: bigint): Promise<void> => {
  const context = systemContext(tenantId);
  const accounts = createAccounts();
  const open = (code: string, nonNegative: boolean): Promise<Id<'account'>> =>
    accounts.open(db, { tenantId, currency: 'USD', code, nonNegative }, context.now);
  const postings = [
    { accountId: await open('payable', true), amountMinor: -amountMinor },
    { accountId: await open('external:book', false), amountMinor },
  ];
  const transfer = makeTransfer({ kind: 'payout', tenantId, objectId: newId('operation'), postings });
  await inTransaction(db, async (tx) => {
    await post(tx, transfer, context.now);
    const object = { type: 'transfer', id: transfer.id, version: 1 };
    await append(tx, context, { kind: 'transfer.paid_out', object, snapshot: {}, transfer });
  });
};

/** The parts of an API, with a payment backend that live mode takes too: `payment_method: "bank"`. */
export const withLiveBackend = (parts: TestParts): TestParts =>
  withConnectors(parts, { bank: { ...book, name: 'bank' } });

export const credentialKinds = ['client', 'token', 'API key', 'platform key'] as const;
export type CredentialKind = (typeof credentialKinds)[number];

/** A tenant with its objects, and a credential of every kind and role to act on it. */
export type Tenant = {
  /** `a/test` */
  name: string;
  slug: string;
  vendorId: string;
  mode: Mode;
  tenantId: number;
  credentials: Readonly<Record<CredentialKind, Readonly<Record<Role, Headers>>>>;
  /** Ids of its objects, by the path segment that stands before them: `/payments/:id`. */
  ids: Readonly<Record<string, string>>;
};

export type World = {
  tenants: readonly Tenant[];
  /** An admin key of the platform that acts for nobody unless it names a vendor. */
  platform: Headers;
  /** Ids that others may see too: of vendors, and of the platform keys that acted for them. */
  shared: ReadonlySet<string>;
};

/** Two vendors: one in both modes, one in test mode, each tenant with objects of every kind. */
export const openWorld = async (url: string, database: TestDatabase): Promise<World> => {
  const platformKeys = {
    test: await platformKeysOf(database.db, 'test'),
    live: await platformKeysOf(database.db, 'live'),
  };
  // Nobody's object, so that it can be disabled, enabled and changed without harm to the tenants.
  const { id: spareId } = await made(url, testKey, '/vendors', { slug: 'spare', name: 'Spare' });
  const tenants: Tenant[] = [];
  for (const [slug, modes] of Object.entries({ a: ['test', 'live'], b: ['test'] } as const)) {
    const vendor = await made(url, testKey, '/vendors', { slug, name: slug });
    const [vendorId, secret] = [String(vendor['id']), String(vendor['client_secret'])];
    for (const mode of modes) {
      const { tenantId, clients } = await insertClients(database.superuser, { slug, mode, secret });
      const keys = platformKeys[mode];
      const credentials = {
        client: clients,
        token: await tokensOf(url, clients),
        'API key': await apiKeysOf(url, clients.admin),
        'platform key': mapRoles((role) => ({ 'x-api-key': keys[role].key, 'florin-vendor': slug })),
      };
      const ids = await seedObjects(url, credentials['API key'].admin, `${slug}-${mode}`);
      const tenant = { name: `${slug}/${mode}`, slug, vendorId, mode, tenantId, credentials };
      const replay = `/webhook-endpoints/${ids['webhook-endpoints']}/replay`;
      for (const from of ['2026-11-21T08:00:00Z', '2026-11-21T09:00:00Z']) {
        await made(url, credentials['API key'].admin, replay, { from, before: '2026-11-22T08:00:00Z' });
        await spreadEvents(database);
      }
      const { data } = await granted(url, { path: '/deliveries', headers: credentials['API key'].admin });
      const deliveries = firstOf(data, 'id');
      tenants.push({ ...tenant, ids: { ...ids, deliveries, vendors: String(spareId) } });
    }
  }
  const keyIds = [platformKeys.test, platformKeys.live].flatMap((keys) => roles.map((role) => keys[role].id));
  return {
    tenants,
    platform: { 'x-api-key': platformKeys.test.admin.key },
    shared: new Set([...tenants.map(({ vendorId }) => vendorId), String(spareId), ...keyIds]),
  };
};

const mapRoles = <Value>(make: (role: Role) => Value): Record<Role, Value> =>
  // The entries are all roles, which the type of `fromEntries` forgets.
  Object.fromEntries(roles.map((role) => [role, make(role)])) as Record<Role, Value>;

const settledRoles = async <Value>(make: (role: Role) => Promise<Value>): Promise<Record<Role, Value>> => {
  const values = await Promise.all(roles.map(make));
  // One value a role, in their order.
  return mapRoles((role) => values[roles.indexOf(role)] as Value);
};

/** Keys of the platform that have no default vendor. */
const platformKeysOf = (db: Db, mode: Mode): Promise<Record<Role, { id: string; key: string }>> =>
  settledRoles(async (role) => {
    const [id, key] = [newId('api_key'), `platform-${mode}-${role}`];
    const row = {
      id,
      secret: new Secret(key),
      tenantId: platformTenantId,
      defaultVendor: undefined,
      mode,
      role,
      name: key,
      expiresAt: null,
    };
    await inTransaction(db, (tx) => insertApiKey(tx, systemContext(platformTenantId), row));
    return { id, key };
  });

/** A client a role. The API makes only a vendor's first one; these share its secret. */
const insertClients = async (
  superuser: Db,
  { slug, mode, secret }: { slug: string; mode: Mode; secret: string },
): Promise<{ tenantId: number; clients: Record<Role, Headers> }> => {
  const idOf = (role: Role): string => `${slug}_${mode}_${role}`;
  const { rows } = await sql<{ id: number }>`
    select t.id from vendors.tenants t join vendors.vendors v on v.id = t.vendor_id where v.slug = ${slug} and t.mode = ${mode}
  `.execute(superuser);
  const tenantId = rows[0]?.id;
  if (tenantId === undefined) throw new Error(`vendor ${slug} has no tenant for mode ${mode}`);
  for (const role of roles) {
    await sql`
      insert into vendors.clients (client_id, tenant_id, role, secret_path, created_at)
      values (${idOf(role)}, ${tenantId}, ${role}, ${`payment-system/vendors/${slug}/client-secret`}, ${seededAt})
    `.execute(superuser);
  }
  return {
    tenantId,
    clients: mapRoles((role) => ({ 'x-client-id': idOf(role), 'x-client-secret': secret })),
  };
};

const tokensOf = (url: string, clients: Record<Role, Headers>): Promise<Record<Role, Headers>> =>
  settledRoles(async (role) => {
    const { token } = await granted(url, { method: 'POST', path: '/authenticate', headers: clients[role] });
    return { authorization: `Bearer ${String(token)}` };
  });

const apiKeysOf = (url: string, admin: Headers): Promise<Record<Role, Headers>> =>
  settledRoles(async (role) => {
    const { key } = await made(url, admin, '/api-keys', { name: role, role });
    return { 'x-api-key': String(key) };
  });

/** Makes objects of every kind; `name` is in whatever text they carry, so that they can be told apart. */
const seedObjects = async (url: string, headers: Headers, name: string): Promise<Record<string, string>> => {
  const make = async (path: string, json: object): Promise<string> =>
    String((await made(url, headers, path, json))['id']);
  const customers = [
    await make('/customers', { email: `ada@${name}.example`, name: `Ada ${name}` }),
    await make('/customers', { email: `bob@${name}.example`, name: `Bob ${name}` }),
  ];
  const payment = {
    amount: '90.00',
    currency: 'USD',
    reference: name,
    customer_id: customers[0],
    payment_method: 'bank',
  };
  const payments = [
    await make('/payments', payment),
    await make('/payments', { ...payment, capture: false }),
  ];
  const refunds = [
    await make(`/payments/${payments[0]}/refunds`, { amount: '1.00', reason: name }),
    await make(`/payments/${payments[0]}/refunds`, { amount: '2.00', reason: name }),
  ];
  const { data: accounts } = await granted(url, { path: '/ledger/accounts?code=payable', headers });
  const account = firstOf(accounts, 'id');
  const { data: entries } = await granted(url, { path: `/ledger/accounts/${account}/entries`, headers });
  const statement = ['reference,kind,amount,currency,status,date', 'x,charge,1.00,USD,succeeded,2026-11-22'];
  const compared = {
    method: 'POST',
    path: '/reconciliations?connector=bank',
    headers,
    csv: statement.join('\n'),
  };
  await granted(url, compared);
  const endpoint = { url: `https://${name}.example/`, events: ['*'], description: name };
  await make('/webhook-endpoints', endpoint);
  const charges = { path: '/audit?action=payment.succeeded', headers };
  return {
    customers: String(customers[0]),
    payments: String(payments[0]),
    refunds: String(refunds[0]),
    'api-keys': await make('/api-keys', { name }),
    accounts: account,
    'webhook-endpoints': await make('/webhook-endpoints', endpoint),
    reconciliations: String((await granted(url, compared))['id']),
    breaks: '1',
    events: firstOf((await granted(url, charges))['data'], 'id'),
    transfers: firstOf(entries, 'transfer_id'),
    proofs: firstOf((await granted(url, { path: '/audit', headers }))['data'], 'id'),
  };
};

const firstOf = (items: unknown, member: string): string => {
  const [first] = items as Record<string, unknown>[]; // `data` of a list
  return String(first?.[member]);
};

const seededAt = new Date('2026-11-22T08:00:00Z');

const systemContext = (tenantId: number): Context => ({
  tenantId,
  actor: 'system:test',
  origin: undefined,
  requestId: undefined,
  now: seededAt,
});

/** How many rows a tenant has of everything that a write may make. */
export const rowsOf = async (db: Db, tenantId: number): Promise<Record<string, bigint>> => {
  const { rows } = await sql<Record<string, bigint>>`
    select (select count(*) from journal.entries where tenant_id = ${tenantId} and result = 'success') as changes,
           (select count(*) from ledger.transfers where tenant_id = ${tenantId}) as transfers,
           (select count(*) from ledger.entries e join ledger.accounts a on a.id = e.account_id
             where a.tenant_id = ${tenantId}) as entries,
           (select count(*) from ledger.holds where tenant_id = ${tenantId}) as holds,
           (select count(*) from payments.payments where tenant_id = ${tenantId}) as payments,
           (select count(*) from payments.refunds where tenant_id = ${tenantId}) as refunds,
           (select count(*) from payments.operations where tenant_id = ${tenantId}) as operations,
           (select count(*) from reconciliation.runs where tenant_id = ${tenantId}) as reconciliations,
           (select count(*) from reconciliation.corrections where tenant_id = ${tenantId}) as corrections,
           (select count(*) from customers.customers where tenant_id = ${tenantId}) as customers,
           (select count(*) from webhooks.endpoints where tenant_id = ${tenantId}) as endpoints,
           (select count(*) from webhooks.secrets where tenant_id = ${tenantId}) as secrets,
           (select count(*) from webhooks.replays where tenant_id = ${tenantId}) as replays,
           (select coalesce(sum(extract(epoch from due_at)), 0) from webhooks.deliveries
             where tenant_id = ${tenantId}) as deliveries_due,
           (select count(*) from vendors.api_keys where tenant_id = ${tenantId}) as api_keys,
           (select count(*) from vendors.vendors where ${tenantId} = ${platformTenantId}) as vendors
  `.execute(db);
  return rows[0] ?? {};
};

/** Every choice of own and foreign ids for the parameters of a path that has at least one foreign. */
export const mixtures = (url: string, own: Tenant['ids'], foreign: Tenant['ids']): Tenant['ids'][] => {
  // Breaks count from 1 in every reconciliation: whose they are shows in the id before them.
  const collections = [...url.matchAll(/([^/]+)\/:/g)]
    .map(([, collection = '']) => collection)
    .filter((collection) => collection !== 'breaks');
  const choices = Array.from({ length: 2 ** collections.length - 1 }, (_, index) => index + 1);
  return choices.map((choice) => {
    const chosen = collections.filter((_, bit) => choice & (1 << bit));
    return Object.assign({}, own, Object.fromEntries(chosen.map((name) => [name, foreign[name] ?? ''])));
  });
};

/** An id like this one that nothing has. */
export const unknownLike = (id: string): string => id.replace(/_.*$/, newId('request').slice('req'.length));

const anyId = new RegExp(`\\b(?:${Object.values(idPrefixes).join('|')})_[0-7][0-9a-hjkmnp-tv-z]{25}\\b`, 'g');

/** Every id in whatever an answer shows. */
export const idsIn = (shown: unknown): Set<string> => new Set(JSON.stringify(shown).match(anyId) ?? []);
