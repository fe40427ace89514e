import { sql, type RawBuilder } from 'kysely';
import { bigintColumn, integerColumn, textColumn, timeColumn, uuidColumn } from '../lib/columns.ts';
import type { Db, Tx } from '../lib/database.ts';
import { fromUuid, leastUuidOf, toUuid, type Id } from '../lib/ids.ts';
import type { StatementLine } from './line.ts';
import type { BreakType } from './schema.ts';
import { targetOf } from './statement.ts';

/*
 * The tables that one comparison works on. Their rows are written in transactions of their own, so that no long one holds up
 * those who read the journal in order; they are removed when the comparison ends.
 */

type RunId = Id<'reconciliation'>;

/** From when, and until when (not included). */
export type Period = { from: Date; until: Date };

/** Sets lines of a statement aside for a comparison. */
export const stageLines = async (db: Db, run: RunId, lines: readonly StatementLine[]): Promise<void> => {
  const targets = lines.map(({ reference }) => targetOf(reference));
  const columns = [
    integerColumn(lines.map(({ line }) => line)),
    textColumn(lines.map(({ kind }) => kind)),
    textColumn(lines.map(({ reference }) => reference)),
    uuidColumn(targets.map(({ operation }) => operation)),
    uuidColumn(targets.map(({ payment }) => payment)),
    uuidColumn(targets.map(({ refund }) => refund)),
    textColumn(lines.map(({ backendReference }) => backendReference)),
    bigintColumn(lines.map(({ amountMinor }) => amountMinor)),
    textColumn(lines.map(({ currency }) => currency)),
    textColumn(lines.map(({ status }) => status)),
    timeColumn(lines.map(({ at }) => at)),
    // A number has no null; what is below zero is none.
    bigintColumn(lines.map(({ feeMinor }) => feeMinor ?? -1n)),
  ];
  await sql`
    insert into reconciliation.lines (run_id, line, kind, reference, operation_id, payment_id, refund_id, backend_reference,
                                      amount, currency, status, at, fee)
    select ${toUuid(run)}, l.line, l.kind, l.reference, l.operation_id, l.payment_id, l.refund_id, l.backend_reference,
           l.amount, l.currency, l.status, l.at, nullif(l.fee, -1)
    from unnest(${sql.join(columns.map((column, index) => sql`${column}::${sql.raw(lineTypes[index] ?? '')}[]`))})
         as l(line, kind, reference, operation_id, payment_id, refund_id, backend_reference, amount, currency, status, at, fee)
  `.execute(db);
};

const lineTypes = [
  'integer',
  'text',
  'text',
  'uuid',
  'uuid',
  'uuid',
  'text',
  'bigint',
  'text',
  'text',
  'timestamptz',
  'bigint',
];

/** How many lines are looked at to find out whose statement it is. */
const ownersLinesMax = 1_000;

/** Whose payments a statement names, and at which backend. Without a tenant those of all, for the operator. */
export const listOwners = async (
  db: Db,
  run: RunId,
  tenantId: number | undefined,
): Promise<{ tenantId: number; connector: string }[]> => {
  const { rows } = await sql<{ tenant_id: number; connector: string }>`
    select tenant_id, connector from reconciliation.owners_of(${toUuid(run)}, ${tenantId}, ${ownersLinesMax})
    order by 1, 2 limit 10
  `.execute(db);
  return rows.map(({ tenant_id, connector }) => ({ tenantId: tenant_id, connector }));
};

/**
 * Leaves out the lines that name payments of other tenants, for an operator whose statement is of all of them. Gives how
 * many they were. Never for a vendor: it would learn whose an id is.
 */
export const leaveOutOthers = async (db: Db, run: RunId, tenantId: number): Promise<number> => {
  const { rows } = await sql<{ count: number }>`
    select reconciliation.leave_out_others(${toUuid(run)}, ${tenantId}) as count
  `.execute(db);
  return rows[0]?.count ?? 0;
};

