import type { StoredChange } from './stored.ts';

/** What one database transaction changed. */
export type Transaction = { xid: bigint; changes: StoredChange[] };

/**
 * The transactions in an order in which the database did them: entries of an account count on, and whoever changes a
 * payment or its refunds takes its lock first and the number of its transaction after it. Where the two leave it open,
 * numbers decide.
 * @returns also a fault when there is no such order, which no database that isolates transactions gives
 */
export const inOrder = (
  changes: readonly StoredChange[],
): { transactions: Transaction[]; faults: string[] } => {
  const byXid = new Map<bigint, Transaction>();
  for (const change of changes) {
    const transaction = byXid.get(change.xid) ?? { xid: change.xid, changes: [] };
    transaction.changes.push(change);
    byXid.set(change.xid, transaction);
  }
  const before = predecessors(changes);
  const transactions: Transaction[] = [];
  const faults: string[] = [];
  const seen = new Map<bigint, 'entered' | 'left'>();
  const visit = (xid: bigint): void => {
    if (seen.get(xid) === 'left') return;
    if (seen.get(xid) === 'entered') {
      faults.push(`transaction ${xid} comes before itself`);
      return;
    }
    seen.set(xid, 'entered');
    for (const earlier of before.get(xid) ?? []) visit(earlier);
    seen.set(xid, 'left');
    const transaction = byXid.get(xid);
    // A transfer that another transaction wrote than its entry is told of by the replay.
    if (transaction) transactions.push({ xid, changes: transaction.changes.sort(refundsFirst) });
  };
  for (const xid of [...byXid.keys()].sort(ascending)) visit(xid);
  return { transactions, faults };
};

/** Of each transaction those that did something to an account or a payment right before it. */
const predecessors = (changes: readonly StoredChange[]): Map<bigint, Set<bigint>> => {
  const before = new Map<bigint, Set<bigint>>();
  const follow = (steps: { at: bigint; xid: bigint }[]): void => {
    steps.sort((a, b) => ascending(a.at, b.at));
    for (const [index, { xid }] of steps.entries()) {
      const earlier = steps[index - 1]?.xid;
      if (earlier === undefined || earlier === xid) continue;
      before.set(xid, (before.get(xid) ?? new Set()).add(earlier));
    }
  };
  const accounts = new Map<string, { at: bigint; xid: bigint }[]>();
  const payments = new Map<string, { at: bigint; xid: bigint }[]>();
  const note = (into: typeof accounts, name: string, at: bigint, xid: bigint): void => {
    const steps = into.get(name);
    if (steps) steps.push({ at, xid });
    else into.set(name, [{ at, xid }]);
  };
  for (const { xid, snapshot, transfer } of changes) {
    for (const { accountId, version } of transfer?.postings ?? []) note(accounts, accountId, version, xid);
    const payment = snapshot['payment_id'] ?? snapshot.id;
    if (typeof payment === 'string') note(payments, payment, xid, xid);
  }
  for (const steps of [...accounts.values(), ...payments.values()]) follow(steps);
  return before;
};

const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

/** A refund that succeeds changes its payment with it. */
const refundsFirst = (a: StoredChange, b: StoredChange): number =>
  Number(b.type === 'refund') - Number(a.type === 'refund');
