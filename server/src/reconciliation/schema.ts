import { Type, type Static, type TSchema } from 'typebox';
import { listQuery } from '../lib/http/page.ts';
import {
  amountMinorOutput,
  amountOutput,
  currencyCode,
  freeText,
  idOf,
  idParams,
  timeInput,
  timeOutput,
  versionOutput,
} from '../lib/http/schemas.ts';

/** How a line and what is known here can differ. */
export const breakTypes = [
  'missing_here',
  'missing_there',
  'status_differs',
  'currency_differs',
  'amount_differs',
  'fee_differs',
  'duplicate',
] as const;
export type BreakType = (typeof breakTypes)[number];

/** Where a correction puts the other side of what it moves: into suspense, or to the vendor's account. */
export const corrected = ['corrections', 'payable'] as const;
export type Against = (typeof corrected)[number];

const connectorName = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[a-z0-9_]+$',
  'x-expected': 'the name of a payment backend such as "http"',
  description: 'Whose statement it is. Unless given, the backend of the payments that its lines name.',
  examples: ['book'],
});

export const ReconcileQuery = Type.Object(
  {
    connector: Type.Optional(connectorName),
    from: Type.Optional(
      timeInput({
        description:
          'What succeeded here from then on has to be in the statement. Unless given, the first day of it (UTC).',
      }),
    ),
    until: Type.Optional(
      timeInput({ description: 'And before this time. Unless given, the end of its last day (UTC).' }),
    ),
  },
  { additionalProperties: false },
);
export type ReconcileQuery = Static<typeof ReconcileQuery>;

export const ListReconciliationsQuery = listQuery({
  status: Type.Optional(Type.Enum(['agreed', 'open'])),
});

export const ListBreaksQuery = listQuery({
  type: Type.Optional(Type.Enum(breakTypes)),
});

export const CorrectBody = Type.Object(
  {
    reason: freeText(500, {
      minLength: 1,
      description: 'Why, for whoever audits the books. No place for personal data.',
      examples: ['The backend charged twice and gives the money back on Monday'],
    }),
    against: Type.Optional(
      Type.Enum(corrected, {
        description:
          'Where the other side goes: `corrections`, the default, keeps it in suspense until it is clear whose it is; ' +
          '`payable` takes it from the vendor, or gives it to it.',
        examples: ['corrections'],
      }),
    ),
  },
  { additionalProperties: false },
);
export type CorrectBody = Static<typeof CorrectBody>;

/** Which break, in a path. */
export const breakParams = Type.Object(
  {
    ...idParams('reconciliation').properties,
    // A text, so that a number has one spelling.
    number: Type.String({
      maxLength: 9,
      pattern: '^[1-9][0-9]{0,8}$',
      description: 'Number of the break.',
      examples: ['1'],
    }),
  },
  { 'x-noun': 'break' },
);

/** What the command line tells sapi. */
export const CorrectionByHand = Type.Object(
  {
    ...CorrectBody.properties,
    tenantId: Type.Integer({ minimum: 1 }),
    by: Type.String({ minLength: 1, maxLength: 64, description: 'Who typed the command.' }),
  },
  { additionalProperties: false },
);
export type CorrectionByHand = Static<typeof CorrectionByHand>;

const nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
const count = (description: string) =>
  Type.Integer({ minimum: 0, maximum: 2_147_483_647, description, examples: [0] });

