import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append } from '../journal/journal.ts';
import { lockAccounts, makeTransfer, post, type Accounts, type Posting } from '../ledger/ledger.ts';
import type { Context } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { breakSnapshot } from './answers.ts';
import type { Write } from './compare.ts';
import { postingsOf, proposalOf } from './proposal.ts';
import type { CorrectBody } from './schema.ts';
import {
  getBreak,
  getRun,
  insertCorrection,
  lockRun,
  updateRun,
  type Break,
  type Correction,
} from './store.ts';

/** What a correction works with: it is posted where all money is, in sapi. */
export type CorrectParts = { db: Db; accounts: Accounts };

/** Which break. */
export type BreakId = { id: Id<'reconciliation'>; number: number };

/**
 * Posts what a break asks for, once: a transfer of its own kind that makes our books of the world outside what the backend
 * says of it. Payments and refunds stay as they are.
 * @throws AppError `not_found`, `invalid_state` (nothing to correct), `already_exists` (corrected before),
 *   `insufficient_funds`, `balance_overflow`, and those of a key
 */
export const correct = async (
  { db, accounts }: CorrectParts,
  { context, key }: Write,
  { id, number }: BreakId,
  body: CorrectBody,
): Promise<GivenAnswer> => {
  const { tenantId } = context;
  const request = { context, operation: 'reconciliations.correct', key, request: { id, number, body } };
  const { connector } = await getRun(db, tenantId, id);
  // A break never changes, so what it posts is known before anything is locked.
  const found = await getBreak(db, { tenantId, runId: id, number });
  const against = body.against ?? 'corrections';
  const postings = await openPostings(
    { db, accounts },
    context,
    postingsOf(proposalOf(found), { connector, against }),
  );
  return answerOnce(db, request, async (tx) => {
    const run = await lockRun(tx, tenantId, id);
    await assertCorrectable(tx, context, found);
    const transfer = makeTransfer({ kind: 'correction', tenantId, objectId: id, postings });
    const correction: Correction = {
      transferId: transfer.id,
      against,
      reason: body.reason,
      actor: context.actor,
      createdAt: context.now,
    };
    const key = { tenantId, runId: id, number };
    if (!(await insertCorrection(tx, key, { connector, fact: found.fact }, correction)))
      throw new AppError(
        'already_exists',
        'This was corrected in another reconciliation already. Compare the statement again to see how things stand.',
      );
    await lockAccounts(
      tx,
      postings.map(({ accountId }) => accountId),
    );
    await post(tx, transfer, context.now);
    const after = { ...run, version: run.version + 1, corrected: run.corrected + 1, updatedAt: context.now };
    await updateRun(tx, after);
    const entry = await append(tx, context, {
      kind: 'reconciliation.corrected',
      object: { type: 'reconciliation', id, version: after.version },
      snapshot: breakSnapshot({ ...found, correction }, { connector }),
      transfer,
    });
    return { status: 201, entry };
  });
};

/** Asked again under the lock of the run: two may want the same. */
const assertCorrectable = async (tx: Tx, { tenantId }: Context, found: Break): Promise<void> => {
  const { runId, number } = found;
  const { correction } = await getBreak(tx, { tenantId, runId, number });
  if (correction)
    throw new AppError(
      'already_exists',
      `Break ${number} was corrected already, by the transfer ${correction.transferId}.`,
    );
  const { deltas, advice } = proposalOf(found);
  if (deltas.length === 0)
    throw new AppError('invalid_state', `Break ${number} can't be corrected. ${advice}`);
};

/** The accounts of postings, opened on first use. Suspense may be below zero: it may be owed to us. */
const openPostings = async (
  { db, accounts }: CorrectParts,
  { tenantId, now }: Context,
  postings: readonly { code: string; currency: string; amountMinor: bigint }[],
): Promise<Posting[]> => {
  const opened: Posting[] = [];
  for (const { code, currency, amountMinor } of postings) {
    const account = { tenantId, currency, code, nonNegative: code === 'payable' };
    opened.push({ accountId: await accounts.open(db, account, now), amountMinor });
  }
  return opened;
};
