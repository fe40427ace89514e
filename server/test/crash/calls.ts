import { currencies, formatAmount } from '../../src/lib/money.ts';
import { sandboxCases } from '../../src/payments/connectors/sandbox.ts';
import type { KnownAnswer, KnownCall } from '../model/answers.ts';
import { poisonous } from '../model/poison.ts';
import { chosen, type Random } from './schedule.ts';

/** A vendor that payments are made for. */
export type Vendor = { slug: string; tenantId: number };

/** A write that a client wants done, however often it has to ask. */
export type Call = KnownCall & {
  vendor: Vendor;
  method: 'POST' | 'PATCH';
  path: string;
  body: Readonly<Record<string, unknown>>;
  /** PostgreSQL raises at it: it is answered 500, always. */
  isPoison: boolean;
  answers: KnownAnswer[];
};

/** What a client has been told of a payment. */
export type Paid = { id: string; status: string; currency: string; amountMinor: bigint };

/** Makes up what a client asks for next, given the payments it knows of. */
export const nextCall = (
  random: Random,
  { vendor, key, payments }: { vendor: Vendor; key: string; payments: readonly Paid[] },
): Call => {
  const base = {
    vendor,
    key,
    tenantId: vendor.tenantId,
    method: 'POST' as const,
    isPoison: false,
    answers: [],
  };
  const about = payments.length > 0 && random() < 0.45 ? chosen(random, payments) : undefined;
  if (!about) {
    const body = paymentBody(random, key);
    return { ...base, operation: 'payments.create', path: '/payments', body, isPoison: 'metadata' in body };
  }
  const amount = random() < 0.5 ? {} : { amount: partOf(random, about) };
  if (about.status === 'requires_capture' && random() < 0.9) {
    return random() < 0.7
      ? { ...base, operation: 'payments.capture', path: `/payments/${about.id}/capture`, body: amount }
      : { ...base, operation: 'payments.cancel', path: `/payments/${about.id}/cancel`, body: {} };
  }
  const body = { ...amount, reason: key };
  return random() < 0.7
    ? { ...base, operation: 'payments.refund', path: `/payments/${about.id}/refunds`, body }
    : {
        ...base,
        operation: 'payments.refund_rest',
        method: 'PATCH',
        path: `/payments/${about.id}/refund`,
        body,
      };
};

/** All but the one whose outcome nobody will ever know: every other one is known in the end. */
const cases = Object.keys(sandboxCases).filter((name) => name !== 'timeout_for_ever');

const paymentBody = (random: Random, key: string): Record<string, unknown> => {
  // A currency that is new to the vendor opens accounts.
  const currency = random() < 0.9 ? 'USD' : chosen(random, currencies);
  const amount = formatAmount(1n + BigInt(Math.floor(random() * 20_000)), currency);
  const kind = random();
  const method = random() < 0.5 ? 'sandbox:approve' : `sandbox:${chosen(random, cases)}`;
  return {
    amount,
    currency,
    reference: key,
    ...(kind < 0.2 && { payment_method: method }),
    ...(random() < 0.25 && { capture: false }),
    ...(kind > 0.95 && { customer_email: `payer-${Math.floor(random() * 200)}@example.com` }),
    ...(kind > 0.2 && kind < 0.25 && { metadata: poisonous }),
  };
};

/** Mostly less than there is, sometimes more. */
const partOf = (random: Random, { amountMinor, currency }: Paid): string =>
  formatAmount(1n + (amountMinor * BigInt(Math.floor(random() * 110))) / 100n, currency);

/** The same key with something else under it. */
export const alteredCall = (call: Call): Call => ({
  ...call,
  body: { ...call.body, amount: call.body['amount'] === '3' ? '4' : '3' },
});
