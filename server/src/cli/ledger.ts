import { Option, type Command } from 'commander';
import { accountAnswer, entryAnswer } from '../ledger/routes.ts';
import { getAnyAccount, listAccounts, listEntries, type Account, type Entry } from '../ledger/store.ts';
import { openDatabase, type Db } from '../lib/database.ts';
import { isId } from '../lib/ids.ts';
import { csv } from './csv.ts';
import { textTable } from './table.ts';
import { findTarget } from './target.ts';
import { registerVerify } from './verify.ts';

type Format = 'table' | 'csv' | 'json';

/** `florin ledger verify | balances | statement` */
export const register = (program: Command): void => {
  const ledger = program.command('ledger').description('read and check the books');
  registerVerify(ledger, 'ledger');
  ledger
    .command('balances')
    .description('list the accounts with their balances')
    .option('--tenant <number>', 'only of this tenant', Number)
    .option('--currency <code>', 'only in this currency')
    .addOption(formatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  florin ledger balances --currency USD\n  florin ledger balances --format csv > balances.csv',
    )
    .action((options: BalanceOptions) => withDatabase((db) => balances(db, options)));
  ledger
    .command('statement')
    .description('list the entries of an account with the running balance, the oldest first')
    .argument('<account>', 'id of the account, acct_…')
    .addOption(formatOption())
    .addHelpText(
      'after',
      '\nExample:\n  florin ledger statement acct_01h455vb4pex5vsknk084sn02q --format csv',
    )
    .action((account: string, options: { format: Format }) =>
      withDatabase((db) => statement(db, account, options.format)),
    );
};

const formatOption = (): Option =>
  new Option('--format <format>', 'how to print').choices(['table', 'csv', 'json']).default('table');

const withDatabase = async (run: (db: Db) => Promise<void>): Promise<void> => {
  const { connections } = await findTarget();
  // Checking everything may take longer than a request may.
  const connection = { ...connections.service, statementTimeoutMs: undefined };
  await using database = openDatabase({ connection, poolMax: 1, applicationName: 'florin-ledger' });
  await run(database.db);
};

const print = (text: string): void => void process.stdout.write(`${text}\n`);

type BalanceOptions = { tenant?: number; currency?: string; format: Format };

/** How many rows are read at once. */
const pageSize = 1_000;

const balances = async (db: Db, { tenant, currency, format }: BalanceOptions): Promise<void> => {
  const rows = await readAll<Account>((last) =>
    listAccounts(db, { tenantId: tenant, currency }, { after: last?.id, limit: pageSize }),
  );
  const answers = rows.map((row) => ({ tenant: row.tenantId, ...accountAnswer(row) }));
  if (format === 'json') return print(JSON.stringify(answers, undefined, 2));
  const columns = [
    'tenant',
    'id',
    'code',
    'currency',
    'posted',
    'pending',
    'reserved',
    'available',
    'entries',
  ] as const;
  const cells = answers.map((answer) => columns.map((column) => String(answer[column])));
  print(format === 'csv' ? csv(columns, cells) : textTable(columns, cells, new Set([0, 4, 5, 6, 7, 8])));
};

const statement = async (db: Db, id: string, format: Format): Promise<void> => {
  if (!isId('account', id))
    throw new Error(`"${id}" is not the id of an account: acct_… (florin ledger balances lists them)`);
  const account = await getAnyAccount(db, id);
  const newestFirst = await readAll<Entry>((last) =>
    listEntries(db, id, { before: last?.version, limit: pageSize }),
  );
  const entries = newestFirst.toReversed().map((entry) => entryAnswer(entry, account.currency));
  if (format === 'json')
    return print(JSON.stringify({ account: accountAnswer(account), entries }, undefined, 2));
  const columns = ['sequence', 'created_at', 'kind', 'object_id', 'direction', 'amount', 'balance'] as const;
  const cells = entries.map((entry) => columns.map((column) => entry[column]));
  print(format === 'csv' ? csv(columns, cells) : textTable(columns, cells, new Set([0, 5, 6])));
};

/** Every row of a list, page by page. */
const readAll = async <Row>(read: (last: Row | undefined) => Promise<Row[]>): Promise<Row[]> => {
  const all: Row[] = [];
  for (;;) {
    const page = await read(all.at(-1));
    all.push(...page);
    if (page.length < pageSize) return all;
  }
};
