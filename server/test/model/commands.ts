import {
  advance,
  advanceRefund,
  emptyBooks,
  feeOf,
  Forbidden,
  newPayment,
  newRefund,
  payOut,
  type Books,
  type Payment,
  type Refund,
  type Terms,
} from './books.ts';
import { paymentFields, refundFields } from './replay.ts';

/** One request to a tenant. Ids are those that the database gave, so that both sides speak of the same things. */
export type Command = { key?: string | undefined } & (
  | { verb: 'create'; id: string; amount: bigint; capture: boolean; method: string; isPoison: boolean }
  | { verb: 'capture'; id: string; amount?: bigint | undefined }
  | { verb: 'cancel'; id: string }
  | { verb: 'refund'; id: string; refundId: string; amount?: bigint | undefined; isRest: boolean }
  | { verb: 'pay out'; amount: bigint }
);

/** What a client sees: the status, the refusal's code, or what was made or changed. */
export type Answer = { status: number; code?: string; fields?: Readonly<Record<string, string>> };

type Remembered = { request: string; answer: Answer; isOpen: boolean };

/** A tenant: its books, and what its keys were answered. */
export type Tenant = { books: Books; keys: Map<string, Remembered> };

export const newTenant = (terms: Terms): Tenant => ({ books: emptyBooks(terms), keys: new Map() });

/** A command that is under way: not begun, at its backend, or answered. */
export type Running = { command: Command; open?: Payment | Refund; answer?: Answer };

const currency = 'USD';

/**
 * The next thing that happens of a command, all at once: in our own books everything, at a backend first the claim, then
 * the outcome. Changes the tenant, and gives the command as it is then.
 */
export const happen = (tenant: Tenant, { command, open }: Running): Running => {
  const { key } = command;
  const name = `${operationOf(command)} ${key}`;
  const remember = (answer: Answer, isOpen: boolean): void => {
    if (key !== undefined) tenant.keys.set(name, { request: requestOf(command), answer, isOpen });
  };
  if (open) {
    const answer = settle(tenant.books, command, open);
    remember(answer, false);
    return { command, answer };
  }
  const known = key === undefined ? undefined : tenant.keys.get(name);
  if (known) return { command, answer: repeated(known, command) };
  const before = structuredClone(tenant.books);
  try {
    const begun = begin(tenant.books, command);
    if (begun) {
      remember({ status: 202 }, true);
      return { command, open: begun };
    }
    const answer = answerOf(tenant.books, command, 200);
    remember(answer, false);
    return { command, answer };
  } catch (error) {
    if (!(error instanceof Forbidden)) throw error;
    tenant.books = before;
    const answer = { status: statusOf(error.code), code: error.code };
    if (answer.status < 500) remember(answer, false);
    return { command, answer };
  }
};

const repeated = (known: Remembered, command: Command): Answer => {
  if (known.request !== requestOf(command)) return { status: 422, code: 'idempotency_key_reused' };
  return known.isOpen ? { status: 409, code: 'request_in_flight' } : known.answer;
};

const statusOf = (code: string): number => {
  if (code === 'internal_error') return 500;
  return code === 'invalid_state' ? 409 : 422;
};

/** Keys are scoped to what is asked. */
export const operationOf = (command: Command): string => {
  if (command.verb === 'refund') return command.isRest ? 'payments.refund_rest' : 'payments.refund';
  return `payments.${command.verb}`;
};

/** What makes two requests of one key equal: all but the ids that the answer brings. */
const requestOf = (command: Command): string => {
  const asked = { ...command, ...(command.verb === 'create' && { id: '' }), refundId: '' };
  return JSON.stringify(asked, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));
};

