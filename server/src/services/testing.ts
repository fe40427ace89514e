import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { senderOf } from '../access/credential.ts';
import { localDirectory } from '../access/local.ts';
import { serviceTokens } from '../access/service-token.ts';
import { openCustomerKeys } from '../customers/keys.ts';
import { processCache } from '../lib/cache.ts';
import { manualClock } from '../lib/clock.ts';
import { keyFrom } from '../lib/crypto.ts';
import { buildServer, type App } from '../lib/http/server.ts';
import { memoryLog, portOf, testSettings } from '../lib/http/testing.ts';
import { createMetrics } from '../lib/metrics.ts';
import { openOutbound } from '../lib/outbound/outbound.ts';
import { Secret } from '../lib/secret.ts';
import type { Connector } from '../payments/connectors/connector.ts';
import { resolveDue } from '../payments/resolver.ts';
import { fileSecrets } from '../secrets/files.ts';
import type { SecretSource } from '../secrets/source.ts';
import { seedDemo } from '../vendors/demo.ts';
import { openEndpointKeys } from '../webhooks/secrets.ts';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { forAllTests } from '../../test/setup/for-all-tests.ts';
import { buildEapi } from './eapi.ts';
import { mountEdge, type Edge } from './edge.ts';
import { mountCore, routeTable, type RouteRow } from './routes.ts';
import { announcer } from './core.ts';
import { byName, openPayments, ownConnectors } from './payments.ts';
import { buildSapi } from './sapi.ts';
import { remoteSettle, resolverOf } from './worker.ts';

const masterKey = new Secret(Buffer.alloc(32, 7).toString('base64'));

export const testConfig = (sapiUrl = 'http://127.0.0.1:1') => ({
  server: { ...testSettings().server, sapiUrl },
  auth: {
    jwtSecret: new Secret('a secret of tests that signs access tokens'),
    serviceSecret: new Secret('a secret of tests that signs service tokens'),
    tokenTtlS: 900,
    issuer: 'https://florin.test',
    audience: 'florin',
  },
  rateLimit: { max: 10_000, windowMs: 60_000 },
});

