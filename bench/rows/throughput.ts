import { measured, paymentsPerSecond, type Sample, type Stage } from '../stage.ts';

/** One process, edge and core, as `bin/api` runs it. */
export const spread = async (stage: Stage, clients: number): Promise<Sample> => {
  const api = await stage.api();
  await stage.warm(api);
  return measured(stage, [api], async () => valueOf(await paymentsPerSecond(stage, api.url, { clients })));
};

/** The same, all payments of one vendor: they meet in three accounts. */
export const hot = async (stage: Stage): Promise<Sample> => {
  const api = await stage.api();
  const load = { clients: 64, tokensFile: stage.vendors.oneFile };
  return measured(stage, [api], async () => valueOf(await paymentsPerSecond(stage, api.url, load)));
};

/** Edge and core as two processes, which share the cores with PostgreSQL and the load. */
export const twoProcesses = async (stage: Stage): Promise<Sample> => {
  const { eapi, sapi } = await stage.pair();
  await stage.warm(eapi);
  return measured(stage, [eapi, sapi], async () =>
    valueOf(await paymentsPerSecond(stage, eapi.url, { clients: 64 })),
  );
};

/** Two processes write into one database, each with half of the clients and payments of all vendors. */
export const twoSapi = async (stage: Stage): Promise<Sample> => {
  const both = [await stage.api(), await stage.secondApi()];
  await stage.warm(...both);
  const before = await stage.postgres.deadlocks();
  return measured(stage, both, async () => {
    const halves = await Promise.all(both.map(({ url }) => paymentsPerSecond(stage, url, { clients: 32 })));
    const deadlocks = (await stage.postgres.deadlocks()) - before;
    if (deadlocks > 0) throw new Error(`two processes deadlocked ${deadlocks} times`);
    return { value: halves.reduce((sum, { rate }) => sum + rate, 0), note: 'no deadlock' };
  });
};

const valueOf = ({ rate, p50Ms }: { rate: number; p50Ms: number }) => ({
  value: rate,
  note: `p50 ${p50Ms.toFixed(1)} ms`,
});
