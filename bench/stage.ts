import type pg from 'pg';
import type { Generator, Options } from './options.ts';
import { openClient } from './load/client.ts';
import { newRun } from './load/body.ts';
import { sendPayments } from './load/load.ts';
import { watchCpu, type Cpu } from './machine.ts';
import { startPostgres, withClient, type Postgres } from './postgres.ts';
import { startService, type Service, type ServiceName } from './services.ts';
import { createVendors, type Vendor, type Vendors } from './vendors.ts';

/** One figure of one round. */
export type Sample = {
  value: number;
  /** What it is divided by, if the row measures that itself. */
  over?: number | undefined;
  cpu: Cpu | undefined;
  /** More about it, such as other percentiles. */
  note?: string | undefined;
};

/** What the rows of a run share: the server, the vendors, and the services, which start when a row first needs them. */
export type Stage = {
  options: Options;
  generator: Generator;
  /** Whoever starts something puts its end here, where Ctrl-C finds it too. */
  cleanup: AsyncDisposableStack;
  postgres: Postgres;
  vendors: Vendors;
  /** Edge and core in one process. */
  api(): Promise<Service>;
  /** Another of these on the same database. */
  secondApi(): Promise<Service>;
  /** Edge and core as two processes. */
  pair(): Promise<{ eapi: Service; sapi: Service }>;
  /** A service on a database of its own or on the common one; it lives as long as the run unless it is stopped. */
  start(name: ServiceName, options?: { database?: string; sapiUrl?: string }): Promise<Service>;
  /** Has services know every vendor, as those at work do: what they were told of credentials they forget after a minute. */
  warm(...services: readonly Service[]): Promise<void>;
  /** What must be stored, by database. */
  tallies: Map<string, Tally>;
};

/** Payments that were answered, and those that were under way when a load stopped: stored or not, nobody was told. */
type Tally = { answered: number; cutOff: number };

/** The database of all rows that don't need one of their own. */
export const commonDatabase = 'bench';

/** Well below the minute after which a service asks for credentials again. */
const warmForMs = 20_000;

export const openStage = async ({
  options,
  generator,
  cleanup,
}: Pick<Stage, 'options' | 'generator' | 'cleanup'>): Promise<Stage> => {
  const starting = startPostgres();
  cleanup.defer(() =>
    starting.then(
      (started) => started[Symbol.asyncDispose](),
      () => undefined,
    ),
  );
  const postgres = await starting;
  await postgres.create(commonDatabase);
  const vendors = await createVendors(postgres.service(commonDatabase), {
    count: options.vendors,
    home: postgres.home,
  });
  const start: Stage['start'] = (name, { database = commonDatabase, sapiUrl } = {}) => {
    const connection = name === 'eapi' ? {} : { connection: postgres.service(database) };
    const to = sapiUrl === undefined ? {} : { sapiUrl };
    return startService(name, { home: postgres.home, cleanup, ...connection, ...to });
  };
  const warmedAtMs = new Map<Service, number>();
  const warm: Stage['warm'] = async (...services) => {
    for (const service of services) {
      if (performance.now() - (warmedAtMs.get(service) ?? Number.NEGATIVE_INFINITY) < warmForMs) continue;
      tally(stage, { answered: await payOnceEach(service.url, vendors.all) });
      warmedAtMs.set(service, performance.now());
    }
  };
  const warmed = async (service: Service): Promise<Service> => {
    await warm(service);
    return service;
  };
  const stage: Stage = {
    options,
    generator,
    cleanup,
    postgres,
    vendors,
    api: once(async () => warmed(await start('api'))),
    secondApi: once(async () => warmed(await start('api'))),
    pair: once(async () => {
      const sapi = await start('sapi');
      return { sapi, eapi: await warmed(await start('eapi', { sapiUrl: sapi.url })) };
    }),
    start,
    warm,
    tallies: new Map(),
  };
  return stage;
};

/** Runs `run` and says what the processor did meanwhile; a failure comes with what the services complained about. */
export const measured = async (
  { postgres }: Stage,
  services: readonly Service[],
  run: () => Promise<Omit<Sample, 'cpu'>>,
): Promise<Sample> => {
  for (const service of services) service.forgetLog();
  const cpu = watchCpu({ node: services.map(({ pid }) => pid), postgres: postgres.pid });
  try {
    const sample = await run();
    return { ...sample, cpu: cpu() };
  } catch (error) {
    const said = services.flatMap((service) =>
      service.complaints().map((line) => `${service.name}: ${line}`),
    );
    const message = error instanceof Error ? error.message : String(error);
    throw new Error([message, ...said].join('\n'), { cause: error });
  }
};

/** Payments per second of random vendors, or of one. */
export const paymentsPerSecond = async (
  stage: Stage,
  url: string,
  load: { clients: number; tokensFile?: string; seconds?: number; database?: string },
): Promise<{ rate: number; p50Ms: number }> => {
  const { clients, tokensFile = stage.vendors.allFile, seconds = stage.options.seconds, database } = load;
  const report = await sendPayments({ generator: stage.generator, url, tokensFile, clients, seconds });
  tally(stage, { database, answered: report.requests, cutOff: clients });
  return { rate: report.requests / report.seconds, p50Ms: report.p50Ms };
};

/** Notes payments, which `checkHonesty` looks for. */
export const tally = (
  { tallies }: Stage,
  {
    database = commonDatabase,
    answered,
    cutOff = 0,
  }: Partial<Tally> & { database?: string | undefined; answered: number },
): void => {
  const before = tallies.get(database) ?? { answered: 0, cutOff: 0 };
  tallies.set(database, { answered: before.answered + answered, cutOff: before.cutOff + cutOff });
};

/**
 * Checks that what was answered is stored, and that nobody deadlocked. Not `exact`: a load failed, and how many of its
 * payments were answered is not known.
 * @throws Error
 */
export const checkHonesty = async (
  { postgres, tallies }: Stage,
  { exact }: { exact: boolean },
): Promise<void> => {
  const deadlocks = await postgres.deadlocks();
  if (deadlocks > 0) throw new Error(`${deadlocks} deadlocks`);
  for (const [database, { answered, cutOff }] of tallies) {
    const stored = await withClient(postgres.superuser(database), countPayments);
    if (stored < answered || (exact && stored > answered + cutOff))
      throw new Error(`${database}: ${answered} payments were answered, ${stored} are stored`);
  }
};

const countPayments = async (client: pg.Client): Promise<number> => {
  const { rows } = await client.query<{ count: number }>(
    'select count(*)::integer as count from payments.payments',
  );
  return rows[0]?.count ?? 0;
};

/** One payment of each vendor: opens its accounts, fills the caches, and lets Node.js compile what is hot. */
export const payOnceEach = async (url: string, vendors: readonly Vendor[]): Promise<number> => {
  const client = openClient(url, { connections: 64 });
  const run = newRun();
  const left = vendors.entries();
  const payNext = async (): Promise<void> => {
    for (const [number, { token }] of left) {
      const { status, text } = await client.pay(token, `${run}-${String(number).padStart(9, '0')}`);
      if (status !== 201) throw new Error(`a payment was answered ${status}: ${text}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: 64 }, payNext));
  } finally {
    client.close();
  }
  return vendors.length;
};

const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
};
