import type { Db } from '../lib/database.ts';
import type { Id } from '../lib/ids.ts';
import { formatAmount } from '../lib/money.ts';
import { breakSnapshot, runSnapshot } from '../reconciliation/answers.ts';
import type { ReconciliationBreak } from '../reconciliation/schema.ts';
import { listMatches, type Match, type MatchPlace } from '../reconciliation/stage.ts';
import { listBreaks, type Run } from '../reconciliation/store.ts';
import { print } from './context.ts';
import { csv } from './csv.ts';
import { textTable } from './table.ts';

export type Format = 'table' | 'csv' | 'json';

type What = {
  format: Format;
  /** The comparison whose matching lines are still set aside, if they are wanted. */
  matchesOf: Id<'reconciliation'> | undefined;
};

/** How many rows are read, and held in memory, at once. */
const pageSize = 1_000;

/** Prints what a comparison found: as a table for people, as CSV with a row a line, or as JSON. */
export const printReconciliation = async (db: Db, run: Run, { format, matchesOf }: What): Promise<void> => {
  const breaks = breakPages(db, run);
  const matches = matchesOf === undefined ? noPages() : matchPages(db, run, matchesOf);
  if (format === 'json') return printJson(run, breaks, matches);
  if (format === 'csv') return printCsv(breaks, matches);
  print(summaryOf(run));
  await printTables(breaks, breakColumns, (found) => breakCells(found));
  await printTables(matches, matchColumns, matchCells);
};

const summaryOf = (run: Run): string => {
  const { id, connector, period, types, digest } = run;
  const found = Object.entries(types).map(([type, count]) => `${count} ${type}`);
  return [
    `reconciliation  ${id}`,
    `statement       ${run.lines} lines, SHA-256 ${digest.toString('hex')}`,
    `compared with   ${connector}, ${period.from.toISOString()} to ${period.until.toISOString()}`,
    `matched         ${run.matched}`,
    `breaks          ${run.breaks}${found.length > 0 ? ` (${found.join(', ')})` : ''}`,
    `corrected       ${run.corrected}`,
  ].join('\n');
};

const breakColumns = ['break', 'line', 'type', 'kind', 'about', 'here', 'there', 'to do'] as const;

const breakCells = (found: ReconciliationBreak): string[] => [
  String(found.number),
  String(found.line ?? ''),
  found.type,
  found.kind,
  found.reference ?? found.operation_id ?? found.refund_id ?? found.payment_id ?? '',
  sideText(found.here),
  sideText(found.there),
  found.correction
    ? `corrected by ${found.correction.transfer_id}`
    : found.correctable
      ? 'can be corrected'
      : found.advice,
];

const sideText = (side: ReconciliationBreak['here']): string =>
  side ? `${side.amount} ${side.currency} ${side.status}${side.fee === null ? '' : `, fee ${side.fee}`}` : '';

const matchColumns = ['line', 'kind', 'reference', 'amount', 'currency', 'status'] as const;

const matchCells = (match: Match): string[] => [
  String(match.line),
  match.kind,
  match.reference,
  formatAmount(match.amountMinor, match.currency),
  match.currency,
  match.status,
];

/** A table a page: nobody reads one of a million rows, and memory has a bound. */
const printTables = async <Row>(
  pages: AsyncIterable<readonly Row[]>,
  columns: readonly string[],
  cells: (row: Row) => string[],
): Promise<void> => {
  for await (const rows of pages) print(`\n${textTable(columns, rows.map(cells))}`);
};

const csvColumns = [
  'result',
  'break',
  'line',
  'kind',
  'reference',
  'backend_reference',
  'payment_id',
  'operation_id',
  'refund_id',
  'here_status',
  'here_amount',
  'here_currency',
  'there_status',
  'there_amount',
  'there_currency',
  'correctable',
  'transfer_id',
] as const;

const printCsv = async (
  breaks: AsyncIterable<readonly ReconciliationBreak[]>,
  matches: AsyncIterable<readonly Match[]>,
): Promise<void> => {
  const print = (lines: readonly string[]): void =>
    void process.stdout.write(lines.map((line) => `${line}\r\n`).join(''));
  const [header = ''] = csv(csvColumns, []).split('\r\n');
  print([header]);
  const write = (rows: readonly (readonly string[])[]): void => {
    const [, ...lines] = csv(csvColumns, rows).split('\r\n');
    print(lines);
  };
  for await (const rows of breaks) write(rows.map(csvBreak));
  for await (const rows of matches) write(rows.map(csvMatch));
};

const csvBreak = (found: ReconciliationBreak): string[] => [
  found.type,
  String(found.number),
  String(found.line ?? ''),
  found.kind,
  found.reference ?? '',
  found.backend_reference ?? '',
  found.payment_id ?? '',
  found.operation_id ?? '',
  found.refund_id ?? '',
  ...csvSide(found.here),
  ...csvSide(found.there),
  String(found.correctable),
  found.correction?.transfer_id ?? '',
];

const csvSide = (side: ReconciliationBreak['here']): string[] => [
  side?.status ?? '',
  side?.amount ?? '',
  side?.currency ?? '',
];

const csvMatch = (match: Match): string[] => {
  const side = [match.status, formatAmount(match.amountMinor, match.currency), match.currency];
  const named = [match.kind, match.reference, match.backendReference ?? '', '', '', ''];
  return ['matched', '', String(match.line), ...named, ...side, ...side, '', ''];
};

/** Written piece by piece. */
const printJson = async (
  run: Run,
  breaks: AsyncIterable<readonly ReconciliationBreak[]>,
  matches: AsyncIterable<readonly Match[]>,
): Promise<void> => {
  const write = (text: string): void => void process.stdout.write(text);
  write(`{\n  "reconciliation": ${JSON.stringify(runSnapshot(run))},\n  "breaks": [`);
  await writeItems(breaks, write);
  write('],\n  "matches": [');
  await writeItems(mapped(matches, jsonMatch), write);
  write(']\n}\n');
};

const jsonMatch = ({ amountMinor, backendReference, ...match }: Match) => ({
  ...match,
  backend_reference: backendReference,
  amount: formatAmount(amountMinor, match.currency),
});

const writeItems = async (
  pages: AsyncIterable<readonly object[]>,
  write: (text: string) => void,
): Promise<void> => {
  let separator = '\n    ';
  for await (const items of pages)
    for (const item of items) {
      write(separator + JSON.stringify(item));
      separator = ',\n    ';
    }
};

const mapped = async function* <From, To>(
  pages: AsyncIterable<readonly From[]>,
  map: (row: From) => To,
): AsyncGenerator<To[]> {
  for await (const rows of pages) yield rows.map(map);
};

const breakPages = async function* (db: Db, run: Run): AsyncGenerator<ReconciliationBreak[]> {
  for (let after = 0; ;) {
    const key = { tenantId: run.tenantId, runId: run.id };
    const rows = await listBreaks(db, key, {}, { after, limit: pageSize });
    if (rows.length > 0) yield rows.map((row) => breakSnapshot(row, run));
    const last = rows.at(-1);
    if (!last || rows.length < pageSize) return;
    after = last.number;
  }
};

const matchPages = async function* (
  db: Db,
  { tenantId }: Run,
  id: Id<'reconciliation'>,
): AsyncGenerator<Match[]> {
  let after: MatchPlace | undefined = { line: 0, break: 0 };
  while (after) {
    const page = await listMatches(db, id, tenantId, { after, limit: pageSize });
    if (page.matches.length > 0) yield page.matches;
    after = page.next;
  }
};

const noPages = async function* (): AsyncGenerator<never[]> {};
