import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'kysely';
import { openDatabase, type Db } from '../../src/lib/database.ts';
import type { Vendor } from './calls.ts';
import { startClients, type Clients } from './clients.ts';
import { startPostgres } from './postgres.ts';
import { startService, type Service } from './service.ts';
import { killKinds, killsOf, strike, type Victims } from './webhooks-kills.ts';
import { differencesOf, owedOf, readBooks } from './webhooks-owed.ts';
import type { WebhooksReport } from './webhooks-report.ts';
import { startReceiver, type Receiver } from './webhooks-seen.ts';
import { freePort, openHome, seedVendors, serviceEnv } from './world.ts';

type Options = {
  /** How many different messages have to arrive before it is over. */
  deliveries: number;
  kills: number;
  seed: number;
  /** Told now and then how far it is. */
  say(line: string): void;
  /** Leaves database and logs where they are. */
  keep: boolean;
};

type World = Victims & { home: string; url: string; vendors: Vendor[]; faults: string[] };

/**
 * Lets clients pay and refund while services and database are killed, and a receiver take what it is told of it, until all is
 * quiet; then compares what came with the journal and the queue.
 */
export const crashWebhooks = async (options: Options): Promise<WebhooksReport> => {
  const startedAt = performance.now();
  await using receiver = await startReceiver();
  const world = await start(options, receiver);
  try {
    receiver.expect(await createEndpoints(world));
    const { url, vendors } = world;
    const clients = startClients({ url, vendors, seed: options.seed, clients: 6, pauseMs: 50 });
    const kills = await killAll(world, options);
    options.say('No more kills: waiting until all is quiet');
    await finish(world, clients);
    const found = await compare(world);
    const tookMs = performance.now() - startedAt;
    return { seed: options.seed, tookMs, kills, tally: clients.tally, ...found };
  } finally {
    for (const service of [...world.workers, world.eapi, world.sapi]) await service.stop();
    await world.postgres.stop();
    if (options.keep) options.say(`Kept in ${world.home}`);
    else await rm(world.home, { recursive: true, force: true });
  }
};

/** Short, so that what a receiver ignores, or a killed worker held, is tried again soon. */
const webhookTimeoutMs = 1_000;

const start = async ({ keep }: Options, receiver: Receiver): Promise<World> => {
  const home = await openHome(keep);
  const postgres = await startPostgres(home);
  const vendors = await seedVendors(postgres, apiKey);
  const ports = { eapi: await freePort(), sapi: await freePort() };
  const faults: string[] = [];
  const env = {
    ...serviceEnv(home, postgres.connectionAs('florin_service'), ports),
    PAYMENTS_OUTBOUND_ALLOW_LOOPBACK: 'true',
    PAYMENTS_WEBHOOKS_SCHEDULE: 'guide',
    PAYMENTS_WEBHOOKS_TIMEOUT_MS: String(webhookTimeoutMs),
  };
  const service = (name: string, log = name): Service =>
    startService({ name, env, logFile: join(home, `${log}.log`), onOwnEnd: (what) => faults.push(what) });
  const [sapi, eapi] = [service('sapi'), service('eapi')];
  const workers = [service('worker'), service('worker', 'worker-2')] as const;
  const url = `http://127.0.0.1:${ports.eapi}`;
  return { home, postgres, sapi, eapi, workers, receiver, url, vendors, faults };
};

const apiKey = 'test-key';

/** What every vendor has. */
const endpoints = {
  all: { events: ['*'], ordered: true },
  payments: { events: ['payment.*'] },
  thin: { events: ['*'], payload: 'thin' },
  outcomes: { events: ['payment.succeeded', 'payment.refunded', 'refund.*'], ordered: true, payload: 'thin' },
  // Disabled before anything happens: it is told nothing.
  off: { events: ['payment.*', 'refund.*'] },
} as const;

/** Makes the endpoints, at paths of the receiver that name vendor and endpoint, and gives their secrets by these paths. */
const createEndpoints = async ({ url, vendors, receiver }: World): Promise<Record<string, string>> => {
  const secrets: Record<string, string> = {};
  for (const vendor of vendors)
    for (const [name, body] of Object.entries(endpoints)) {
      const path = `/${vendor.slug}/${name}`;
      const address = { url: `${url}/api/v1/webhook-endpoints`, vendor };
      const made = await post(address, path, { ...body, url: receiver.url + path });
      secrets[path] = String(made['secret']);
      if (name === 'off') await post({ ...address, url: `${address.url}/${made['id']}/disable` }, path, {});
    }
  return secrets;
};

const startPatienceMs = 120_000;

