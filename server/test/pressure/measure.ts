import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openDatabase } from '../../src/lib/database.ts';
import { migrate } from '../../src/lib/migrate.ts';
import { startEmbedded } from '../../src/lib/postgres/embedded.ts';
import { attacks, shortLimits, type Attack } from './attacks.ts';
import { flood } from './canary.ts';
import type { FloodResult } from './flood.ts';
import { measureOverload } from './overload.ts';
import { prepareServices, startService, type Service } from '../setup/service.ts';
import type { Outcome } from './wire.ts';
import { residentMb } from './room.ts';

/**
 * `npm run test:pressure [-- --only NAME]`: what each attack does to the latency of a steady client and to the memory of
 * the service, and what a load of five times the top rate does. It prints figures and decides nothing: figures of one
 * machine, on which attacker, client, service and database share the cores.
 */
const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const canarySeconds = 4;

const main = async (): Promise<void> => {
  const home = await mkdtemp(join(tmpdir(), 'florin-pressure-'));
  const embedded = await startEmbedded({ directory: home, log: () => undefined });
  try {
    const { migrate: owner, service: connection } = embedded.connections;
    await migrate({ connection: owner });
    await using database = openDatabase({ connection, poolMax: 1, applicationName: 'pressure' });
    await using prepared = await prepareServices({ db: database.db, connection });
    if (values.only !== 'overload') {
      await using service = await startService('api', prepared, shortLimits);
      await measureAttacks(service);
    }
    if (values.only === '' || values.only === 'overload') {
      await using service = await startService('api', prepared);
      print('');
      await measureOverload(service, print);
    }
  } finally {
    await embedded.stop();
    await rm(home, { recursive: true, force: true });
  }
};

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const measureAttacks = async (service: Service): Promise<void> => {
  await canary(service.port); // for the compiler of JavaScript
  print('A client of 50 requests/s beside each attack; memory before and after it.');
  print('p50 alone   during  p99 alone   during  ratio    MB          answers to the attack');
  for (const attack of attacks.filter(({ name }) => name.includes(values.only))) {
    const alone = await canary(service.port);
    const before = await residentMb(service);
    const [during, outcomes] = await Promise.all([canary(service.port), repeated(attack, service.port)]);
    const after = await residentMb(service);
    const [quiet, loud] = [alone.statuses['200'], during.statuses['200']];
    const figures = [quiet?.p50Ms, loud?.p50Ms, quiet?.p99Ms, loud?.p99Ms].map((ms) =>
      `${ms ?? '-'} ms`.padStart(9),
    );
    const ratio = ((loud?.p99Ms ?? Number.NaN) / (quiet?.p99Ms ?? Number.NaN)).toFixed(1).padStart(6);
    const memory = `${Math.round(before)} → ${Math.round(after)}`.padStart(11);
    const lost = during.sent - (loud?.count ?? 0);
    print(
      `${figures.join('')}${ratio}${memory}  ${attack.name}: ${tally(outcomes)}${lost > 0 ? `; LOST ${lost}` : ''}`,
    );
  }
};

const canary = (port: number): Promise<FloodResult> =>
  flood({
    port,
    rate: 50,
    seconds: canarySeconds,
    connectionsMax: 500,
    method: 'GET',
    path: '/api/v1/payments?limit=1',
    headers: { 'x-client-id': 'vendor_client_id', 'x-client-secret': 'vendor_client_secret' },
  });

/** Attacks again and again for as long as the client lives. */
const repeated = async ({ run }: Attack, port: number): Promise<Outcome[]> => {
  const untilMs = performance.now() + canarySeconds * 1000;
  const outcomes: Outcome[] = [];
  do outcomes.push(...(await run(port)));
  while (performance.now() < untilMs);
  return outcomes;
};

const tally = (outcomes: readonly Outcome[]): string => {
  const kinds = outcomes.map(({ statuses }) => [...new Set(statuses)].join('+') || 'closed');
  const counts = Object.entries(Object.groupBy(kinds, (kind) => kind));
  return counts.map(([kind, same]) => `${same?.length ?? 0} × ${kind}`).join(', ');
};

await main();