/** A comparison of one statement with the books: the snapshot of its journal entries. */
export const Reconciliation = Type.Object({
  id: idOf('reconciliation'),
  object: Type.Literal('reconciliation'),
  status: Type.Enum(['agreed', 'open'], {
    description: '`agreed`: there was no break, or every one is corrected.',
    examples: ['agreed'],
  }),
  connector: Type.String({ maxLength: 64, examples: ['http'] }),
  period_from: timeOutput(),
  period_until: timeOutput({ description: 'Not included.' }),
  statement_sha256: Type.String({
    maxLength: 64,
    pattern: '^[0-9a-f]{64}$',
    description: 'Of the statement as it was sent.',
    examples: ['2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae'],
  }),
  lines: count('Lines of the statement.'),
  matched: count('Lines that say what the books say.'),
  breaks: count('Differences between the two.'),
  corrected: count('Breaks that were corrected.'),
  types: Type.Object(
    // The names are the types of breaks and no others.
    Object.fromEntries(breakTypes.map((type) => [type, count('Breaks of this type.')])) as Record<
      BreakType,
      ReturnType<typeof count>
    >,
  ),
  version: versionOutput(),
  created_at: timeOutput(),
  updated_at: timeOutput(),
});
export type Reconciliation = Static<typeof Reconciliation>;

const Side = (statuses: readonly string[], description: string) =>
  nullable(
    Type.Object(
      {
        status: Type.String({
          maxLength: 20,
          description: `One of ${statuses.join(', ')}.`,
          examples: ['succeeded'],
        }),
        amount: amountOutput(),
        amount_minor: amountMinorOutput(),
        currency: currencyCode(),
        fee: nullable(amountOutput({ examples: ['0.30'] })),
        date: timeOutput(),
      },
      { description },
    ),
  );

const nameOrNull = (description: string) =>
  nullable(Type.String({ maxLength: 255, description, examples: ['ch_1042'] }));

/** One difference between a statement and the books. */
export const ReconciliationBreak = Type.Object({
  object: Type.Literal('reconciliation_break'),
  reconciliation_id: idOf('reconciliation'),
  number: Type.Integer({
    minimum: 1,
    maximum: 2_147_483_647,
    description: 'Counts the breaks of a reconciliation.',
  }),
  type: Type.Enum(breakTypes, {
    description:
      '`missing_here`: the books know nothing of it. `missing_there`: it succeeded here and is not in the statement. ' +
      '`duplicate`: another line says the same already.',
    examples: ['amount_differs'],
  }),
  kind: Type.Enum(['charge', 'refund']),
  line: nullable(
    Type.Integer({
      minimum: 1,
      maximum: 2_147_483_647,
      description: 'Of the statement; null when it has none.',
    }),
  ),
  reference: nameOrNull('Our reference, as the statement has it.'),
  backend_reference: nameOrNull('The reference of the backend, as the statement has it.'),
  operation_id: nullable(idOf('operation')),
  payment_id: nullable(idOf('payment')),
  refund_id: nullable(idOf('refund')),
  here: Side(
    ['succeeded', 'failed', 'pending', 'authorised'],
    'What the books say; null when they say nothing.',
  ),
  there: Side(['succeeded', 'failed', 'pending'], 'What the statement says; null when it says nothing.'),
  correctable: Type.Boolean({
    description: 'Whether money moved other than the books say.',
    examples: [true],
  }),
  advice: Type.String({ maxLength: 500, description: 'What to do about it.' }),
  proposal: Type.Array(
    Type.Object({
      code: Type.String({ maxLength: 100, examples: ['corrections'] }),
      direction: Type.Enum(['debit', 'credit']),
      amount: amountOutput(),
      amount_minor: amountMinorOutput(),
      currency: currencyCode(),
    }),
    { maxItems: 4, description: 'What a correction posts unless it is told to go against `payable`.' },
  ),
  correction: nullable(
    Type.Object({
      transfer_id: idOf('transfer'),
      against: Type.Enum(corrected, { examples: ['corrections'] }),
      reason: Type.String({ maxLength: 500, examples: ['The backend charged twice'] }),
      actor: Type.String({ maxLength: 128, examples: ['api_key:key_01h455vb4pex5vsknk084sn02q'] }),
      created_at: timeOutput(),
    }),
  ),
});
export type ReconciliationBreak = Static<typeof ReconciliationBreak>;
