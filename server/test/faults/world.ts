import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { openDatabase, type Database } from '../../src/lib/database.ts';
import type { Vendor } from '../crash/calls.ts';
import { startClients, type Clients } from '../crash/clients.ts';
import { startPostgres, type Postgres } from '../crash/postgres.ts';
import { freePort, openHome, seedVendors, serviceEnv } from '../crash/world.ts';
import { differences } from '../model/differences.ts';
import { openAsker, type Asker } from './asker.ts';
import { mountDisk, type Disk } from './disk.ts';
import { startProxy, type Proxy } from './proxy.ts';
import { startService, type Service } from './service.ts';

/** `eapi`, `sapi` behind a proxy that loses things, PostgreSQL, and clients who keep asking. */
export type World = AsyncDisposable & {
  home: string;
  postgres: Postgres;
  /** As superuser and past the proxy, to arrange faults. */
  superuser: Database;
  /** Where PostgreSQL has its data, when that may be filled. */
  disk: Disk | undefined;
  proxy: Proxy;
  eapi: Service;
  sapi: Service;
  urls: { eapi: string; sapi: string };
  vendors: readonly Vendor[];
  asker: Asker;
  /** Lets clients ask for everything, all the time, until `faults` is called. */
  startClients(): void;
  /** Waits until everything says that it is ready, and takes payments. @throws Error when it does not come to that */
  isWell(): Promise<true>;
  /** Everything that is wrong in the end; the clients ask for nothing new from then on. */
  faults(): Promise<string[]>;
};

type Options = {
  /** What else the services are configured with. */
  env?: (home: string, name: 'eapi' | 'sapi') => Record<string, string>;
  seed: number;
};

/** Short, so that what nobody answers is given up soon. */
export const statementTimeoutMs = 2_000;
const limits = {
  PAYMENTS_DATABASE_STATEMENT_TIMEOUT_MS: String(statementTimeoutMs),
  PAYMENTS_DATABASE_CONNECT_TIMEOUT_MS: '2000',
};

export const openWorld = async ({ env, seed }: Options): Promise<World> => {
  await using opened = new AsyncDisposableStack();
  const home = await openHome(false);
  opened.defer(() => rm(home, { recursive: true, force: true }));
  const disk = await mountDisk();
  if (disk) opened.use(disk);
  const postgres = await startPostgres(disk?.path ?? home);
  opened.defer(() => postgres.stop());
  const vendors = await seedVendors(postgres, 'test-key');
  const connection = postgres.connectionAs('florin_service');
  const proxy = opened.use(await startProxy(connection));
  const ports = { eapi: await freePort(), sapi: await freePort() };
  const common = { ...serviceEnv(home, { ...connection, port: proxy.port }, ports), ...limits };
  const service = (name: 'eapi' | 'sapi'): Service =>
    opened.use(
      startService({ name, env: { ...common, ...env?.(home, name) }, logFile: join(home, `${name}.log`) }),
    );
  const [sapi, eapi] = [service('sapi'), service('eapi')];
  const urls = { eapi: `http://127.0.0.1:${ports.eapi}`, sapi: `http://127.0.0.1:${ports.sapi}` };
  const superuser = opened.use(
    openDatabase({
      connection: postgres.connectionAs('postgres'),
      poolMax: 2,
      applicationName: 'faults',
    }),
  );
  const asker = openAsker(urls.eapi, vendors[0] as Vendor); // there are four
  await allReady(urls, [eapi, sapi]);
  let clients: Clients | undefined;
  opened.defer(() => clients?.abandon());
  const stack = opened.move();
  return {
    home,
    postgres,
    superuser,
    disk,
    proxy,
    eapi,
    sapi,
    urls,
    vendors,
    asker,
    startClients: () => {
      clients = startClients({ url: urls.eapi, vendors, seed, clients: 2, pauseMs: 100 });
    },
    isWell: async () => {
      await allReady(urls, [eapi, sapi]);
      await asker.pay();
      const isAnswered = clients === undefined || (await clients.answered(10, patienceMs));
      if (!isAnswered) throw new Error('the clients get no answers any more');
      return true;
    },
    faults: async () => {
      await clients?.finish();
      const ended = [await eapi.fault(), await sapi.fault()].filter((fault) => fault !== undefined);
      const seen = clients ? [...clients.faults, ...strange(clients)] : [];
      const calls = [...(clients?.calls ?? []), ...asker.calls];
      return [...ended, ...seen, ...(await differences(superuser.db, calls))];
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
};

const patienceMs = 40_000;

/** Waits until both say so; a load balancer asks them the same. */
const allReady = async (urls: World['urls'], services: readonly Service[]): Promise<void> => {
  const giveUpAt = performance.now() + patienceMs;
  for (const url of Object.values(urls)) {
    for (let said = ''; said !== '200'; await wait(50)) {
      for (const service of services) {
        const fault = await service.fault();
        if (fault !== undefined) throw new Error(fault);
      }
      if (performance.now() > giveUpAt) throw new Error(`${url} is not ready: ${said}`);
      said = await readiness(url);
      if (said === '200') break;
    }
  }
};

/** The status of `/health/ready`, and its body when it is another than 200. */
export const readiness = (url: string): Promise<string> =>
  fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(10_000) }).then(
    async (response) => (response.status === 200 ? '200' : `${response.status} ${await response.text()}`),
    String,
  );

/** What a client may be told while there are faults, beyond what the model checks: never that it is to blame. */
const expected =
  /^(20[012]|400 invalid_request|no answer|409 (invalid_state|request_in_flight)|422 \w+|500 of a poisonous row|503 (unavailable|overloaded))$/;

/** Answers that blame the client, or that give away that something broke inside. */
const strange = ({ calls, tally }: Clients): string[] => [
  ...[...tally.answers]
    .filter(([name]) => !expected.test(name))
    .map(([name, count]) => `${count} answers: ${name}`),
  // Altered requests may be; they are not among the calls.
  ...calls
    .filter(({ answers }) => answers.some(({ status }) => status === 400))
    .map(({ key, operation }) => `${operation} with key ${key} is valid and was answered 400`),
];
