import { sql, type RawBuilder } from 'kysely';
import { bigintColumn, integerColumn, textColumn, timeColumn, uuidColumn } from '../lib/columns.ts';
import type { Db, Tx } from '../lib/database.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
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
  const { numAffectedRows = 0n } = await sql`
    delete from reconciliation.lines l
    where l.run_id = ${toUuid(run)}
      and (exists (select from payments.payments p where p.id = l.payment_id and p.tenant_id <> ${tenantId})
        or exists (select from payments.operations o where o.id = l.operation_id and o.tenant_id <> ${tenantId})
        or exists (select from payments.refunds r where r.id = l.refund_id and r.tenant_id <> ${tenantId}))
  `.execute(db);
  return Number(numAffectedRows);
};

/** Finds the movement of every line. The steps build on each other, and each reads what is there at once. */
export const pairLines = async (
  db: Db,
  run: RunId,
  { tenantId, connector, period }: { tenantId: number; connector: string; period: Period },
): Promise<void> => {
  const id = toUuid(run);
  await sql`
    select reconciliation.stage_movements(${id}, ${tenantId}, ${connector}, ${period.from}, ${period.until})
  `.execute(db);
  await sql`select reconciliation.pair_by_name(${id})`.execute(db);
  for (const closeness of ['exact', 'amount', 'any'])
    await sql`select reconciliation.pair_by_payment(${id}, ${closeness})`.execute(db);
  await sql`select reconciliation.pair_again(${id})`.execute(db);
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

/** Of the lines after `after` those that match; to be asked for once the breaks are written. */
export const listMatches = async (
  db: Db,
  run: RunId,
  tenantId: number,
  page: { after: number; limit: number },
): Promise<Match[]> => {
  type Row = {
    line: number;
    kind: Match['kind'];
    reference: string;
    backend_reference: string | null;
    amount: bigint;
    currency: string;
    status: Match['status'];
  };
  const { rows } = await sql<Row>`
    select l.line, l.kind, l.reference, l.backend_reference, l.amount, l.currency, l.status
    from reconciliation.lines l
    where l.run_id = ${toUuid(run)} and l.line > ${page.after}
      and l.line not in (select b.line from reconciliation.breaks b
                         where b.tenant_id = ${tenantId} and b.run_id = ${toUuid(run)} and b.line is not null)
    order by l.line limit ${page.limit}
  `.execute(db);
  return rows.map(({ backend_reference: backendReference, amount: amountMinor, ...row }) => ({
    ...row,
    backendReference,
    amountMinor,
  }));
};

/** Removes what a comparison had set aside, and what others left behind that began before `abandonedBefore`. */
export const clearStage = async (db: Db, run: RunId, abandonedBefore: Date): Promise<void> => {
  // Ids are UUIDs of version 7, which begin with the time: this one is before all of that time.
  const first = abandonedBefore.getTime().toString(16).padStart(12, '0');
  const bound = `${first.slice(0, 8)}-${first.slice(8)}-0000-0000-000000000000`;
  for (const table of ['pairs', 'movements', 'lines'])
    await sql`
      delete from ${sql.table(`reconciliation.${table}`)} where run_id = ${toUuid(run)} or run_id < ${bound}
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
