import type { Against } from './schema.ts';
import type { Break } from './store.ts';
import type { Result, Side } from './stage.ts';

/** What has to be added to the account of the world outside, per currency, in minor units. */
export type Delta = { currency: string; externalMinor: bigint };

/** What a correction would do, or why there is none; and what to do either way. */
export type Proposal = { deltas: readonly Delta[]; advice: string };

/** What a correction of a break posts: it makes our books of the world outside what the backend says of it. */
export const proposalOf = (result: Result): Proposal => {
  const reason = reasonAgainst(result);
  if (reason !== undefined) return { deltas: [], advice: reason };
  const deltas = deltasOf(result);
  return {
    deltas,
    advice: deltas.length > 0 ? advices[result.type] : 'No money moved differently: nothing to correct.',
  };
};

/** Why a break is not corrected though money may have moved. */
const reasonAgainst = ({ type, here, there, isToldBefore }: Result): string | undefined => {
  if (here?.status === 'pending')
    return 'Nobody knows the outcome here yet: the worker asks the backend and settles it. Reconcile again then.';
  if (here?.status === 'authorised')
    return 'The money is only authorised here. Capture the payment, or have the backend give the money back.';
  if (there?.status === 'pending') return 'The backend has not finished it: reconcile a later statement.';
  if (isToldBefore)
    return 'The statement tells it twice, with one reference of the backend: it happened once. Ask the backend for a statement without it.';
  if (type === 'fee_differs')
    return 'The fee is what was agreed when the payment was made. Compare the terms of the vendor with those of the statement.';
  return undefined;
};

const advices: Readonly<Record<Result['type'], string>> = {
  matched: '',
  fee_differs: '',
  missing_here:
    'Find out whose it is. Have the backend give it back, or correct: the books then have the money in suspense.',
  missing_there:
    'Ask the backend whether it happened. If it did not, correct, and take the money back where it was credited.',
  status_differs: 'Ask the backend which is right. If the statement is, correct.',
  currency_differs: 'Correct, so that the books have the currency that really moved.',
  amount_differs: 'Correct, so that the books have the amount that really moved; then settle the difference.',
  duplicate: 'Have the backend undo it. Until then correct: the books then have the money in suspense.',
};

/** What the statement says that moved, less what the books say, per currency. */
const deltasOf = ({ kind, here, there }: Result): Delta[] => {
  const deltas = new Map<string, bigint>();
  const add = (side: Side | null, sign: bigint): void => {
    if (side?.status !== 'succeeded') return;
    deltas.set(side.currency, (deltas.get(side.currency) ?? 0n) + sign * outOf(kind, side.amountMinor));
  };
  add(there, 1n);
  add(here, -1n);
  return [...deltas]
    .filter(([, externalMinor]) => externalMinor !== 0n)
    .map(([currency, externalMinor]) => ({ currency, externalMinor }));
};

/** A charge comes from the world outside, a refund goes back to it. */
const outOf = (kind: Result['kind'], amountMinor: bigint): bigint =>
  kind === 'charge' ? -amountMinor : amountMinor;

/** The postings of a correction by the code of their account. In each currency they sum to zero. */
export const postingsOf = (
  { deltas }: Proposal,
  { connector, against }: { connector: string; against: Against },
): { code: string; currency: string; amountMinor: bigint }[] =>
  deltas.flatMap(({ currency, externalMinor }) => [
    { code: `external:${connector}`, currency, amountMinor: externalMinor },
    { code: against, currency, amountMinor: -externalMinor },
  ]);

/** Whether a break can still be corrected. */
export const isCorrectable = (found: Break): boolean =>
  found.correction === null && proposalOf(found).deltas.length > 0;