type Compared = { tenantId: number; connector: string; period: Period };

/** The statements that find the movement of every line. They build on each other, and each reads what is there at once. */
export const pairingSteps: readonly ((id: string, compared: Compared) => RawBuilder<unknown>)[] = [
  (id, { tenantId, connector, period: { from, until } }) =>
    sql`select reconciliation.stage_movements(${id}, ${tenantId}, ${connector}, ${from}, ${until})`,
  (id) => sql`select reconciliation.pair_by_name(${id})`,
  ...['exact', 'amount', 'any'].map(
    (closeness) => (id: string) => sql`select reconciliation.pair_by_payment(${id}, ${closeness})`,
  ),
  (id) => sql`select reconciliation.pair_again(${id})`,
];

/** Finds the movement of every line. @param onStep is told the number of each step before it is taken */
export const pairLines = async (
  db: Db,
  run: RunId,
  compared: Compared,
  onStep: (step: number) => void,
): Promise<void> => {
  for (const [index, step] of pairingSteps.entries()) {
    onStep(index + 1);
    await step(toUuid(run), compared).execute(db);
  }
};

const resultsOf = (run: RunId, tenantId: number, { from, until }: Period): RawBuilder<unknown> =>
  sql`reconciliation.results_of(${toUuid(run)}, ${tenantId}, ${from}, ${until})`;

/** Writes the breaks of a comparison, in the order of the statement, and counts what came of it. */
export const insertBreaks = async (
  tx: Tx,
  run: RunId,
  { tenantId, period }: { tenantId: number; period: Period },
): Promise<{ matched: number; types: Partial<Record<BreakType, number>> }> => {
  const { rows } = await sql<{ type: BreakType | 'matched'; count: number }>`
    with result as materialized (
      select * from ${resultsOf(run, tenantId, period)}
    ), inserted as (
      insert into reconciliation.breaks (tenant_id, run_id, number, type, kind, line, reference, backend_reference, movement_id,
                                         operation_id, payment_id, refund_id, here_status, here_amount, here_currency,
                                         here_fee, here_at, there_status, there_amount, there_currency, there_fee, there_at,
                                         told_before, fact)
      select ${tenantId}, ${toUuid(run)}, row_number() over (order by r.line nulls last, r.here_at, r.movement_id), r.type, r.kind,
             r.line, r.reference, r.backend_reference, r.movement_id, r.operation_id, r.payment_id, r.refund_id, r.here_status,
             r.here_amount, r.here_currency, r.here_fee, r.here_at, r.there_status, r.there_amount, r.there_currency,
             r.there_fee, r.there_at, r.told_before, r.fact
      from result r where r.type <> 'matched'
    )
    select type, count(*)::integer as count from result group by type
  `.execute(tx);
  const { matched = 0, ...types } = Object.fromEntries(rows.map(({ type, count }) => [type, count]));
  return { matched, types };
};

/** A line that says what the books say. */
export type Match = Pick<
  StatementLine,
  'line' | 'kind' | 'reference' | 'backendReference' | 'amountMinor' | 'currency' | 'status'
>;

/** A place among the lines of a statement, and among the breaks, which have the same order. */
export type MatchPlace = { line: number; break: number };

/**
 * Of the next `limit` lines those that match, and where to go on: nowhere after the last line. To be asked for once the
 * breaks are written. A line has one break at most, so a page looks at no more of them than of lines.
 */