/** Asks until it is done: the services may be starting still. @throws Error when it is refused, or takes too long */
const post = async (
  { url, vendor }: { url: string; vendor: Vendor },
  key: string,
  body: unknown,
): Promise<Record<string, unknown>> => {
  const request = {
    method: 'POST',
    headers: {
      'x-api-key': apiKey,
      'florin-vendor': vendor.slug,
      'idempotency-key': `endpoint${key.replaceAll('/', '-')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  };
  for (const deadline = performance.now() + startPatienceMs; performance.now() < deadline; await wait(100)) {
    const response = await fetch(url, request).catch(() => undefined);
    if (!response || response.status >= 500) continue;
    const answer = (await response.json()) as Record<string, unknown>;
    if (response.ok) return answer;
    throw new Error(`POST ${url}: ${response.status} ${JSON.stringify(answer)}`);
  }
  throw new Error(`POST ${url}: the services do not answer`);
};

/** Nothing new for so long means that somebody did not come back, or that deliveries are lost. */
const arrivalPatienceMs = 90_000;

const killAll = async (world: World, options: Options): Promise<WebhooksReport['kills']> => {
  const { deliveries, kills, seed, say } = options;
  const { receiver, faults } = world;
  const none = killKinds.map((kind) => [kind, { hit: 0, missed: 0 }]);
  // One entry a kind, which the type of `fromEntries` forgets.
  const struck = Object.fromEntries(none) as WebhooksReport['kills'];
  for (const [index, kill] of killsOf(seed, kills).entries()) {
    const count = Math.floor((deliveries * (index + 1)) / (kills + 1));
    if (!(await receiver.reached(count, arrivalPatienceMs))) {
      faults.push(`nothing new came for ${arrivalPatienceMs / 1000} s before kill ${index + 1}`);
      return struck;
    }
    struck[kill.kind][(await strike(world, kill)) ? 'hit' : 'missed'] += 1;
    if ((index + 1) % 20 === 0) say(`${index + 1} of ${kills} kills, ${receiver.seen()} deliveries`);
  }
  if (!(await receiver.reached(deliveries, arrivalPatienceMs)))
    faults.push(`nothing new came for ${arrivalPatienceMs / 1000} s after the last kill`);
  return struck;
};

/** Longer than the few retries of what the receiver does not accept at first. */
const quietPatienceMs = 180_000;

/** Nothing new happens any more, and everything that did is told. */
const finish = async (world: World, clients: Clients): Promise<void> => {
  const { sapi, eapi, workers, faults } = world;
  const finished = clients.finish().then(() => true);
  const patience = wait(quietPatienceMs, false, { ref: false });
  if (!(await Promise.race([finished, patience]))) {
    clients.abandon();
    faults.push('some writes were never answered');
  }
  faults.push(...clients.faults);
  // Without them nobody writes money, also not what a backend says at last.
  await eapi.stop();
  await sapi.stop();
  await using database = openBooks(world);
  const deadline = performance.now() + quietPatienceMs;
  while (!(await isQuiet(database.db)) && performance.now() < deadline) await wait(100);
  if (!(await isQuiet(database.db))) faults.push(`it is not quiet after ${quietPatienceMs / 1000} s`);
  for (const worker of workers) await worker.stop();
};

const openBooks = ({ postgres }: World) =>
  openDatabase({
    connection: { ...postgres.connectionAs('florin_service'), statementTimeoutMs: undefined },
    poolMax: 1,
    applicationName: 'crash-webhooks',
  });

/** Every entry has its place, every place was looked at, and nothing is to be sent. */
const isQuiet = async (db: Db): Promise<boolean> => {
  const { rows } = await sql<{ isQuiet: boolean }>`
    select (select count(*) from journal.entries) = (select count(*) from journal.positions)
       and (select w.position from webhooks.progress w) > (select max(p.position) from journal.positions p)
       and not exists (select from webhooks.deliveries d where d.state = 'pending') as "isQuiet"
  `.execute(db);
  return rows[0]?.isQuiet === true;
};

type Found = Omit<WebhooksReport, 'seed' | 'tookMs' | 'kills' | 'tally'>;

const compare = async (world: World): Promise<Found> => {
  await using database = openBooks(world);
  const books = await readBooks(database.db);
  const arrivals = await world.receiver.arrivals();
  const treatments = { accepted: 0, refused: 0, ignored: 0, dropped: 0 };
  for (const { treatment } of arrivals) treatments[treatment] += 1;
  const disabled = books.endpoints.filter(({ isEnabled, path }) => !isEnabled && !path.endsWith('/off'));
  return {
    owed: [...owedOf(books).values()].reduce((sum, events) => sum + events.length, 0),
    delivered: new Set(arrivals.map(({ endpoint, id }) => `${endpoint} ${id}`)).size,
    arrived: arrivals.length,
    treatments,
    endpoints: books.endpoints.length,
    differences: [
      ...world.faults,
      ...disabled.map(({ path }) => `${path} was disabled`),
      ...differencesOf(books, arrivals),
    ],
  };
};
