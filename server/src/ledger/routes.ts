import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type, type Static } from 'typebox';
import type { Db } from '../lib/database.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { idOf, idParams, listOf } from '../lib/http/schemas.ts';
import { formatAmount } from '../lib/money.ts';
import { AccountAnswer, EntryAnswer, ListAccountsQuery, ListEntriesQuery, TransferAnswer } from './schema.ts';
import {
  getAccount,
  getTransfer,
  listAccounts,
  listEntries,
  type Account,
  type Entry,
  type StoredTransfer,
} from './store.ts';

const tags = ['Ledger'];

/** Reading the books: `/ledger`. Nothing is written here. */
export const ledgerRoutes =
  ({ db }: { db: Db }): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/ledger/accounts',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'listAccounts',
          tags,
          summary: 'List accounts with their balances',
          description: 'An account is opened by the first payment that needs it.',
          querystring: ListAccountsQuery,
          response: { 200: listOf(AccountAnswer) },
        },
      },
      async (request) => {
        const { cursor, limit, ...filter } = request.query;
        const after = decodeCursor(cursor, Type.Tuple([idOf('account')]))?.[0];
        const { tenantId } = request.caller;
        const rows = await listAccounts(db, { tenantId, ...filter }, { after, limit: limit + 1 });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: accountAnswer });
      },
    );

    app.get(
      '/ledger/accounts/:id',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'getAccount',
          tags,
          summary: 'Get an account with its balances',
          description: 'The balances as they are now.',
          params: idParams('account'),
          response: { 200: AccountAnswer },
        },
      },
      async (request) => accountAnswer(await getAccount(db, request.caller.tenantId, request.params.id)),
    );

    app.get(
      '/ledger/accounts/:id/entries',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'listEntries',
          tags,
          summary: 'List the entries of an account, the newest first',
          description: 'The statement of the account, with the running balance.',
          params: idParams('account'),
          querystring: ListEntriesQuery,
          response: { 200: listOf(EntryAnswer) },
        },
      },
      async (request) => {
        const { cursor, limit } = request.query;
        const account = await getAccount(db, request.caller.tenantId, request.params.id);
        const position = decodeCursor(
          cursor,
          Type.Tuple([Type.String({ pattern: '^[1-9][0-9]{0,17}$' })]),
        )?.[0];
        const before = position === undefined ? undefined : BigInt(position);
        const rows = await listEntries(db, account.id, { before, limit: limit + 1 });
        return pageOf(rows, {
          limit,
          positionOf: ({ version }) => [version.toString()],
          render: (entry) => entryAnswer(entry, account.currency),
        });
      },
    );

    app.get(
      '/ledger/transfers/:id',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'getTransfer',
          tags,
          summary: 'Get a transfer with its entries',
          description: 'Transfers never change; a correction is another transfer.',
          params: idParams('transfer'),
          response: { 200: TransferAnswer },
        },
      },
      async (request) => transferAnswer(await getTransfer(db, request.caller.tenantId, request.params.id)),
    );
  };

/** The public form of an account. */
export const accountAnswer = (account: Account): Static<typeof AccountAnswer> => {
  const decimal = (minor: bigint): string => formatAmount(minor, account.currency);
  const availableMinor = account.postedMinor - account.reservedMinor;
  return {
    id: account.id,
    object: 'account',
    code: account.code,
    currency: account.currency,
    non_negative: account.nonNegative,
    posted: decimal(account.postedMinor),
    posted_minor: account.postedMinor.toString(),
    pending: decimal(account.pendingMinor),
    pending_minor: account.pendingMinor.toString(),
    reserved: decimal(account.reservedMinor),
    reserved_minor: account.reservedMinor.toString(),
    available: decimal(availableMinor),
    available_minor: availableMinor.toString(),
    entries: account.version.toString(),
    created_at: account.createdAt.toISOString(),
  };
};

/** An amount without its sign, and on which side it stands. */
export const sided = (minor: bigint, currency: string) => {
  const absolute = minor < 0n ? -minor : minor;
  return {
    direction: minor < 0n ? ('debit' as const) : ('credit' as const),
    amount: formatAmount(absolute, currency),
    amount_minor: absolute.toString(),
  };
};

/** The public form of an entry. */
export const entryAnswer = (entry: Entry, currency: string): Static<typeof EntryAnswer> => ({
  sequence: entry.version.toString(),
  transfer_id: entry.transferId,
  kind: entry.kind,
  object_id: entry.object,
  ...sided(entry.amountMinor, currency),
  balance: formatAmount(entry.balanceMinor, currency),
  balance_minor: entry.balanceMinor.toString(),
  created_at: entry.createdAt.toISOString(),
});

const transferAnswer = (transfer: StoredTransfer): Static<typeof TransferAnswer> => ({
  id: transfer.id,
  object: 'transfer',
  kind: transfer.kind,
  object_id: transfer.object,
  entries: transfer.entries.map(({ accountId, code, currency, amountMinor }) => ({
    account_id: accountId,
    account_code: code,
    currency,
    ...sided(amountMinor, currency),
  })),
  created_at: transfer.createdAt.toISOString(),
});