/** Everything a service needs, on a test database with the demo vendors; secrets in a file of their own. */
export const testParts = async ({ db, connection }: Pick<TestDatabase, 'db' | 'connection'>) => {
  const clock = manualClock('2026-11-22T08:00:00Z');
  const folder = await mkdtemp(join(tmpdir(), 'florin-secrets-'));
  const master = keyFrom(masterKey);
  const secrets: SecretSource = fileSecrets({
    file: join(folder, 'secrets'),
    master: { current: master },
    clock,
  });
  await seedDemo({ db, secrets, clock }, 'test');
  const customerKeys = openCustomerKeys({ masterKey }, { clock });
  const cache = processCache(clock);
  const metrics = createMetrics({ process: false });
  const { log, lines } = memoryLog();
  const payments = openPayments({
    db,
    connection,
    customerKeys,
    connectors: byName(ownConnectors),
    connectorTimeoutMs: 200,
    clock,
    log,
    metrics,
  });
  const outbound = openOutbound({ allow: [], allowLoopback: true }, { clock });
  return {
    db,
    clock,
    secrets,
    secretsFolder: folder,
    masterKey: master,
    customerKeys,
    payments: payments.module,
    outbound,
    endpointKeys: openEndpointKeys({ masterKey }),
    webhooks: { endpointsMax: 1_000 },
    retention: { eventsDays: 90 },
    cache,
    announceRevocation: announcer(cache),
    metrics,
    log,
    lines,
    [Symbol.asyncDispose]: async () => {
      await payments.close();
      await outbound.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

export type TestParts = Awaited<ReturnType<typeof testParts>>;

/** A running API: where it listens, its edge, and the routes of its core. */
export type TestApi = AsyncDisposable & { url: string; edge: Edge; routes: readonly RouteRow[] };

/** Edge and core in one process. */
export const oneProcess = async (
  parts: TestParts,
  changes: Partial<ReturnType<typeof testConfig>> = {},
): Promise<TestApi> => {
  const config = { ...testConfig(), ...changes };
  const app = buildServer({ ...parts, config, name: 'api', senderOf });
  const routes = routeTable(app);
  const edge = mountEdge(app, { ...parts, config, directory: localDirectory(parts) });
  mountCore(app, parts, edge.events);
  return { url: await listen(app), edge, routes, [Symbol.asyncDispose]: () => app.close() };
};

/** Edge and core as two servers that meet over HTTP only. */
export const twoProcesses = async (
  parts: TestParts,
  changes: Partial<ReturnType<typeof testConfig>> = {},
): Promise<TestApi & { sapiUrl: string }> => {
  const sapi = buildSapi({ ...parts, config: { ...testConfig(), ...changes } });
  const routes = routeTable(sapi);
  const sapiUrl = await listen(sapi);
  const config = { ...testConfig(sapiUrl), ...changes };
  const { app, edge } = buildEapi({ ...parts, config: { ...config, server: { ...config.server, sapiUrl } } });
  const url = await listen(app);
  const close = async (): Promise<void> => {
    await app.close();
    await sapi.close();
  };
  return { url, sapiUrl, edge, routes, [Symbol.asyncDispose]: close };
};

/** Edge, core and worker, which meet over HTTP only. The worker's resolver asks when `resolve` is called. */
export const threeProcesses = async (
  parts: TestParts,
): Promise<TestApi & { sapiUrl: string; resolve(): Promise<number> }> => {
  const api = await twoProcesses(parts);
  const tokens = serviceTokens(testConfig().auth.serviceSecret, parts.clock);
  const settle = remoteSettle({ sapiUrl: api.sapiUrl, serviceTokens: tokens });
  return { ...api, resolve: () => resolveDue(resolverOf({ ...parts, ...parts.payments, settle })) };
};

/** The parts with more payment backends, each by the name that `payment_method` begins with. */
export const withConnectors = (parts: TestParts, connectors: Record<string, Connector>): TestParts => ({
  ...parts,
  payments: {
    ...parts.payments,
    connectors: new Map([...parts.payments.connectors, ...Object.entries(connectors)]),
  },
});

/** How an API may be put together: what holds at its edge holds for each. For `describe.each`. */
export const arrangements: readonly { name: string; start: typeof oneProcess }[] = [
  { name: 'one process', start: oneProcess },
  { name: 'two processes', start: twoProcesses },
];

/** The parts of a service on a database of their own, for all tests of a file or a `describe`. */
export const partsForTests = (): TestParts =>
  forAllTests(async (stack) => stack.use(await testParts(stack.use(await testDatabase()))));

/** Which API is opened: its parts are changed before it starts, its configuration differs from `testConfig`. */
type ApiOptions = {
  start?: typeof oneProcess;
  change?: (parts: TestParts) => TestParts;
  config?: Partial<ReturnType<typeof testConfig>>;
};

/** A running API with its parts and a database of its own, for all tests of a file or a `describe`. */
export const apiForTests = ({
  start = oneProcess,
  change = (parts) => parts,
  config = {},
}: ApiOptions = {}): TestApi & { database: TestDatabase; parts: TestParts } =>
  forAllTests(async (stack) => {
    const database = stack.use(await testDatabase());
    const parts = change(stack.use(await testParts(database)));
    return { database, parts, ...stack.use(await start(parts, config)) };
  });

/** More requests than any test sends. */
export const withoutRateLimit = { rateLimit: { max: 1_000_000, windowMs: 60_000 } };

/** Listens on a free port of the loopback address and gives its URL. */
export const listen = async (app: App): Promise<string> => {
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${portOf(app)}`;
};

export type Answer = { status: number; headers: Headers; body: Record<string, unknown> };

type RequestOptions = { method?: string; headers?: Record<string, string>; json?: unknown; csv?: string };

/** Sends one request and reads its JSON answer. */
export const send = async (
  url: string,
  { method = 'GET', headers = {}, json, csv }: RequestOptions = {},
): Promise<Answer> => {
  const body = json === undefined ? (csv === undefined ? {} : { body: csv }) : { body: JSON.stringify(json) };
  const type = json === undefined ? {} : { 'content-type': 'application/json' };
  if (csv !== undefined) Object.assign(type, { 'content-type': 'text/csv' });
  const response = await fetch(url, { method, headers: { ...type, ...headers }, ...body });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
};

export const testKey = { 'x-api-key': 'test-key' };
export const testClient = { 'x-client-id': 'test_client_id', 'x-client-secret': 'test_client_secret' };
export const otherClient = { 'x-client-id': 'vendor_client_id', 'x-client-secret': 'vendor_client_secret' };
