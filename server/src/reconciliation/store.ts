import { sql, type RawBuilder } from 'kysely';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import type { Against, BreakType } from './schema.ts';
import { resultOf, type Period, type Result, type ResultRow } from './stage.ts';

type RunId = Id<'reconciliation'>;

/** A comparison of one statement with the books. */
export type Run = {
  id: RunId;
  tenantId: number;
  version: number;
  connector: string;
  period: Period;
  digest: Buffer;
  lines: number;
  matched: number;
  breaks: number;
  types: Readonly<Partial<Record<BreakType, number>>>;
  corrected: number;
  createdAt: Date;
  updatedAt: Date;
};

type RunRow = {
  tenant_id: number;
  id: string;
  version: number;
  connector: string;
  period_from: Date;
  period_until: Date;
  digest: Buffer;
  lines: number;
  matched: number;
  breaks: number;
  types: Partial<Record<BreakType, number>>;
  corrected: number;
  created_at: Date;
  updated_at: Date;
};

/** What was done about a break. */
export type Correction = {
  transferId: Id<'transfer'>;
  against: Against;
  reason: string;
  actor: string;
  createdAt: Date;
};

export type Break = Result & {
  type: BreakType;
  runId: RunId;
  number: number;
  /** Names what differs, the same in every run: it is corrected once. */
  fact: string;
  correction: Correction | null;
};

type BreakRow = ResultRow & {
  type: BreakType;
  run_id: string;
  number: number;
  fact: string;
  transfer_id: string | null;
  against: Against | null;
  reason: string | null;
  actor: string | null;
  corrected_at: Date | null;
};

export const insertRun = async (tx: Tx, run: Run): Promise<void> => {
  await sql`
    insert into reconciliation.runs (tenant_id, id, version, connector, period_from, period_until, digest, lines, matched, breaks,
                                     types, corrected, created_at, updated_at)
    values (${run.tenantId}, ${toUuid(run.id)}, ${run.version}, ${run.connector}, ${run.period.from}, ${run.period.until},
            ${run.digest}, ${run.lines}, ${run.matched}, ${run.breaks}, ${JSON.stringify(run.types)}::jsonb, ${run.corrected},
            ${run.createdAt}, ${run.updatedAt})
  `.execute(tx);
};

/** @throws AppError `not_found`, also for a reconciliation of another tenant */
export const getRun = (db: Db | Tx, tenantId: number, id: RunId): Promise<Run> =>
  readRun(db, tenantId, id, sql``);

/** The same, locked: corrections of one run happen one after the other. */
export const lockRun = (tx: Tx, tenantId: number, id: RunId): Promise<Run> =>
  readRun(tx, tenantId, id, sql`for no key update`);

const readRun = async (db: Db | Tx, tenantId: number, id: RunId, lock: RawBuilder<unknown>): Promise<Run> => {
  const { rows } = await sql<RunRow>`
    select * from reconciliation.runs where tenant_id = ${tenantId} and id = ${toUuid(id)} ${lock}
  `.execute(db);
  if (!rows[0]) throw notFound('reconciliation');
  return runOf(rows[0]);
};

/** A run of whichever tenant, for the operator. @throws AppError `not_found` */
export const getAnyRun = async (db: Db, id: RunId): Promise<Run> => {
  const { rows } = await sql<RunRow>`select * from reconciliation.runs where id = ${toUuid(id)}`.execute(db);
  if (!rows[0]) throw notFound('reconciliation');
  return runOf(rows[0]);
};

