/*
 * Florin's rules of money once more, in a form small enough to be checked by eye: what may happen to the books of one
 * tenant, in memory, one thing after the other. It shares no code with the product, so that a fault of one is not a
 * fault of both.
 */

/** What was agreed with a vendor. */
export type Terms = {
  feeBasisPoints: number;
  feeFixed: Readonly<Record<string, bigint>>;
  overdraftAllowed: boolean;
};

export type PaymentState =
  | 'processing'
  | 'requires_capture'
  | 'succeeded'
  | 'partially_refunded'
  | 'refunded'
  | 'canceled'
  | 'failed'
  | 'unknown';
export type RefundState = 'processing' | 'succeeded' | 'failed' | 'unknown';

export type Account = { posted: bigint; pending: bigint; reserved: bigint; entries: bigint };

/** Amounts are minor units; `held` is the authorisation that is open. Version 0 is not made yet. */
export type Payment = {
  id: string;
  currency: string;
  /** `book`, or the backend before the colon: `sandbox:approve`. */
  method: string;
  amount: bigint;
  state: PaymentState;
  version: number;
  captured: bigint;
  refunded: bigint;
  fee: bigint;
  feeReturned: bigint;
  held: bigint;
};

export type Refund = {
  id: string;
  payment: string;
  amount: bigint;
  feeReturned: bigint;
  state: RefundState;
  version: number;
  held: bigint;
};

/** The books of one tenant. */
export type Books = {
  terms: Terms;
  /** Whether the vendor's account may be below zero: where its terms allow it, from the first refund on. */
  mayOverdraw: boolean;
  /** By currency and code: `USD payable`. */
  accounts: Map<string, Account>;
  payments: Map<string, Payment>;
  refunds: Map<string, Refund>;
};

/** What one change posts, by the code of the account; accounts that get nothing are left out. */
export type Postings = Readonly<Record<string, bigint>>;

/** Thrown for what the rules forbid. `code` is what a client is told where it may ask for such a thing. */
export class Forbidden extends Error {
  override readonly name = 'Forbidden';
  readonly code: string;

  constructor(code: string, message: string = code) {
    super(message);
    this.code = code;
  }
}

export const emptyBooks = (terms: Terms): Books => ({
  terms,
  mayOverdraw: false,
  accounts: new Map(),
  payments: new Map(),
  refunds: new Map(),
});

/** A payment that is about to be made. */
export const newPayment = (facts: Pick<Payment, 'id' | 'currency' | 'method' | 'amount'>): Payment => ({
  ...facts,
  state: 'processing',
  version: 0,
  captured: 0n,
  refunded: 0n,
  fee: 0n,
  feeReturned: 0n,
  held: 0n,
});

/** The fee of an amount: its share in basis points, rounded half up, and a fixed part. */
export const feeOf = (terms: Terms, currency: string, amount: bigint): bigint => {
  const share = (amount * BigInt(terms.feeBasisPoints) * 2n + 10_000n) / 20_000n;
  const fee = share + (terms.feeFixed[currency] ?? 0n);
  if (fee > amount) throw new Forbidden('fee_exceeds_amount');
  return fee;
};

const ways: Readonly<Record<PaymentState, readonly PaymentState[]>> = {
  processing: ['requires_capture', 'succeeded', 'failed', 'canceled', 'unknown'],
  unknown: ['requires_capture', 'succeeded', 'failed', 'canceled'],
  requires_capture: ['processing', 'succeeded', 'canceled'],
  succeeded: [],
  partially_refunded: [],
  refunded: [],
  canceled: [],
  failed: [],
};

/**
 * A payment takes its next state, other than by a refund; a new one its first. `captured` is how much is charged where
 * it becomes `succeeded`. Gives what that posts.
 */
export const advance = (
  books: Books,
  payment: Payment,
  to: PaymentState,
  captured: bigint = payment.amount,
): Postings => {
  const isFirst = payment.version === 0;
  const mayBe = isFirst ? ['processing', 'requires_capture', 'succeeded'] : ways[payment.state];
  if (!mayBe.includes(to)) throw new Forbidden('invalid_state', `${payment.state} becomes ${to}`);
  payment.state = to;
  payment.version += 1;
  books.payments.set(payment.id, payment);
  if (to === 'succeeded') return charge(books, payment, captured);
  if (to === 'requires_capture' && payment.held === 0n) hold(books, payment);
  if (to === 'canceled') release(books, payment);
  if (to === 'failed' && payment.held > 0n) throw new Forbidden('invalid_state', 'failed while it is held');
  return {};
};

const charge = (books: Books, payment: Payment, captured: bigint): Postings => {
  const { amount, currency, held } = payment;
  if (captured <= 0n || captured > amount) throw new Forbidden('amount_too_large');
  if (held === 0n && captured !== amount) throw new Forbidden('amount_too_large', 'charged other than asked');
  payment.captured = captured;
  payment.fee = feeOf(books.terms, currency, captured);
  release(books, payment);
  const toVendor = captured - payment.fee;
  return move(books, currency, {
    [externalOf(payment)]: -captured,
    payable: toVendor,
    fees: payment.fee,
  });
};

const hold = (books: Books, payment: Payment): void => {
  payment.held = payment.amount;
  accountOf(books, payment.currency, externalOf(payment)).reserved += payment.held;
  accountOf(books, payment.currency, 'payable').pending += payment.held;
};

