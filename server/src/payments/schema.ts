import { Type, type Static, type TSchema } from 'typebox';
import {
  amountInput,
  amountMinorOutput,
  amountOutput,
  currencyCode,
  freeText,
  idOf,
  metadata,
  timeInput,
  timeOutput,
  versionOutput,
} from '../lib/http/schemas.ts';
import { listQuery } from '../lib/http/page.ts';

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

/** Why a backend declined, or that it never got the request. The sandbox can produce each. */
export const failureCodes = [
  'insufficient_funds',
  'card_expired',
  'do_not_honor',
  'suspected_fraud',
  'limit_exceeded',
  'backend_error',
  'not_received',
] as const;
export type FailureCode = (typeof failureCodes)[number];

const noPersonalData = 'No place for personal data; card numbers are refused.';

const closed = { additionalProperties: false } as const;

export const CreatePaymentBody = Type.Object(
  {
    amount: amountInput({ examples: ['100.00'] }),
    currency: currencyCode({ examples: ['USD'] }),
    reference: Type.Optional(
      freeText(128, { minLength: 1, description: 'Your own reference.', examples: ['TEST-12345'] }),
    ),
    description: Type.Optional(
      freeText(500, { description: `What it is for. ${noPersonalData}`, examples: ['Test payment'] }),
    ),
    customer_id: Type.Optional(idOf('customer', { description: 'A customer that you created.' })),
    customer_email: Type.Optional(
      Type.String({
        format: 'email',
        maxLength: 254,
        description: 'Who pays. A known address is the known customer, a new one makes a customer.',
        examples: ['ada@example.com'],
      }),
    ),
    customer_name: Type.Optional(
      freeText(200, {
        minLength: 1,
        description: 'Name of a new customer; goes with `customer_email`.',
        examples: ['Ada Lovelace'],
      }),
    ),
    payment_method: Type.Optional(
      Type.String({
        maxLength: 64,
        pattern: '^[a-z0-9_]+(:[A-Za-z0-9_]+)?$',
        'x-expected': 'a payment method such as "book" or "sandbox:approve"',
        description:
          'How it is paid: the word before the colon is the backend. In test mode `book`, the default, or `sandbox:<case>`: ' +
          'see the table of cases. Where they are configured, `http` (the default of live mode) or `http:<detail>`, and ' +
          '`stripe:<pm_…>`.',
        examples: ['book'],
      }),
    ),
    capture: Type.Optional(
      Type.Boolean({
        description: '`false` only authorises: capture or cancel it later. `true` unless told.',
      }),
    ),
    metadata: Type.Optional(metadata()),
  },
  {
    ...closed,
    examples: [
      {
        amount: '100.00',
        currency: 'USD',
        reference: 'TEST-12345',
        description: 'Test payment',
        customer_email: 'ada@example.com',
        customer_name: 'Ada Lovelace',
      },
    ],
  },
);
export type CreatePaymentBody = Static<typeof CreatePaymentBody>;

export const CaptureBody = Type.Object(
  {
    amount: Type.Optional(
      amountInput({ description: 'How much to capture, everything unless told. The rest is released.' }),
    ),
  },
  closed,
);

export const CancelBody = Type.Object({}, closed);

export const RefundBody = Type.Object(
  {
    amount: Type.Optional(amountInput({ description: 'How much to refund, all that is left unless told.' })),
    reason: Type.Optional(
      freeText(500, { description: `Kept with the refund. ${noPersonalData}`, examples: ['Returned goods'] }),
    ),
  },
  closed,
);
export type RefundBody = Static<typeof RefundBody>;

export const ListPaymentsQuery = listQuery({
  status: Type.Optional(Type.Enum(paymentStates)),
  currency: Type.Optional(currencyCode()),
  reference: Type.Optional(freeText(128, { minLength: 1 })),
  customer_id: Type.Optional(idOf('customer')),
  amount_min: Type.Optional(Type.String({ maxLength: 40, description: 'Least amount; needs `currency`.' })),
  amount_max: Type.Optional(Type.String({ maxLength: 40, description: 'Largest amount; needs `currency`.' })),
  created_from: Type.Optional(timeInput({ description: 'Made at this time or later.' })),
  created_before: Type.Optional(timeInput({ description: 'Made before this time.' })),
});

export const ListRefundsQuery = listQuery({});

const nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
const Mode = Type.Enum(['test', 'live'], {
  description: 'Money of test mode is no money.',
  examples: ['test'],
});
const FailureOf = nullable(
  Type.Enum(failureCodes, {
    description:
      'Why the backend declined; `not_received`: it never got the request, and nothing happened there.',
  }),
);