export const listMatches = async (
  db: Db,
  run: RunId,
  tenantId: number,
  { after, limit }: { after: MatchPlace; limit: number },
): Promise<{ matches: Match[]; next: MatchPlace | undefined }> => {
  const { rows } = await sql<MatchRow>`
    select l.line, l.kind, l.reference, l.backend_reference, l.amount, l.currency, l.status, b.number
    from (select * from reconciliation.lines where run_id = ${toUuid(run)} and line > ${after.line}
          order by line limit ${limit}) l
    left join (select line, number from reconciliation.breaks
               where tenant_id = ${tenantId} and run_id = ${toUuid(run)} and number > ${after.break}
               order by number limit ${limit}) b using (line)
    order by l.line
  `.execute(db);
  const matches = rows.filter(({ number }) => number === null).map(matchOf);
  const last = rows.at(-1);
  const lastBreak = rows.findLast(({ number }) => number !== null)?.number ?? after.break;
  return { matches, next: last && rows.length === limit ? { line: last.line, break: lastBreak } : undefined };
};

type MatchRow = {
  line: number;
  kind: Match['kind'];
  reference: string;
  backend_reference: string | null;
  amount: bigint;
  currency: string;
  status: Match['status'];
  /** Of the break that the line is. */
  number: number | null;
};

const matchOf = (row: MatchRow): Match => ({
  line: row.line,
  kind: row.kind,
  reference: row.reference,
  backendReference: row.backend_reference,
  amountMinor: row.amount,
  currency: row.currency,
  status: row.status,
});

/** Removes what a comparison had set aside, and what others left behind that began before `abandonedBefore`. */
export const clearStage = async (db: Db, run: RunId, abandonedBefore: Date): Promise<void> => {
  for (const table of ['pairs', 'movements', 'lines'])
    await sql`
      delete from ${sql.table(`reconciliation.${table}`)} where run_id = ${toUuid(run)} or run_id < ${leastUuidOf(abandonedBefore)}
    `.execute(db);
};

/** One side of a comparison; money in minor units. */
export type Side = {
  status: string;
  amountMinor: bigint;
  currency: string;
  feeMinor: bigint | null;
  at: Date;
};

/** A line and what is known of it here, compared; `line` and `there`, or `here`, are missing where there is nothing. */
export type Result = {
  type: BreakType | 'matched';
  kind: 'charge' | 'refund';
  line: number | null;
  reference: string | null;
  backendReference: string | null;
  operationId: Id<'operation'> | null;
  paymentId: Id<'payment'> | null;
  refundId: Id<'refund'> | null;
  here: Side | null;
  there: Side | null;
  /** A duplicate with the backend's own reference of the first: it is told twice, and did not happen twice. */
  isToldBefore: boolean;
};

/** A row of `reconciliation.results_of`. */
export type ResultRow = {
  type: BreakType | 'matched';
  kind: 'charge' | 'refund';
  line: number | null;
  reference: string | null;
  backend_reference: string | null;
  operation_id: string | null;
  payment_id: string | null;
  refund_id: string | null;
  here_status: string | null;
  here_amount: bigint | null;
  here_currency: string | null;
  here_fee: bigint | null;
  here_at: Date | null;
  there_status: string | null;
  there_amount: bigint | null;
  there_currency: string | null;
  there_fee: bigint | null;
  there_at: Date | null;
  told_before: boolean;
};

/** The result of a row. */
export const resultOf = (row: ResultRow): Result => ({
  type: row.type,
  kind: row.kind,
  line: row.line,
  reference: row.reference,
  backendReference: row.backend_reference,
  operationId: row.operation_id === null ? null : fromUuid('operation', row.operation_id),
  paymentId: row.payment_id === null ? null : fromUuid('payment', row.payment_id),
  refundId: row.refund_id === null ? null : fromUuid('refund', row.refund_id),
  here: sideOf(row.here_status, row.here_amount, row.here_currency, row.here_fee, row.here_at),
  there: sideOf(row.there_status, row.there_amount, row.there_currency, row.there_fee, row.there_at),
  isToldBefore: row.told_before,
});

const sideOf = (
  status: string | null,
  amountMinor: bigint | null,
  currency: string | null,
  feeMinor: bigint | null,
  at: Date | null,
): Side | null =>
  status === null || amountMinor === null || currency === null || at === null
    ? null
    : { status, amountMinor, currency, feeMinor, at };
