import type { OpenLoopReport } from '../load/open-loop.ts';
import type { ByHandReport } from '../load/by-hand.ts';
import { newRun } from '../load/body.ts';
import { runForJson, scriptOf } from '../load/load.ts';
import { commonDatabase, measured, paymentsPerSecond, tally, type Sample, type Stage } from '../stage.ts';

/** Latency of payments that come on a fixed schedule, at half of the top rate, counted from when each was due. */
export const openLoop = async (stage: Stage, topRate: number): Promise<Sample> => {
  const api = await stage.api();
  await stage.warm(api);
  const { seconds } = stage.options;
  const rate = Math.max(1, Math.round(topRate / 2));
  const args = [api.url, stage.vendors.allFile, String(rate), String(seconds), newRun()];
  return measured(stage, [api], async () => {
    const report = (await runForJson(process.execPath, [
      scriptOf('open-loop.ts'),
      ...args,
    ])) as OpenLoopReport; // what the script prints
    const { p50, p99, p999, failures, firstFailure, requests } = report;
    if (failures > 0)
      throw new Error(`${failures} of ${requests} payments were not answered 2xx: ${firstFailure}`);
    tally(stage, { answered: requests });
    const note = `${rate}/s: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, p99.9 ${p999.toFixed(1)} ms`;
    return { value: p99, note };
  });
};

/** A client alone, its payments one after the other, beside somebody who writes the same rows by hand. */
export const loneClient = async (stage: Stage): Promise<Sample> => {
  const api = await stage.api();
  const seconds = Math.max(1, Math.round(stage.options.seconds / 2));
  const load = { clients: 1, tokensFile: stage.vendors.oneFile, seconds };
  const lone = await measured(stage, [api], async () => ({
    value: (await paymentsPerSecond(stage, api.url, load)).p50Ms,
  }));
  const byHand = await payByHand(stage, seconds);
  return { ...lone, over: byHand, note: `by hand ${byHand.toFixed(2)} ms` };
};

const payByHand = async (stage: Stage, seconds: number): Promise<number> => {
  const { host, port, user, password } = stage.postgres.service(commonDatabase);
  const env = {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGPASSWORD: password?.reveal() ?? '',
    PGDATABASE: commonDatabase,
  };
  const tenant = String(stage.vendors.all[0]?.tenantId);
  const args = [scriptOf('by-hand.ts'), tenant, String(seconds)];
  const report = (await runForJson(process.execPath, args, env)) as ByHandReport; // what the script prints
  tally(stage, { answered: report.requests });
  return report.p50Ms;
};
