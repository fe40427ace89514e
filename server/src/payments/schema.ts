import { Type, type Static } from 'typebox';
import { idPattern } from '../lib/ids.ts';

export const paymentStates = [
  'processing',
  'requires_capture',
  'succeeded',
  'partially_refunded',
  'refunded',
  'canceled',
  'failed',
  'unknown',
] as const;
export type PaymentState = (typeof paymentStates)[number];

/** Every way a payment may go. What is not here does not happen; `store.ts` updates only `where state = from`. */
export const transitions: Readonly<Record<PaymentState, readonly PaymentState[]>> = {
  processing: ['requires_capture', 'succeeded', 'failed', 'canceled', 'unknown'],
  requires_capture: ['processing', 'succeeded', 'canceled'],
  unknown: ['requires_capture', 'succeeded', 'failed', 'canceled'],
  succeeded: ['partially_refunded', 'refunded'],
  partially_refunded: ['partially_refunded', 'refunded'],
  refunded: [],
  canceled: [],
  failed: [],
};

const refundable: readonly PaymentState[] = ['succeeded', 'partially_refunded'];

/** What may be done to a payment in a state. */
export const can = {
  capture: (state: PaymentState): boolean => state === 'requires_capture',
  cancel: (state: PaymentState): boolean => state === 'requires_capture',
  refund: (state: PaymentState): boolean => refundable.includes(state),
};

/** A refund waits for its backend only where there is one outside; it never leaves `succeeded` or `failed`. */
export const refundStates = ['processing', 'succeeded', 'failed', 'unknown'] as const;
export type RefundState = (typeof refundStates)[number];

/** Why a backend declined. The sandbox can produce each. */
export const failureCodes = [
  'insufficient_funds',
  'card_expired',
  'do_not_honor',
  'suspected_fraud',
  'limit_exceeded',
  'backend_error',
] as const;
export type FailureCode = (typeof failureCodes)[number];

const Amount = Type.Union([Type.String({ maxLength: 32 }), Type.Number()], {
  description:
    'Decimal amount in units of the currency. A string counts as it stands, a number by its shortest decimal form. ' +
    'More decimal places than the currency has are refused, never rounded.',
  examples: ['100.00'],
});

const Currency = Type.String({
  pattern: '^[A-Z]{3}$',
  description: 'ISO 4217 currency code, upper case.',
  examples: ['USD'],
});

const Metadata = Type.Record(
  Type.String({ pattern: '^[A-Za-z0-9_.-]{1,40}$' }),
  Type.String({ maxLength: 500 }),
  {
    maxProperties: 50,
    description: 'Up to 50 pairs of your own. No place for personal data; card numbers are refused.',
    examples: [{ order: '6735' }],
  },
);

export const CreatePaymentBody = Type.Object(
  {
    amount: Amount,
    currency: Currency,
    reference: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: 'Your own reference.', examples: ['TEST-12345'] }),
    ),
    description: Type.Optional(
      Type.String({
        maxLength: 500,
        description: 'Shown to you only. No place for personal data.',
        examples: ['Test payment'],
      }),
    ),
    customer_id: Type.Optional(Type.String({ pattern: idPattern('customer'), description: 'A customer you created.' })),
    customer_email: Type.Optional(
      Type.String({
        format: 'email',
        maxLength: 254,
        description: 'Who pays. A known address is the known customer, a new one makes a customer.',
        examples: ['ada@example.com'],
      }),
    ),
    customer_name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: 'Name of a new customer; needs `customer_email`.',
        examples: ['Ada Lovelace'],
      }),
    ),
    payment_method: Type.Optional(
      Type.String({
        maxLength: 64,
        pattern: '^[a-z0-9_]+(:[a-z0-9_]+)?$',
        description: 'How it is paid: `book` (the default in test mode) or `sandbox:<case>`, see the table of cases.',
        examples: ['book'],
      }),
    ),
    capture: Type.Optional(
      Type.Boolean({ default: true, description: '`false` only authorises; capture or cancel it later.' }),
    ),
    metadata: Type.Optional(Metadata),
  },
  { additionalProperties: false },
);
export type CreatePaymentBody = Static<typeof CreatePaymentBody>;

export const CaptureBody = Type.Object(
  {
    amount: Type.Optional(
      Type.Union(Amount.anyOf, { description: 'How much to capture; all of it by default. The rest is released.' }),
    ),
  },
  { additionalProperties: false },
);

export const CancelBody = Type.Object({}, { additionalProperties: false });

export const RefundBody = Type.Object(
  {
    amount: Type.Optional(
      Type.Union(Amount.anyOf, { description: 'How much to refund; everything that is left by default.' }),
    ),
    reason: Type.Optional(
      Type.String({ maxLength: 500, description: 'Kept with the refund. No place for personal data.' }),
    ),
  },
  { additionalProperties: false },
);
export type RefundBody = Static<typeof RefundBody>;

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Decimal = Type.String({ description: 'Decimal amount in units of the currency.', examples: ['100.00'] });
const Minor = Type.String({ description: 'The same in minor units.', examples: ['10000'] });
const Instant = Type.String({ format: 'date-time', examples: ['2026-01-16T12:00:00.000Z'] });

/** A payment without personal data: the snapshot of its journal entries, and with the customer filled in, the answer. */
export const PaymentSnapshot = Type.Object({
  id: Type.String({ pattern: idPattern('payment'), examples: ['pay_01kandk6zvf5hbsh6zqr5kx9mn'] }),
  object: Type.Literal('payment'),
  mode: Type.Enum(['test', 'live']),
  status: Type.Enum(paymentStates),
  amount: Decimal,
  amount_minor: Minor,
  currency: Currency,
  amount_captured: Decimal,
  amount_captured_minor: Minor,
  amount_refunded: Decimal,
  amount_refunded_minor: Minor,
  fee: Decimal,
  fee_minor: Minor,
  reference: nullable(Type.String()),
  description: nullable(Type.String()),
  customer_id: nullable(Type.String()),
  payment_method: Type.String(),
  failure_code: nullable(Type.Enum(failureCodes)),
  metadata: Type.Record(Type.String(), Type.String()),
  version: Type.Integer({ description: 'Counts the changes of this payment, from 1.' }),
  created_at: Instant,
  updated_at: Instant,
});
export type PaymentSnapshot = Static<typeof PaymentSnapshot>;

export const PaymentAnswer = Type.Object({
  ...PaymentSnapshot.properties,
  customer_email: nullable(Type.String()),
  customer_name: nullable(Type.String()),
});

export const RefundSnapshot = Type.Object({
  id: Type.String({ pattern: idPattern('refund'), examples: ['ref_01kandk6zvf5hbsh6zqr5kx9mn'] }),
  object: Type.Literal('refund'),
  payment_id: Type.String({ pattern: idPattern('payment') }),
  mode: Type.Enum(['test', 'live']),
  status: Type.Enum(refundStates),
  amount: Decimal,
  amount_minor: Minor,
  currency: Currency,
  fee_returned: Decimal,
  fee_returned_minor: Minor,
  reason: nullable(Type.String()),
  failure_code: nullable(Type.Enum(failureCodes)),
  version: Type.Integer(),
  created_at: Instant,
  updated_at: Instant,
});
export type RefundSnapshot = Static<typeof RefundSnapshot>;
