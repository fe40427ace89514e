import { setTimeout as delay } from 'node:timers/promises';
import { withClient } from '../postgres.ts';
import { commonDatabase, measured, paymentsPerSecond, type Sample, type Stage } from '../stage.ts';

const caughtUpWithinMs = 120_000;

/**
 * Payments while a worker gives every journal entry its place in the Merkle log. The worker runs only meanwhile, so that
 * the same round's `spread` is without it; it first catches up with what was written since.
 */
export const sequenced = async (stage: Stage): Promise<Sample> => {
  const api = await stage.api();
  await stage.warm(api);
  await using worker = await stage.start('worker');
  const waitedMs = await caughtUp(stage);
  return await measured(stage, [api, worker], async () => {
    const { rate } = await paymentsPerSecond(stage, api.url, { clients: 64 });
    const behind = await unsealed(stage);
    return {
      value: rate,
      note: `caught up in ${(waitedMs / 1000).toFixed(1)} s; ${behind} entries behind when the load ended`,
    };
  });
};

const caughtUp = async (stage: Stage): Promise<number> => {
  const startedAt = performance.now();
  while ((await unsealed(stage)) > 0) {
    if (performance.now() - startedAt > caughtUpWithinMs)
      throw new Error(`the sequencer did not catch up within ${caughtUpWithinMs / 1000} s`);
    await delay(200);
  }
  return performance.now() - startedAt;
};

/** Journal entries that no signed head covers yet. */
const unsealed = ({ postgres }: Stage): Promise<number> =>
  withClient(postgres.superuser(commonDatabase), async (client) => {
    const { rows } = await client.query<{ behind: number }>(
      `select ((select count(*) from journal.entries) - coalesce((select max(size) from journal.heads), 0))::integer
              as behind`,
    );
    return rows[0]?.behind ?? 0;
  });
