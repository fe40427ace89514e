import { expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { testServer } from '../../src/lib/http/testing.ts';
import { apiHealthRoutes, healthRoutes } from '../../src/services/health.ts';
import { oneProcess, testConfig, testKey, testParts, twoProcesses } from '../../src/services/testing.ts';
import { ask, differencesIn, idsIn, openWorld, withLiveBackend, type World } from '../setup/api.ts';
import { testDatabase } from '../setup/database.ts';
import { fuzz, operations, type FuzzReport } from './fuzz.ts';

/*
 * Random requests for every operation of the OpenAPI document, over HTTP, to one process and to two. `npm run test:fuzz`
 * sends many more of them than this; a seed repeats a run.
 */
const requests = Number(process.env['FLORIN_FUZZ_REQUESTS'] ?? 2_500);
const seed = Number(process.env['FLORIN_FUZZ_SEED'] ?? 20_261_122);

test(
  `${requests} random requests of seed ${seed} are answered as documented, and leave the books right`,
  { timeout: 60_000 + requests * 30 },
  async () => {
    await using database = await testDatabase();
    await using parts = await testParts(database);
    const changes = {
      rateLimit: { max: 1_000_000_000, windowMs: 60_000 },
      // Requests name an address each, so that guesses of credentials are not slowed down.
      server: { ...testConfig().server, trustProxy: true },
    };
    await using one = await oneProcess(withLiveBackend(parts), changes);
    await using two = await twoProcesses(withLiveBackend(parts), changes);
    const isFine = async () => true;
    const probes = { database: isFine, internal: isFine, cache: async () => 'not configured' as const };
    await using health = await testServer(async (app) => {
      await app.register(healthRoutes({ probes, clock: systemClock }));
      await app.register(apiHealthRoutes({ probes, clock: systemClock }));
    });
    const world = await openWorld(one.url, database);

    const startedAt = performance.now();
    const report = await fuzz({
      urls: [one.url, one.url, two.url],
      healthUrl: health.url,
      world,
      spared: await sparedIn(one.url, world),
      headers: testKey,
      requests,
      seed,
    });
    tell(report, (performance.now() - startedAt) / 1000);

    const complaints = parts.lines.filter(({ level }) => Number(level) >= 50);
    expect.soft(complaints.slice(0, 5), 'the log says what went wrong').toEqual([]);
    expect(report.faults).toEqual([]);
    const silent = operations.filter(({ id }) => report.successes.get(id) === 0).map(({ id }) => id);
    expect(silent, 'teach `setup/good-requests.ts` a request that they accept').toEqual([]);
    const succeeded = [...report.successes.values()].reduce((sum, each) => sum + each, 0);
    expect(succeeded / report.sent, 'requests that are all refused test little').toBeGreaterThan(0.2);
    expect(report.codes.size, 'so many kinds of refusals were met').toBeGreaterThan(15);
    expect(Object.keys(Object.prototype), 'a request changed every object of the process').toEqual([]);
    await Promise.all([one, two].map(({ edge }) => edge.events.settled()));
    expect(await differencesIn(database.db)).toEqual([]);
  },
);

/** The credentials that the run uses and their vendors: who disables them ends the run for everybody. */
const sparedIn = async (url: string, world: World): Promise<Set<string>> => {
  const spared = new Set<string>(world.shared);
  const admins = [
    testKey,
    world.platform,
    ...world.tenants.map(({ credentials }) => credentials['API key'].admin),
  ];
  for (const path of ['/api-keys?limit=100', '/vendors?limit=100'])
    for (const headers of admins)
      for (const id of idsIn((await ask(url, { path, headers })).body)) spared.add(id);
  return spared;
};

/** What the run was like; a fuzz that met nothing says so here. */
const tell = ({ sent, statuses, codes, successes }: FuzzReport, seconds: number): void => {
  const table = (counts: Map<string | number, number>): string =>
    [...counts]
      .sort(([, a], [, b]) => b - a)
      .map(([key, times]) => `${key} ${times}`)
      .join(', ');
  process.stdout.write(
    `fuzz: ${sent} requests, seed ${seed}, ${seconds.toFixed(1)} s (${(sent / seconds).toFixed(0)} a second)\n` +
      `  statuses: ${table(statuses)}\n  codes: ${table(codes)}\n  successes: ${table(successes)}\n`,
  );
};
