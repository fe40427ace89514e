import { append } from '../journal/journal.ts';
import type { Context } from '../lib/caller.ts';
import type { Tx } from '../lib/database.ts';
import { formatAmount } from '../lib/money.ts';
import type { ConnectorResult, MovedAmount } from './connectors/connector.ts';
import type { Settling } from './module.ts';
import { flagMismatch, type Operation, type Standing } from './operation-store.ts';
import type { MismatchSnapshot } from './schema.ts';

/**
 * How a backend can contradict our books: it moved another `amount` than it was asked for, it says another `outcome` than
 * was settled, or it names a second `reference` of its own for what it was to do once.
 */
export type Mismatch = MismatchSnapshot['found'];

/** What of a backend's words does not fit our books, if anything. */
export const mismatchOf = (
  operation: Pick<Operation, 'amountMinor' | 'payment'>,
  standing: Standing,
  said: ConnectorResult,
): Mismatch | undefined => {
  if (said.outcome === 'unknown') return undefined;
  if (said.outcome === 'declined') {
    // What it moved wrongly, as it said before, it can't have declined.
    const saidOtherwise = standing.state === 'approved' || standing.mismatches.includes('amount');
    return saidOtherwise ? 'outcome' : undefined;
  }
  if (said.moved && !isAsked(operation, said.moved)) return 'amount';
  if (standing.state === 'declined') return 'outcome';
  const { backendReference: known } = standing;
  const { backendReference: named } = said;
  return known !== undefined && named !== undefined && known !== named ? 'reference' : undefined;
};

const isAsked = (
  { amountMinor, payment }: Pick<Operation, 'amountMinor' | 'payment'>,
  moved: MovedAmount,
): boolean => moved.amountMinor === amountMinor && moved.currency === payment.currency;

/**
 * Tells that our books and a backend disagree: flags the operation, writes `reconciliation.mismatch`, counts and logs it.
 * Once for each way in which they do, however often it is said. Part of a transaction that has locked the payment.
 */
export const noteMismatch = async (
  tx: Tx,
  { log, countError }: Settling,
  context: Context,
  words: { operation: Operation; standing: Standing; said: ConnectorResult; found: Mismatch },
): Promise<void> => {
  const { operation, standing, said, found } = words;
  if (!(await flagMismatch(tx, operation, found, context.now))) return;
  const { payment } = operation;
  const snapshot = snapshotOf(words);
  await append(tx, context, {
    kind: 'reconciliation.mismatch',
    object: { type: 'payment', id: payment.id },
    snapshot,
  });
  countError('contradicted');
  log.error(
    { operation: operation.id, payment: payment.id, found, settled: standing.state, said: said.outcome },
    'A backend contradicts our books',
  );
};

const snapshotOf = (words: {
  operation: Operation;
  standing: Standing;
  said: ConnectorResult;
  found: Mismatch;
}): MismatchSnapshot => {
  const { operation, standing, said, found } = words;
  const { payment, amountMinor } = operation;
  const moved = said.outcome === 'approved' ? said.moved : undefined;
  return {
    object: 'mismatch',
    found,
    payment_id: payment.id,
    refund_id: operation.refundId ?? null,
    operation_id: operation.id,
    connector: payment.connector,
    kind: operation.kind,
    books: {
      outcome: standing.state === 'open' ? 'unknown' : standing.state,
      amount: formatAmount(amountMinor, payment.currency),
      amount_minor: amountMinor.toString(),
      currency: payment.currency,
      reference: standing.backendReference ?? null,
    },
    backend: {
      outcome: said.outcome,
      amount_minor: moved?.amountMinor.toString() ?? null,
      currency: moved?.currency ?? null,
      reference: (said.outcome === 'approved' && said.backendReference) || null,
      failure_code: said.outcome === 'declined' ? said.failureCode : null,
    },
  };
};
