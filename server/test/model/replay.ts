import {
  advance,
  advanceRefund,
  emptyBooks,
  Forbidden,
  move,
  newPayment,
  newRefund,
  type Books,
  type Payment,
  type PaymentState,
  type Postings,
  type Refund,
  type RefundState,
} from './books.ts';
import { inOrder } from './order.ts';
import type { Stored, StoredChange, StoredPosting } from './stored.ts';

/** The books as the model keeps them, and where the database says otherwise. */
export type Replay = { books: ReadonlyMap<number, Books>; faults: string[] };

/** Does everything that the journal tells of once more, in the database's own order, and compares what comes of it. */
export const replay = (stored: Stored): Replay => {
  const { transactions, faults } = inOrder(stored.changes);
  const books = new Map<number, Books>();
  const given = new Set<string>();
  for (const [tenantId, terms] of stored.terms) books.set(tenantId, emptyBooks(terms));
  for (const change of holdsLate(transactions.flatMap(({ changes }) => changes))) {
    const tenant = books.get(change.tenantId);
    // One fault of an object is enough: what follows from it says nothing new.
    if (given.has(change.snapshot.id)) continue;
    const fault = tenant ? faultOf(stored, tenant, change) : 'its tenant does not exist';
    if (fault === undefined) continue;
    given.add(change.snapshot.id);
    faults.push(`${change.snapshot.id} version ${change.version} (${change.kind}): ${fault}`);
  }
  return { books, faults: [...faults, ...balanceFaults(stored, books), ...objectFaults(stored, books)] };
};

/**
 * The changes, those that only set money aside right before the next one of their payment. Such a change has no entry of the
 * account, so nothing tells what was posted before it: it may have waited for the account's lock. What it set aside was
 * there from then on until its end, so it has to be there late as well.
 */
const holdsLate = (changes: readonly StoredChange[]): StoredChange[] => {
  const late: StoredChange[] = [];
  const waiting = new Map<string, StoredChange>();
  for (const change of changes) {
    const { payment_id: of, id } = change.snapshot;
    const payment = typeof of === 'string' ? of : id;
    const earlier = waiting.get(payment);
    if (earlier) late.push(earlier);
    waiting.delete(payment);
    if (change.type === 'refund' && change.snapshot.status === 'processing') waiting.set(payment, change);
    else late.push(change);
  }
  return [...late, ...waiting.values()];
};

const faultOf = (stored: Stored, books: Books, change: StoredChange): string | undefined => {
  if (change.transfer && change.transfer.xid !== change.xid) {
    return `its transfer ${change.transfer.id} was written in another transaction`;
  }
  try {
    const wanted = apply(stored, books, change);
    return postingFault(stored, change, wanted) ?? snapshotFault(books, change);
  } catch (error) {
    if (error instanceof Forbidden) return `${error.code}: ${error.message}`;
    throw error;
  }
};

/** Does what the change tells of, and gives what it has to post; undefined where another entry tells of the money. */
const apply = (stored: Stored, books: Books, change: StoredChange): Postings | undefined => {
  const { snapshot, version } = change;
  if (change.type === 'transfer') return correct(stored, books, change);
  const isRefund = change.type === 'refund';
  const known = isRefund ? books.refunds.get(snapshot.id) : books.payments.get(snapshot.id);
  // Its refund has changed it already: they are of one transaction.
  if (!isRefund && known?.version === version && isOfRefund(snapshot)) return undefined;
  if (version !== (known?.version ?? 0) + 1) {
    throw new Forbidden('version', `follows version ${known?.version ?? 0}`);
  }
  // The journal's words for states; the model refuses those it does not know.
  if (isRefund) return advanceRefund(books, refundOf(books, snapshot), snapshot.status as RefundState);
  if (isOfRefund(snapshot)) throw new Forbidden('invalid_state', 'changed by a refund that is not there');
  const captured = snapshot.status === 'succeeded' ? minor(snapshot, 'amount_captured_minor') : undefined;
  return advance(books, paymentOf(books, snapshot), snapshot.status as PaymentState, captured);
};

const isOfRefund = ({ status }: { status: string }): boolean =>
  status === 'partially_refunded' || status === 'refunded';

const paymentOf = (books: Books, snapshot: StoredChange['snapshot']): Payment =>
  books.payments.get(snapshot.id) ??
  newPayment({
    id: snapshot.id,
    currency: String(snapshot['currency']),
    method: String(snapshot['payment_method']),
    amount: minor(snapshot, 'amount_minor'),
  });

