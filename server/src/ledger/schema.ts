import { Type } from 'typebox';
import { listQuery } from '../lib/http/page.ts';
import {
  amountMinorOutput,
  amountOutput,
  currencyCode,
  freeText,
  idOf,
  timeOutput,
} from '../lib/http/schemas.ts';

const Code = Type.String({
  maxLength: 64,
  description:
    '`payable` (owed to the vendor), `fees` (earned on it), `external:<connector>` (the world outside) or `corrections` ' +
    '(in suspense until it is clear whose it is).',
  examples: ['payable'],
});

export const ListAccountsQuery = listQuery({
  currency: Type.Optional(currencyCode()),
  code: Type.Optional(freeText(64, { examples: ['payable'] })),
});

export const ListEntriesQuery = listQuery({});

export const AccountAnswer = Type.Object({
  id: idOf('account'),
  object: Type.Literal('account'),
  code: Code,
  currency: currencyCode(),
  non_negative: Type.Boolean({ description: 'Whether the available balance may not go below zero.' }),
  posted: amountOutput({ description: 'Sum of the entries: credits less debits.' }),
  posted_minor: amountMinorOutput(),
  pending: amountOutput({ description: 'Authorised for this account, available to nobody.' }),
  pending_minor: amountMinorOutput(),
  reserved: amountOutput({ description: 'Set aside for what is under way from this account.' }),
  reserved_minor: amountMinorOutput(),
  available: amountOutput({ description: 'Posted less reserved.' }),
  available_minor: amountMinorOutput(),
  entries: Type.String({ maxLength: 20, description: 'How many entries it has.', examples: ['42'] }),
  created_at: timeOutput(),
});

const Direction = Type.Enum(['debit', 'credit']);

export const EntryAnswer = Type.Object({
  sequence: Type.String({
    maxLength: 20,
    description: 'Counts the entries of the account.',
    examples: ['42'],
  }),
  transfer_id: idOf('transfer'),
  kind: Type.String({ maxLength: 40, description: 'What moved the money.', examples: ['payment'] }),
  object_id: Type.String({
    maxLength: 40,
    description: 'The payment, the refund, or the reconciliation that was corrected.',
    examples: ['pay_01h455vb4pex5vsknk084sn02q'],
  }),
  direction: Direction,
  amount: amountOutput(),
  amount_minor: amountMinorOutput(),
  balance: amountOutput({ description: 'Posted balance after this entry.' }),
  balance_minor: amountMinorOutput(),
  created_at: timeOutput(),
});

export const TransferAnswer = Type.Object({
  id: idOf('transfer'),
  object: Type.Literal('transfer'),
  kind: Type.String({ maxLength: 40, examples: ['payment'] }),
  object_id: Type.String({ maxLength: 40, examples: ['pay_01h455vb4pex5vsknk084sn02q'] }),
  entries: Type.Array(
    Type.Object({
      account_id: idOf('account'),
      account_code: Code,
      currency: currencyCode(),
      direction: Direction,
      amount: amountOutput(),
      amount_minor: amountMinorOutput(),
    }),
    { maxItems: 100, description: 'Per currency, debits equal credits.' },
  ),
  created_at: timeOutput(),
});
