import type { GivenAnswer } from '../journal/idempotency.ts';
import { createAccounts } from '../ledger/ledger.ts';
import type { Db } from '../lib/database.ts';
import type { Id } from '../lib/ids.ts';
import { contextFor, testNow } from '../payments/testing.ts';
import { compareStatement, withStatement, type Wanted } from './compare.ts';
import { correct } from './correct.ts';
import type { Reconciliation, ReconciliationBreak } from './schema.ts';
import { breakSnapshot } from './answers.ts';
import { columns, type ColumnName } from './line.ts';
import { getRun, listBreaks } from './store.ts';

/** A line of a statement as it is written; what is left out has the value of a plain charge. */
export type Written = Pick<Record<ColumnName, string>, 'reference' | 'amount'> &
  Partial<Record<ColumnName, string>>;

const plainLine = {
  backend_reference: '',
  kind: 'charge',
  currency: 'USD',
  status: 'succeeded',
  date: testNow,
  fee: '',
};

/** A statement in CSV. */
export const statementCsv = (lines: readonly Written[]): string =>
  [
    columns.join(','),
    ...lines.map((line) => columns.map((name) => ({ ...plainLine, ...line })[name]).join(',')),
  ].join('\n');

/** The bytes of a statement, in pieces that end wherever they do. */
export const bytesOf = async function* (text: string | Buffer, pieceBytes = 1_000): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let from = 0; from < bytes.length; from += pieceBytes) yield bytes.subarray(from, from + pieceBytes);
};

/** Compares a statement with the books of a tenant. */
export const reconcile = async (
  db: Db,
  tenantId: number,
  lines: readonly Written[] | string,
  { key, ...wanted }: Wanted & { key?: string } = {},
): Promise<{
  run: Reconciliation & { id: Id<'reconciliation'> };
  breaks: ReconciliationBreak[];
  answer: GivenAnswer;
}> => {
  const context = contextFor(tenantId);
  const text = typeof lines === 'string' ? lines : statementCsv(lines);
  const answer = await withStatement(db, context.now, { bytes: bytesOf(text), format: 'csv' }, (staged) =>
    compareStatement(db, { context, key }, staged, wanted),
  );
  const run = answer.entry.snapshot as Reconciliation; // entries of runs carry it
  return { run, breaks: await breaksOf(db, tenantId, run.id), answer };
};

/** The breaks of a run as they are now. */
export const breaksOf = async (
  db: Db,
  tenantId: number,
  id: Id<'reconciliation'>,
): Promise<ReconciliationBreak[]> => {
  const run = await getRun(db, tenantId, id);
  const rows = await listBreaks(db, { tenantId, runId: id }, {}, { after: 0, limit: 100_000 });
  return rows.map((row) => breakSnapshot(row, run));
};

const accounts = createAccounts();

/** Corrects a break of a run. */
export const correctBreak = (
  db: Db,
  tenantId: number,
  { id, number }: { id: Id<'reconciliation'>; number: number },
  body: { reason?: string; against?: 'corrections' | 'payable'; key?: string } = {},
): Promise<GivenAnswer> => {
  const { key, ...rest } = body;
  const write = { context: contextFor(tenantId), key };
  return correct({ db, accounts }, write, { id, number }, { reason: 'The backend says so', ...rest });
};
