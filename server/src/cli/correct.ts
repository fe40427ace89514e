import { userInfo } from 'node:os';
import { createAccounts } from '../ledger/ledger.ts';
import type { Db } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import type { Id } from '../lib/ids.ts';
import { correct } from '../reconciliation/correct.ts';
import { CorrectionByHand } from '../reconciliation/schema.ts';
import type { Run } from '../reconciliation/store.ts';
import { checked, commandContext } from './context.ts';
import { askSapi } from './sapi.ts';
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
    } else {
      const path = `/reconciliations/${which.id}/breaks/${which.number}/correct`;
      await askSapi(loaded.config, { path, body, what: 'correct it' });
    }
  }
};