/** Decides and does what our books settle; gives what now waits for a backend. */
const begin = (books: Books, command: Command): Payment | Refund | undefined => {
  if (command.verb === 'pay out') return void payOut(books, currency, command.amount);
  if (command.verb === 'create') return create(books, command);
  const payment = books.payments.get(command.id);
  if (!payment) throw new Forbidden('not_found');
  const isOutside = payment.method !== 'book';
  if (command.verb === 'refund') {
    const refund = newRefund(books, payment, { id: command.refundId, amount: command.amount });
    advanceRefund(books, refund, isOutside ? 'processing' : 'succeeded');
    return isOutside ? refund : undefined;
  }
  if (payment.state !== 'requires_capture') throw new Forbidden('invalid_state');
  const amount = command.verb === 'capture' ? (command.amount ?? payment.amount) : payment.amount;
  if (amount > payment.amount) throw new Forbidden('amount_too_large');
  if (command.verb === 'capture') feeOf(books.terms, currency, amount);
  if (isOutside) advance(books, payment, 'processing');
  else advance(books, payment, command.verb === 'cancel' ? 'canceled' : 'succeeded', amount);
  return isOutside ? payment : undefined;
};

const create = (books: Books, command: Command & { verb: 'create' }): Payment | undefined => {
  const { id, amount, capture, method } = command;
  feeOf(books.terms, currency, amount);
  if (command.isPoison) throw new Forbidden('internal_error');
  const payment = newPayment({ id, currency, method, amount });
  if (method !== 'book') {
    advance(books, payment, 'processing');
    return payment;
  }
  advance(books, payment, capture ? 'succeeded' : 'requires_capture');
  return undefined;
};

type Verb = 'create' | 'capture' | 'cancel' | 'refund';

/** What the simulator of a backend says, where it does not approve in time. */
const outcomes: Readonly<Record<string, Partial<Record<Verb, 'declined' | 'unknown'>>>> = {
  'sandbox:decline_do_not_honor': { create: 'declined' },
  'sandbox:capture_declined': { capture: 'declined' },
  'sandbox:refund_declined': { refund: 'declined' },
  'sandbox:slow': { create: 'unknown' },
  'sandbox:timeout_after_charging': { create: 'unknown' },
  'sandbox:timeout_before_charging': { create: 'unknown' },
  'sandbox:capture_timeout': { capture: 'unknown' },
  'sandbox:cancel_timeout': { cancel: 'unknown' },
  'sandbox:refund_timeout': { refund: 'unknown' },
};

/** The methods that a payment may be made with. */
export const paymentMethods = [
  'sandbox:approve',
  'sandbox:duplicate_answer',
  ...Object.keys(outcomes),
] as const;

const settle = (books: Books, command: Command, open: Payment | Refund): Answer => {
  const payment = books.payments.get('payment' in open ? open.payment : open.id);
  if (!payment) throw new Error(`the payment of ${open.id} is gone`);
  const said = outcomes[payment.method]?.[command.verb as Verb] ?? 'approved'; // only these settle
  if (command.verb === 'refund') {
    const refund = books.refunds.get(open.id);
    if (!refund) throw new Error(`refund ${open.id} is gone`);
    advanceRefund(books, refund, said === 'approved' ? 'succeeded' : said === 'declined' ? 'failed' : said);
    return answerOf(books, command, said === 'unknown' ? 202 : 200);
  }
  if (said === 'unknown') advance(books, payment, 'unknown');
  else if (said === 'declined') advance(books, payment, payment.held > 0n ? 'requires_capture' : 'failed');
  else approve(books, payment, command);
  return answerOf(books, command, said === 'unknown' ? 202 : 200);
};

const approve = (books: Books, payment: Payment, command: Command): void => {
  if (command.verb === 'cancel') advance(books, payment, 'canceled');
  else if (command.verb === 'capture') advance(books, payment, 'succeeded', command.amount);
  else
    advance(books, payment, command.verb === 'create' && !command.capture ? 'requires_capture' : 'succeeded');
};

/** What was made is answered with 201. */
const answerOf = (books: Books, command: Command, status: number): Answer => {
  if (command.verb === 'pay out') return { status };
  const makes = command.verb === 'create' || (command.verb === 'refund' && !command.isRest);
  const fields =
    command.verb === 'refund' && !command.isRest
      ? refundFields(books, command.refundId)
      : paymentFields(books, command.id);
  return { status: makes && status === 200 ? 201 : status, fields: textsOf(fields) };
};

/** Amounts as JSON writes them. */
export const textsOf = (fields: Readonly<Record<string, unknown>>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([field, value]) => [field, String(value)]));