const refundOf = (books: Books, snapshot: StoredChange['snapshot']): Refund => {
  const known = books.refunds.get(snapshot.id);
  if (known) return known;
  const payment = books.payments.get(String(snapshot['payment_id']));
  if (!payment) throw new Forbidden('not_found', 'refunds a payment that is not there');
  return newRefund(books, payment, { id: snapshot.id, amount: minor(snapshot, 'amount_minor') });
};

/** A correction by the operator moves what it says; only the rules of accounts bind it. */
const correct = (stored: Stored, books: Books, { transfer }: StoredChange): Postings => {
  const postings = transfer?.postings ?? [];
  const currencyOf = (accountId: string): string => stored.accounts.get(accountId)?.currency ?? '';
  for (const currency of new Set(postings.map(({ accountId }) => currencyOf(accountId)))) {
    const ofCurrency = postings.filter(({ accountId }) => currencyOf(accountId) === currency);
    move(books, currency, postedBy(stored, ofCurrency));
  }
  return postedBy(stored, postings);
};

const postedBy = (stored: Stored, postings: readonly StoredPosting[] = []): Postings =>
  Object.fromEntries(
    postings.map(({ accountId, amount }) => [stored.accounts.get(accountId)?.code ?? accountId, amount]),
  );

const postingFault = (
  stored: Stored,
  { transfer }: StoredChange,
  wanted: Postings | undefined,
): string | undefined => {
  const [found, due] = [text(postedBy(stored, transfer?.postings)), text(wanted ?? {})];
  return found === due ? undefined : `it posts ${found}, the model ${due}`;
};

const text = (postings: Postings): string =>
  Object.entries(postings)
    .map(([code, amount]) => `${code} ${amount}`)
    .sort()
    .join(', ') || 'nothing';

const snapshotFault = (books: Books, { type, snapshot }: StoredChange): string | undefined => {
  const wanted = type === 'payment' ? paymentFields(books, snapshot.id) : refundFields(books, snapshot.id);
  const wrong = Object.entries(type === 'transfer' ? {} : wanted).find(
    ([field, value]) => String(snapshot[field]) !== String(value),
  );
  return wrong && `it says ${wrong[0]} ${String(snapshot[wrong[0]])}, the model ${String(wrong[1])}`;
};

/** What the model says that a payment shows of itself. */
export const paymentFields = (books: Books, id: string): Record<string, unknown> => {
  const payment = books.payments.get(id);
  return {
    status: payment?.state,
    version: payment?.version,
    currency: payment?.currency,
    amount_minor: payment?.amount,
    amount_captured_minor: payment?.captured,
    amount_refunded_minor: payment?.refunded,
    fee_minor: (payment?.fee ?? 0n) - (payment?.feeReturned ?? 0n),
  };
};

/** What the model says that a refund shows of itself. */
export const refundFields = (books: Books, id: string): Record<string, unknown> => {
  const refund = books.refunds.get(id);
  return {
    status: refund?.state,
    version: refund?.version,
    payment_id: refund?.payment,
    amount_minor: refund?.amount,
    fee_returned_minor: refund?.feeReturned,
  };
};

const balanceFaults = (stored: Stored, books: ReadonlyMap<number, Books>): string[] =>
  [...stored.accounts.values()].flatMap(({ tenantId, currency, code, ...found }) => {
    const due = books.get(tenantId)?.accounts.get(`${currency} ${code}`);
    const wrong = (['posted', 'pending', 'reserved', 'entries'] as const).filter(
      (field) => found[field] !== (due?.[field] ?? 0n),
    );
    return wrong.map(
      (field) =>
        `${code} ${currency} of tenant ${tenantId}: ${field} ${found[field]}, the model ${due?.[field] ?? 0n}`,
    );
  });

const objectFaults = (stored: Stored, books: ReadonlyMap<number, Books>): string[] => {
  const due = new Map<string, Payment | Refund>();
  for (const { payments, refunds } of books.values()) {
    for (const object of [...payments.values(), ...refunds.values()]) due.set(object.id, object);
  }
  const faults = [...stored.objects].flatMap(([id, found]) => {
    const wanted = due.get(id);
    due.delete(id);
    if (wanted?.state === found.state && wanted.version === found.version && wanted.amount === found.amount)
      return [];
    return [
      `${id}: version ${found.version} is ${found.state}, the model ${wanted?.version} ${wanted?.state}`,
    ];
  });
  return [...faults, ...[...due.keys()].map((id) => `${id}: its row is missing`)];
};

const minor = (snapshot: StoredChange['snapshot'], field: string): bigint => {
  const value = snapshot[field];
  if (typeof value !== 'string' || !/^\d+$/.test(value))
    throw new Forbidden('snapshot', `${field} is no amount`);
  return BigInt(value);
};
