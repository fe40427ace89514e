import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { randomSecret } from '../../src/lib/crypto.ts';
import { openDatabase, type Db } from '../../src/lib/database.ts';
import { signal } from '../../src/lib/postgres/processes.ts';
import { stepNames, type StepName } from '../../src/lib/step.ts';
import { differences } from '../model/differences.ts';
import { payOut } from '../setup/api.ts';
import type { Call, Vendor } from './calls.ts';
import { startClients, type Clients } from './clients.ts';
import { startPostgres, type Postgres } from './postgres.ts';
import { resolveAll, type ResolverParts } from './resolve.ts';
import type { Report } from './report.ts';
import { scheduleOf, type Kill, type Victim } from './schedule.ts';
import { startService, type Service } from './service.ts';
import { freePort, openHome, seedVendors, serviceEnv } from './world.ts';

type Options = {
  kills: number;
  seed: number;
  /** Told now and then how far it is. */
  say(line: string): void;
  /** Leaves database and logs where they are. */
  keep: boolean;
};

/** Everything that a run kills and asks. */
type World = {
  home: string;
  postgres: Postgres;
  eapi: Service;
  sapi: Service;
  worker: Service;
  resolver: ResolverParts;
  vendors: Vendor[];
  clients: Clients;
};

/**
 * Lets clients pay, capture, cancel and refund while services and database are killed, until every request has its
 * answer; then compares the database and the answers with the model.
 */
export const crash = async (options: Options): Promise<Report> => {
  const startedAt = performance.now();
  const faults: string[] = [];
  const world = await start(options, faults);
  const report = emptyReport(options.seed, world.clients);
  try {
    await killAll(world, options, report, faults);
    options.say('No more kills: waiting for the last answers');
    await finish(world, faults);
    report.differences = [
      ...faults,
      ...world.clients.faults,
      ...bugsIn(world.clients),
      ...(await compare(world)),
    ];
  } finally {
    for (const service of [world.worker, world.eapi, world.sapi]) await service.stop();
    await world.postgres.stop();
    if (options.keep) options.say(`Kept in ${world.home}`);
    else await rm(world.home, { recursive: true, force: true });
  }
  return { ...report, ...outcomes(world.clients.calls), tookMs: performance.now() - startedAt };
};

const start = async ({ seed, kills, keep }: Options, faults: string[]): Promise<World> => {
  const home = await openHome(keep);
  const postgres = await startPostgres(home);
  const vendors = await seedVendors(postgres, 'test-key');
  const ports = { eapi: await freePort(), sapi: await freePort() };
  const serviceSecret = randomSecret(48);
  const env = serviceEnv(home, postgres.connectionAs('florin_service'), ports, serviceSecret);
  const service = (name: string): Service =>
    startService({ name, env, logFile: join(home, `${name}.log`), onOwnEnd: (what) => faults.push(what) });
  const [sapi, eapi, worker] = [service('sapi'), service('eapi'), service('worker')];
  const url = `http://127.0.0.1:${ports.eapi}`;
  // A long run asks more slowly: what is asked has to be compared in the end.
  const clients = startClients({ url, vendors, seed, clients: 6, pauseMs: kills > 200 ? 100 : 50 });
  const resolver = { sapiUrl: `http://127.0.0.1:${ports.sapi}`, serviceSecret };
  return { home, postgres, eapi, sapi, worker, resolver, vendors, clients };
};

const emptyReport = (seed: number, { tally }: Clients): Report => ({
  seed,
  tookMs: 0,
  victims: { sapi: 0, eapi: 0, worker: 0, postmaster: 0, backend: 0 },
  // One entry a name, which the type of `fromEntries` forgets.
  steps: Object.fromEntries(
    stepNames.map((name) => [name, { hit: 0, hitPostgres: 0, missed: 0 }]),
  ) as Report['steps'],
  calls: 0,
  acknowledged: 0,
  refused: 0,
  unknown: 0,
  tally,
  differences: [],
});

const startPatienceMs = 120_000;

/** Nothing answered for so long means that a service did not come back. */
const answerPatienceMs = 60_000;

const killAll = async (
  world: World,
  { kills, seed, say }: Options,
  report: Report,
  faults: string[],
): Promise<void> => {
  const { clients, postgres, vendors } = world;
  if (!(await clients.answered(20, startPatienceMs))) throw new Error('the services do not answer');
  await using database = openDatabase({
    connection: postgres.connectionAs('florin_service'),
    poolMax: 1,
    applicationName: 'crash-payouts',
  });
  const spent = vendors.find(({ slug }) => slug === 'spent');
  for (const [index, kill] of scheduleOf(seed, kills).entries()) {
    if (!(await clients.answered(kill.afterAnswers, answerPatienceMs))) {
      faults.push(`nothing was answered for ${answerPatienceMs / 1000} s before kill ${index + 1}`);
      return;
    }
    await strike(world, kill, report);
    if (spent && index % 5 === 0) await spend(database.db, spent);
    if ((index + 1) % 50 === 0)
      say(`${index + 1} of ${kills} kills, ${clients.calls.length} writes asked for`);
  }
};

