import { userInfo } from 'node:os';
import { internalApi } from '../access/remote.ts';
import { serviceTokens } from '../access/service-token.ts';
import { createAccounts } from '../ledger/ledger.ts';
import { systemClock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import type { Db } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import type { Id } from '../lib/ids.ts';
import { correct } from '../reconciliation/correct.ts';
import { CorrectionByHand } from '../reconciliation/schema.ts';
import type { Run } from '../reconciliation/store.ts';
import { checked, commandContext } from './context.ts';
import type { Target } from './target.ts';

/** A break of a reconciliation. */
export type BreakNumber = { id: Id<'reconciliation'>; number: number };

type Options = { reason: string; against: 'corrections' | 'payable'; local?: true };

/**
 * Corrects breaks one after the other: in sapi, which alone writes money; where Florin is one process, by the same code here.
 * What was rehearsed is never written, so it need not be asked for.
 * @throws Error, AppError with the first refusal; those before it are corrected
 */
export const correctBreaks = async (
  db: Db,
  { loaded, embedded }: Target,
  runs: readonly Run[],
  breaks: readonly BreakNumber[],
  { reason, against, local }: Options,
): Promise<void> => {
  const accounts = createAccounts();
  for (const which of breaks) {
    const run = runs.find(({ id }) => id === which.id);
    if (!run) throw new Error(`${which.id} was not read`);
    const body = checked(CorrectionByHand, {
      by: userInfo().username,
      tenantId: run.tenantId,
      reason,
      against,
    });
    if (local || embedded || currentDryRun()) {
      const write = { context: { ...commandContext(), tenantId: run.tenantId }, key: undefined };
      await correct({ db, accounts }, write, which, { reason, against });
    } else await correctAtSapi(loaded.config, which, body);
  }
};

/** How long sapi may take to write it: longer than it waits for a lock. */
const correctTimeoutMs = 20_000;

const correctAtSapi = async (
  { server: { sapiUrl }, auth }: Config,
  { id, number }: BreakNumber,
  body: CorrectionByHand,
): Promise<void> => {
  const ask = internalApi(
    { sapiUrl, serviceTokens: serviceTokens(auth.serviceSecret, systemClock), service: 'cli' },
    { timeoutMs: correctTimeoutMs, unavailable: `sapi did not correct it (${sapiUrl}).` },
  );
  try {
    await ask('POST', `/reconciliations/${id}/breaks/${number}/correct`, body);
  } catch (error) {
    throw new Error(explanationOf(error, sapiUrl), { cause: error });
  }
};

/** The refusal of sapi, as it says it; or that there is no sapi. */
const explanationOf = (error: unknown, sapiUrl: string): string => {
  const cause = error instanceof Error ? error.cause : undefined;
  const detail = cause instanceof Object && 'detail' in cause ? cause.detail : undefined;
  if (typeof detail === 'string') return detail;
  return `No sapi answers at ${sapiUrl}. Where Florin runs as one process (npm start, bin/api), add --local.`;
};