/** Newest first; `after` is the id of the last one of the page before. */
export const listRuns = async (
  db: Db,
  tenantId: number,
  filter: { status?: 'agreed' | 'open' | undefined },
  page: { after: RunId | undefined; limit: number },
): Promise<Run[]> => {
  const conditions: RawBuilder<unknown>[] = [sql`tenant_id = ${tenantId}`];
  if (filter.status)
    conditions.push(filter.status === 'open' ? sql`corrected < breaks` : sql`corrected = breaks`);
  if (page.after) conditions.push(sql`id < ${toUuid(page.after)}`);
  const { rows } = await sql<RunRow>`
    select * from reconciliation.runs where ${sql.join(conditions, sql` and `)} order by id desc limit ${page.limit}
  `.execute(db);
  return rows.map(runOf);
};

/** Counts a correction. The row is locked. */
export const updateRun = async (tx: Tx, to: Run): Promise<void> => {
  await sql`
    update reconciliation.runs set version = ${to.version}, corrected = ${to.corrected}, updated_at = ${to.updatedAt}
    where tenant_id = ${to.tenantId} and id = ${toUuid(to.id)}
  `.execute(tx);
};

type BreakKey = { tenantId: number; runId: RunId; number: number };

/** @throws AppError `not_found` */
export const getBreak = async (db: Db | Tx, { tenantId, runId, number }: BreakKey): Promise<Break> => {
  const { rows } = await sql<BreakRow>`
    ${breaksWithCorrections} where b.tenant_id = ${tenantId} and b.run_id = ${toUuid(runId)} and b.number = ${number}
  `.execute(db);
  if (!rows[0]) throw notFound('break');
  return breakOf(rows[0]);
};

/** In the order of the statement; `after` is the number of the last one of the page before. */
export const listBreaks = async (
  db: Db,
  { tenantId, runId }: Omit<BreakKey, 'number'>,
  filter: { type?: BreakType | undefined },
  page: { after: number; limit: number },
): Promise<Break[]> => {
  const ofType = filter.type ? sql`and b.type = ${filter.type}` : sql``;
  const { rows } = await sql<BreakRow>`
    ${breaksWithCorrections}
    where b.tenant_id = ${tenantId} and b.run_id = ${toUuid(runId)} and b.number > ${page.after} ${ofType}
    order by b.number limit ${page.limit}
  `.execute(db);
  return rows.map(breakOf);
};

const breaksWithCorrections = sql`
  select b.*, c.transfer_id, c.against, c.reason, c.actor, c.created_at as corrected_at
  from reconciliation.breaks b left join reconciliation.corrections c using (tenant_id, run_id, number)
`;

/** Notes a correction; false when what differs was corrected already, in this run or in another one. */
export const insertCorrection = async (
  tx: Tx,
  key: BreakKey,
  { connector, fact }: { connector: string; fact: string },
  correction: Correction,
): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    insert into reconciliation.corrections (tenant_id, run_id, number, transfer_id, connector, fact, against, reason, actor,
                                            created_at)
    values (${key.tenantId}, ${toUuid(key.runId)}, ${key.number}, ${toUuid(correction.transferId)}, ${connector}, ${fact},
            ${correction.against}, ${correction.reason}, ${correction.actor}, ${correction.createdAt})
    on conflict do nothing
  `.execute(tx);
  return numAffectedRows === 1n;
};

/** The run of a row. */
export const runOf = (row: RunRow): Run => ({
  id: fromUuid('reconciliation', row.id),
  tenantId: row.tenant_id,
  version: row.version,
  connector: row.connector,
  period: { from: row.period_from, until: row.period_until },
  digest: row.digest,
  lines: row.lines,
  matched: row.matched,
  breaks: row.breaks,
  types: row.types,
  corrected: row.corrected,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

const breakOf = (row: BreakRow): Break => ({
  ...resultOf(row),
  type: row.type,
  runId: fromUuid('reconciliation', row.run_id),
  number: row.number,
  fact: row.fact,
  correction:
    row.transfer_id === null || row.against === null || row.corrected_at === null
      ? null
      : {
          transferId: fromUuid('transfer', row.transfer_id),
          against: row.against,
          reason: row.reason ?? '',
          actor: row.actor ?? '',
          createdAt: row.corrected_at,
        },
});