/** How many requests are answered, and how much time passes, before a step that did not come is given up. */
const stepPatience = 500;
const stepPatienceMs = 15_000;

const strike = async (world: World, kill: Kill, report: Report): Promise<void> => {
  if (!('step' in kill)) {
    await wait(kill.afterMs);
    return strikeAtRandom(world, kill.victim, report);
  }
  const { postgres, clients } = world;
  const { step, occurrence, whom } = kill;
  // While PostgreSQL recovers it has no connections, and is struck as a whole.
  const pid = { itself: () => undefined, postmaster: postgres.pid, backend: postgres.backendPid }[whom]();
  const isServer = whom !== 'itself' && (pid === undefined || whom === 'postmaster');
  const patience = Promise.all([
    clients.answered(stepPatience, answerPatienceMs),
    wait(stepPatienceMs, undefined, { ref: false }),
  ]);
  const at = { step, occurrence, pid: isServer ? postgres.pid() : pid };
  const isHit = await comingTo(world, step).killAt(at, patience);
  report.steps[step][isHit ? (whom === 'itself' ? 'hit' : 'hitPostgres') : 'missed'] += 1;
  if (isHit && isServer) await postgres.killServer();
  return isHit ? undefined : strikeAtRandom(world, 'sapi', report);
};

/** The service that comes to a step. */
const comingTo = ({ eapi, sapi, worker }: World, step: StepName): Service => {
  if (step.startsWith('forward.')) return eapi;
  return step.startsWith('resolver.') ? worker : sapi;
};

const strikeAtRandom = async (world: World, victim: Victim, report: Report): Promise<void> => {
  const { postgres, eapi, sapi, worker } = world;
  const pid = victim === 'backend' ? postgres.backendPid() : undefined;
  if (victim === 'backend' && pid === undefined) return strikeAtRandom(world, 'sapi', report);
  if (pid !== undefined) signal(pid, 'SIGKILL');
  if (victim === 'postmaster') await postgres.killServer();
  if (victim === 'sapi') await sapi.kill();
  if (victim === 'eapi') await eapi.kill();
  if (victim === 'worker') await worker.kill();
  report.victims[victim] += 1;
};

/** What the vendor has is paid out. The database may be away or the account empty: another time then. */
const spend = async (db: Db, { tenantId }: Vendor): Promise<void> => {
  for (const amount of [100_000n, 10_000n, 1_000n]) await payOut(db, tenantId, amount).catch(() => undefined);
};

/** How long the last answers may take: a call at a backend that was cut off holds its key for two seconds. */
const finishPatienceMs = 180_000;

/** How many answered requests are repeated in the end. */
const sampleMax = 400;

const finish = async (world: World, faults: string[]): Promise<void> => {
  const { clients, worker } = world;
  const ask = async (): Promise<void> => {
    await clients.finish();
    await worker.stop();
    faults.push(...(await resolveAll(world.postgres.connectionAs('florin_service'), world.resolver)));
    const every = Math.ceil(clients.calls.length / sampleMax);
    await clients.askAgain(clients.calls.filter((call, index) => isUnknown(call) || index % every === 0));
  };
  const asking = ask().then(
    () => 'done' as const,
    (error: unknown) => void faults.push(String(error)),
  );
  const patience = wait(finishPatienceMs, undefined, { ref: false });
  if ((await Promise.race([asking, patience])) !== 'done') {
    clients.abandon();
    const open = clients.calls.filter(({ answers }) => answers.length === 0).map(({ key }) => key);
    faults.push(`${open.length} writes were never answered: ${open.slice(0, 5).join(', ')} …`);
  }
  const unknown = clients.calls.filter(isUnknown).map(({ operation, key }) => `${operation} with key ${key}`);
  faults.push(...unknown.map((name) => `${name} is unknown in the end`));
};

const isUnknown = ({ answers }: Call): boolean => answers.at(-1)?.status === 202;

/** A request that a kill cut off is answered 503, or not at all: 500 is for what nobody thought of. */
const bugsIn = ({ tally }: Clients): string[] => {
  const count = tally.answers.get('500 internal_error') ?? 0;
  return count === 0 ? [] : [`${count} requests were answered 500 internal_error`];
};

const compare = async ({ postgres, clients }: World): Promise<string[]> => {
  const connection = { ...postgres.connectionAs('florin_service'), statementTimeoutMs: undefined };
  await using database = openDatabase({ connection, poolMax: 2, applicationName: 'crash-compare' });
  // Awaited here: the connection is closed when this function ends.
  return await differences(database.db, clients.calls);
};

const outcomes = (calls: readonly Call[]) => {
  const last = calls.map(({ answers }) => answers.at(-1)?.status ?? 0);
  return {
    calls: calls.length,
    acknowledged: last.filter((status) => status === 200 || status === 201).length,
    refused: last.filter((status) => status >= 400).length,
    unknown: calls.filter(({ answers }) => answers.some(({ status }) => status === 202)).length,
  };
};