/** A payment without personal data: the snapshot of its journal entries. */
export const PaymentSnapshot = Type.Object({
  id: idOf('payment'),
  object: Type.Literal('payment'),
  mode: Mode,
  status: Type.Enum(paymentStates),
  amount: amountOutput({ examples: ['100.00'] }),
  amount_minor: amountMinorOutput({ examples: ['10000'] }),
  currency: currencyCode({ examples: ['USD'] }),
  amount_captured: amountOutput({ examples: ['100.00'] }),
  amount_captured_minor: amountMinorOutput({ examples: ['10000'] }),
  amount_refunded: amountOutput({ examples: ['0.00'] }),
  amount_refunded_minor: amountMinorOutput({ examples: ['0'] }),
  fee: amountOutput({
    description: 'What the platform kept, less what refunds returned.',
    examples: ['0.00'],
  }),
  fee_minor: amountMinorOutput({ examples: ['0'] }),
  reference: nullable(freeText(128)),
  description: nullable(freeText(500)),
  customer_id: nullable(idOf('customer')),
  payment_method: Type.String({ maxLength: 64, examples: ['book'] }),
  failure_code: FailureOf,
  metadata: metadata(),
  version: versionOutput(),
  created_at: timeOutput(),
  updated_at: timeOutput(),
});
export type PaymentSnapshot = Static<typeof PaymentSnapshot>;

/** A payment as it is answered, with its customer as known now. */
export const PaymentAnswer = Type.Object({
  ...PaymentSnapshot.properties,
  customer_email: nullable(Type.String({ maxLength: 254 })),
  customer_name: nullable(Type.String({ maxLength: 200 })),
});
export type PaymentAnswer = Static<typeof PaymentAnswer>;

export const RefundSnapshot = Type.Object({
  id: idOf('refund'),
  object: Type.Literal('refund'),
  payment_id: idOf('payment'),
  mode: Mode,
  status: Type.Enum(refundStates),
  amount: amountOutput(),
  amount_minor: amountMinorOutput(),
  currency: currencyCode(),
  fee_returned: amountOutput({ description: 'The part of the fee that came back.', examples: ['0.30'] }),
  fee_returned_minor: amountMinorOutput({ examples: ['30'] }),
  reason: nullable(freeText(500)),
  failure_code: FailureOf,
  version: versionOutput(),
  created_at: timeOutput(),
  updated_at: timeOutput(),
});
export type RefundSnapshot = Static<typeof RefundSnapshot>;

/** A backend contradicts our books: the snapshot of `reconciliation.mismatch`. The books stay as they are. */
export const MismatchSnapshot = Type.Object({
  object: Type.Literal('mismatch'),
  found: Type.Enum(['amount', 'outcome', 'reference'], {
    description:
      'What does not fit: the amount that was moved, how it ended, or a second reference for what was to be done once.',
    examples: ['amount'],
  }),
  payment_id: idOf('payment'),
  refund_id: nullable(idOf('refund')),
  operation_id: idOf('operation', { description: 'Our reference at the backend.' }),
  connector: Type.String({ maxLength: 64, examples: ['http'] }),
  kind: Type.Enum(['authorise', 'capture', 'cancel', 'refund'], { examples: ['authorise'] }),
  books: Type.Object(
    {
      outcome: Type.Enum(['approved', 'declined', 'unknown'], { examples: ['unknown'] }),
      amount: amountOutput(),
      amount_minor: amountMinorOutput(),
      currency: currencyCode(),
      reference: nullable(Type.String({ maxLength: 255, examples: ['ch_1042'] })),
    },
    { description: 'What our books say. They stay so.' },
  ),
  backend: Type.Object(
    {
      outcome: Type.Enum(['approved', 'declined', 'unknown'], { examples: ['approved'] }),
      amount_minor: nullable(amountMinorOutput()),
      currency: nullable(currencyCode()),
      reference: nullable(Type.String({ maxLength: 255, examples: ['ch_1042'] })),
      failure_code: FailureOf,
    },
    { description: 'What the backend says.' },
  ),
});
export type MismatchSnapshot = Static<typeof MismatchSnapshot>;

const BackendReference = Type.String({ maxLength: 255, pattern: '^[!-~]+$' });

/** What another service tells sapi about an operation: how the backend says that it ended. */
export const Settlement = Type.Object(
  {
    tenantId: Type.Integer({ minimum: 1 }),
    result: Type.Union([
      Type.Object(
        {
          outcome: Type.Literal('approved'),
          backendReference: Type.Optional(BackendReference),
          moved: Type.Optional(
            Type.Object(
              { amountMinor: Type.String({ pattern: '^[0-9]{1,18}$' }), currency: currencyCode() },
              closed,
            ),
          ),
        },
        closed,
      ),
      Type.Object({ outcome: Type.Literal('declined'), failureCode: Type.Enum(failureCodes) }, closed),
      Type.Object({ outcome: Type.Literal('unknown') }, closed),
    ]),
  },
  closed,
);
export type Settlement = Static<typeof Settlement>;

/** What a person decides about an operation that its backend never told the end of. */
export const SettlementByHand = Type.Object(
  {
    by: Type.String({
      maxLength: 64,
      pattern: '^[!-~]+$',
      description: 'Who decided: a user of the operating system.',
    }),
    reason: freeText(500, { minLength: 1, description: `Kept in the journal. ${noPersonalData}` }),
    result: Type.Union([
      Type.Object(
        { outcome: Type.Literal('approved'), backendReference: Type.Optional(BackendReference) },
        closed,
      ),
      Type.Object({ outcome: Type.Literal('declined'), failureCode: Type.Enum(failureCodes) }, closed),
    ]),
  },
  closed,
);
export type SettlementByHand = Static<typeof SettlementByHand>;