const release = (books: Books, payment: Payment): void => {
  accountOf(books, payment.currency, externalOf(payment)).reserved -= payment.held;
  accountOf(books, payment.currency, 'payable').pending -= payment.held;
  payment.held = 0n;
};

/** A refund that is about to be made: its amount (all that is left unless given), and the part of the fee that returns. */
export const newRefund = (
  books: Books,
  payment: Payment,
  { id, amount }: { id: string; amount: bigint | undefined },
): Refund => {
  if (payment.state !== 'succeeded' && payment.state !== 'partially_refunded') {
    throw new Forbidden('invalid_state', `a payment that is ${payment.state} is refunded`);
  }
  const open = [...books.refunds.values()].filter(
    (refund) => refund.payment === payment.id && refund.version > 0 && isOpen(refund),
  );
  const left =
    payment.captured - payment.refunded - open.reduce((total, refund) => total + refund.amount, 0n);
  const wanted = amount ?? left;
  if (wanted === 0n || wanted > left) throw new Forbidden('amount_too_large');
  const feeLeft =
    payment.fee - payment.feeReturned - open.reduce((total, refund) => total + refund.feeReturned, 0n);
  const feeReturned = wanted === left ? feeLeft : (payment.fee * wanted) / payment.captured;
  return { id, payment: payment.id, amount: wanted, feeReturned, state: 'processing', version: 0, held: 0n };
};

const isOpen = ({ state }: Refund): boolean => state === 'processing' || state === 'unknown';

/** A refund takes its next state, a new one its first. Gives what that posts; the payment changes with it. */
export const advanceRefund = (books: Books, refund: Refund, to: RefundState): Postings => {
  const payment = books.payments.get(refund.payment);
  if (!payment) throw new Forbidden('not_found', `refund ${refund.id} has no payment`);
  const mayBe = refund.version === 0 ? ['processing', 'succeeded'] : nextOfRefund[refund.state];
  if (!mayBe.includes(to))
    throw new Forbidden('invalid_state', `a refund that is ${refund.state} becomes ${to}`);
  const net = refund.amount - refund.feeReturned;
  const { currency } = payment;
  const isFirst = refund.version === 0;
  if (isFirst) books.mayOverdraw ||= books.terms.overdraftAllowed;
  if (isFirst && available(books, currency) < net) throw new Forbidden('insufficient_funds');
  if (isFirst && to === 'processing') setAside(books, payment, refund, net);
  if (to === 'failed' || to === 'succeeded') setAside(books, payment, refund, 0n);
  refund.state = to;
  refund.version += 1;
  books.refunds.set(refund.id, refund);
  if (to !== 'succeeded') return {};
  payment.refunded += refund.amount;
  payment.feeReturned += refund.feeReturned;
  payment.state = payment.refunded === payment.captured ? 'refunded' : 'partially_refunded';
  payment.version += 1;
  if (payment.refunded > payment.captured)
    throw new Forbidden('amount_too_large', 'more refunded than captured');
  return move(books, currency, {
    payable: -net,
    fees: -refund.feeReturned,
    [externalOf(payment)]: refund.amount,
  });
};

const nextOfRefund: Readonly<Record<RefundState, readonly RefundState[]>> = {
  processing: ['succeeded', 'failed', 'unknown'],
  unknown: ['succeeded', 'failed'],
  succeeded: [],
  failed: [],
};

/** The vendor's part of a refund is kept for its backend: nobody else can spend it. */
const setAside = (books: Books, payment: Payment, refund: Refund, amount: bigint): void => {
  accountOf(books, payment.currency, 'payable').reserved += amount - refund.held;
  accountOf(books, payment.currency, externalOf(payment)).pending += amount - refund.held;
  refund.held = amount;
};

const externalOf = ({ method }: Payment): string => `external:${method.replace(/:.*/, '')}`;

/** What the vendor may spend: all there is, or no matter how much. */
const available = (books: Books, currency: string): bigint => {
  if (books.mayOverdraw) return 2n ** 63n;
  const { posted, reserved } = accountOf(books, currency, 'payable');
  return posted - reserved;
};

/** Money moves. Gives what was posted, without zeros. */
export const move = (books: Books, currency: string, amounts: Postings): Postings => {
  const postings = Object.entries(amounts).filter(([, amount]) => amount !== 0n);
  for (const [code, amount] of postings) {
    const account = accountOf(books, currency, code);
    account.posted += amount;
    account.entries += 1n;
    const mayBeNegative =
      /^(external:|corrections$)/.test(code) || (code === 'payable' && books.terms.overdraftAllowed);
    if (account.posted < 0n && !mayBeNegative)
      throw new Forbidden('insufficient_funds', `${code} is below zero`);
  }
  return Object.fromEntries(postings);
};

/** Pays out to the vendor. */
export const payOut = (books: Books, currency: string, amount: bigint): Postings => {
  if (available(books, currency) < amount) throw new Forbidden('insufficient_funds');
  return move(books, currency, { payable: -amount, 'external:book': amount });
};

/** An account, opened on first use. */
export const accountOf = (books: Books, currency: string, code: string): Account => {
  const name = `${currency} ${code}`;
  const known = books.accounts.get(name);
  if (known) return known;
  const opened = { posted: 0n, pending: 0n, reserved: 0n, entries: 0n };
  books.accounts.set(name, opened);
  return opened;
};
