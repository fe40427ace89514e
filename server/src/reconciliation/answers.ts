import { sided } from '../ledger/routes.ts';
import { formatAmount } from '../lib/money.ts';
import { isCorrectable, postingsOf, proposalOf } from './proposal.ts';
import { breakTypes, type BreakType, type Reconciliation, type ReconciliationBreak } from './schema.ts';
import type { Side } from './stage.ts';
import type { Break, Run } from './store.ts';

/** The public form of a reconciliation. */
export const runSnapshot = (run: Run): Reconciliation => ({
  id: run.id,
  object: 'reconciliation',
  status: run.corrected === run.breaks ? 'agreed' : 'open',
  connector: run.connector,
  period_from: run.period.from.toISOString(),
  period_until: run.period.until.toISOString(),
  statement_sha256: run.digest.toString('hex'),
  lines: run.lines,
  matched: run.matched,
  breaks: run.breaks,
  corrected: run.corrected,
  // One member a type.
  types: Object.fromEntries(breakTypes.map((type) => [type, run.types[type] ?? 0])) as Record<
    BreakType,
    number
  >,
  version: run.version,
  created_at: run.createdAt.toISOString(),
  updated_at: run.updatedAt.toISOString(),
});

/** The public form of a break. */
export const breakSnapshot = (found: Break, { connector }: { connector: string }): ReconciliationBreak => {
  const proposal = proposalOf(found);
  const { correction } = found;
  return {
    object: 'reconciliation_break',
    reconciliation_id: found.runId,
    number: found.number,
    type: found.type,
    kind: found.kind,
    line: found.line,
    reference: found.reference,
    backend_reference: found.backendReference,
    operation_id: found.operationId,
    payment_id: found.paymentId,
    refund_id: found.refundId,
    here: sideAnswer(found.here),
    there: sideAnswer(found.there),
    correctable: isCorrectable(found),
    advice: proposal.advice,
    proposal: postingsOf(proposal, { connector, against: 'corrections' }).map(
      ({ code, currency, amountMinor }) => ({
        code,
        ...sided(amountMinor, currency),
        currency,
      }),
    ),
    correction: correction && {
      transfer_id: correction.transferId,
      against: correction.against,
      reason: correction.reason,
      actor: correction.actor,
      created_at: correction.createdAt.toISOString(),
    },
  };
};

const sideAnswer = (side: Side | null): ReconciliationBreak['here'] =>
  side && {
    status: side.status,
    amount: formatAmount(side.amountMinor, side.currency),
    amount_minor: side.amountMinor.toString(),
    currency: side.currency,
    fee: side.feeMinor === null ? null : formatAmount(side.feeMinor, side.currency),
    date: side.at.toISOString(),
  };
