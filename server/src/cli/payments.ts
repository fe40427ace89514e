import { userInfo } from 'node:os';
import { Option, type Command } from 'commander';
import { createAccounts } from '../ledger/ledger.ts';
import { systemClock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { openDatabase, type ConnectionOptions, type Db } from '../lib/database.ts';
import { isId, type Id } from '../lib/ids.ts';
import { createLog, flushLog, moduleLog } from '../lib/log.ts';
import { formatAmount } from '../lib/money.ts';
import { settleByHand } from '../payments/by-hand.ts';
import { listNoted, type NotedOperation, type OperationState } from '../payments/operation-store.ts';
import { failureCodes, SettlementByHand } from '../payments/schema.ts';
import { checked, given, print, printJson } from './context.ts';
import { askSapi } from './sapi.ts';
import { textTable } from './table.ts';
import { findTarget } from './target.ts';

/** `florin payments unresolved | settle` */
export const register = (program: Command): void => {
  const payments = program.command('payments').description('payments that need a person');
  payments
    .command('unresolved')
    .description('list calls to payment backends whose end is not known, or that contradict our books')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  florin payments unresolved')
    .action(unresolved);
  payments
    .command('settle')
    .description('settle by hand what a payment backend never tells, as you found it there')
    .argument('<operation>', 'our reference at the backend, op_…; florin payments unresolved lists them')
    .addOption(new Option('--approved', 'the backend did it').conflicts('declined'))
    .option('--declined', 'the backend did not do it, and never will')
    .requiredOption('--reason <text>', 'how you know; it is kept in the journal')
    .option('--backend-reference <text>', 'the name that it has at the backend; with --approved')
    .addOption(
      new Option('--failure-code <code>', 'why it was declined')
        .choices(failureCodes)
        .default('backend_error')
        .conflicts('approved'),
    )
    .option('--local', 'write it directly: where Florin is one process, there is no sapi to ask')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nIt moves the money like an answer of the backend. What is settled already stays as it is.\n\nExamples:\n' +
        '  florin payments settle op_01h455vb4pex5vsknk084sn02q --approved --reason "Their statement of 22 Nov has it"\n' +
        '  florin payments settle op_01h455vb4pex5vsknk084sn02q --declined --reason "Ticket 4711: never arrived"',
    )
    .action(settle);
};

/** More than a person reads. */
const unresolvedMax = 1_000;

const unresolved = async ({ json }: { json?: true }): Promise<void> => {
  const { connections } = await findTarget();
  await using database = openDatabase({
    connection: connections.service,
    poolMax: 1,
    applicationName: 'florin-cli',
  });
  const operations = await listNoted(database.db, systemClock.now(), unresolvedMax);
  const rows = operations.map(rowOf);
  if (json) return printJson(rows);
  if (rows.length === 0) return print('Nothing is unresolved, and no backend contradicts the books.');
  const columns = [
    'operation',
    'payment',
    'connector',
    'kind',
    'amount',
    'state',
    'asks',
    'contradicted',
    'since',
  ] as const;
  print(
    textTable(
      columns,
      rows.map((row) => columns.map((column) => String(row[column]))),
      new Set([4, 6]),
    ),
  );
};

const rowOf = (operation: NotedOperation) => ({
  operation: operation.id,
  payment: operation.paymentId,
  tenant: operation.tenantId,
  connector: operation.connector,
  kind: operation.kind,
  amount: `${formatAmount(operation.amountMinor, operation.currency)} ${operation.currency}`,
  state: operation.state,
  asks: operation.asks,
  contradicted: operation.mismatches.join(', '),
  since: operation.createdAt.toISOString(),
});

type SettleOptions = {
  approved?: true;
  declined?: true;
  reason: string;
  backendReference?: string;
  failureCode: string;
  local?: true;
  json?: true;
};

const settle = async (operation: string, options: SettleOptions): Promise<void> => {
  if (!isId('operation', operation))
    throw new Error(
      `"${operation}" is not the id of an operation: op_… (florin payments unresolved lists them)`,
    );
  const { approved, declined, reason, backendReference, failureCode, json } = options;
  if (!approved && !declined) throw new Error('Say what happened: --approved or --declined.');
  if (declined && backendReference !== undefined)
    throw new Error('--backend-reference goes with --approved.');
  const result = approved
    ? { outcome: 'approved', ...given({ backendReference }) }
    : { outcome: 'declined', failureCode };
  const decision = checked(SettlementByHand, { by: userInfo().username, reason, result });
  const { loaded, connections, embedded } = await findTarget();
  const { config } = loaded;
  const state =
    options.local || embedded
      ? await settleHere(config, connections.service, operation, decision)
      : await settleAtSapi(config, operation, decision);
  if (json) return printJson({ operation, state });
  print(`${operation} is ${state}.`);
};

const settleAtSapi = async (
  config: Config,
  id: Id<'operation'>,
  body: SettlementByHand,
): Promise<OperationState> => {
  const asked = { path: `/operations/${id}/settle-by-hand`, body, what: 'settle it' };
  return (await askSapi<{ state: OperationState }>(config, asked)).state;
};

/** As the process of sapi would, by the same code and under the same locks. */
const settleHere = async (
  config: Config,
  connection: ConnectionOptions,
  id: Id<'operation'>,
  { by, reason, result }: SettlementByHand,
): Promise<OperationState> => {
  await using database = openDatabase({ connection, poolMax: 2, applicationName: 'florin-cli' });
  const db: Db = database.db;
  const log = createLog(config, { service: 'cli', clock: systemClock });
  const module = {
    db,
    clock: systemClock,
    log: moduleLog(log, 'payments'),
    accounts: createAccounts(),
    // Metrics are of services, not of commands.
    countError: () => undefined,
  };
  const state = await settleByHand(module, id, { actor: `cli:${by}`, requestId: undefined, result, reason });
  await flushLog(log);
  return state;
};
