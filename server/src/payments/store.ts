import assert from 'node:assert/strict';
import { sql, type RawBuilder } from 'kysely';
import type { Mode } from '../lib/caller.ts';
import {
  bigintColumn,
  integerColumn,
  jsonColumn,
  textColumn,
  timeColumn,
  uuidColumn,
  type Column,
} from '../lib/columns.ts';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, leastUuidOf, toUuid, type Id } from '../lib/ids.ts';
import type { Payment, Refund } from './payment.ts';
import type { FailureCode, PaymentState, RefundState } from './schema.ts';

export type PaymentRow = {
  tenant_id: number;
  id: string;
  version: number;
  state: PaymentState;
  mode: Mode;
  amount: bigint;
  currency: string;
  captured: bigint;
  refunded: bigint;
  fee: bigint;
  fee_returned: bigint;
  connector: string;
  payment_method: string;
  reference: string | null;
  description: string | null;
  customer_id: string | null;
  hold_id: string | null;
  failure_code: FailureCode | null;
  metadata: Record<string, string>;
  created_at: Date;
  updated_at: Date;
};

/** @throws AppError `not_found`, also for a payment of another tenant */
export const getPayment = async (db: Db | Tx, tenantId: number, id: Id<'payment'>): Promise<Payment> =>
  readPayment(db, tenantId, id, sql``);

/** The payment, locked until the transaction ends: changes of one payment happen one after the other. */
export const lockPayment = async (tx: Tx, tenantId: number, id: Id<'payment'>): Promise<Payment> =>
  readPayment(tx, tenantId, id, sql`for no key update`);

const readPayment = async (
  db: Db | Tx,
  tenantId: number,
  id: Id<'payment'>,
  lock: RawBuilder<unknown>,
): Promise<Payment> => {
  const { rows } = await sql<PaymentRow>`
    select * from payments.payments where tenant_id = ${tenantId} and id = ${toUuid(id)} ${lock}
  `.execute(db);
  if (!rows[0]) throw notFound('payment');
  return paymentOf(rows[0]);
};

export type PaymentFilter = {
  status?: PaymentState | undefined;
  currency?: string | undefined;
  reference?: string | undefined;
  customerId?: Id<'customer'> | undefined;
  amountMinorMin?: bigint | undefined;
  amountMinorMax?: bigint | undefined;
  createdFrom?: Date | undefined;
  createdBefore?: Date | undefined;
};

/** Newest first; `after` is the id of the last payment of the page before. */
export const listPayments = async (
  db: Db,
  tenantId: number,
  filter: PaymentFilter,
  page: { after: Id<'payment'> | undefined; limit: number },
): Promise<Payment[]> => {
  const conditions: RawBuilder<unknown>[] = [sql`tenant_id = ${tenantId}`];
  if (page.after) conditions.push(sql`id < ${toUuid(page.after)}`);
  if (filter.status) conditions.push(sql`state = ${filter.status}`);
  if (filter.currency) conditions.push(sql`currency = ${filter.currency}`);
  if (filter.reference) conditions.push(sql`reference = ${filter.reference}`);
  if (filter.customerId) conditions.push(sql`customer_id = ${toUuid(filter.customerId)}`);
  if (filter.amountMinorMin !== undefined) conditions.push(sql`amount >= ${filter.amountMinorMin}`);
  if (filter.amountMinorMax !== undefined) conditions.push(sql`amount <= ${filter.amountMinorMax}`);
  if (filter.createdFrom) conditions.push(madeFrom(filter.createdFrom));
  if (filter.createdBefore) conditions.push(madeBefore(filter.createdBefore));
  const { rows } = await sql<PaymentRow>`
    select * from payments.payments where ${sql.join(conditions, sql` and `)} order by id desc limit ${page.limit}
  `.execute(db);
  return rows.map(paymentOf);
};

/**
 * The id of a payment bears the time it was made, so a time is a place in the primary key. Those of earlier releases differ
 * by the moment between the two, which the margin is for.
 */
const marginMs = 60_000;

const madeFrom = (time: Date): RawBuilder<unknown> =>
  sql`id >= ${leastUuidOf(new Date(time.getTime() - marginMs))}::uuid and created_at >= ${time}`;

const madeBefore = (time: Date): RawBuilder<unknown> =>
  sql`id < ${leastUuidOf(new Date(time.getTime() + marginMs))}::uuid and created_at < ${time}`;

/** The parameters of `payments.insert`. */
export const paymentColumns = (payments: readonly Payment[]): Column[] => [
  integerColumn(payments.map(({ tenantId }) => tenantId)),
  uuidColumn(payments.map(({ id }) => id)),
  integerColumn(payments.map(({ version }) => version)),
  textColumn(payments.map(({ state }) => state)),
  textColumn(payments.map(({ mode }) => mode)),
  bigintColumn(payments.map(({ amountMinor }) => amountMinor)),
  textColumn(payments.map(({ currency }) => currency)),
  bigintColumn(payments.map(({ capturedMinor }) => capturedMinor)),
  bigintColumn(payments.map(({ feeMinor }) => feeMinor)),
  textColumn(payments.map(({ connector }) => connector)),
  textColumn(payments.map(({ paymentMethod }) => paymentMethod)),
  textColumn(payments.map(({ reference }) => reference)),
  textColumn(payments.map(({ description }) => description)),
  uuidColumn(payments.map(({ customerId }) => customerId)),
  uuidColumn(payments.map(({ holdId }) => holdId)),
  textColumn(payments.map(({ failureCode }) => failureCode)),
  jsonColumn(payments.map(({ metadata }) => JSON.stringify(metadata))),
  timeColumn(payments.map(({ createdAt }) => createdAt)),
  timeColumn(payments.map(({ updatedAt }) => updatedAt)),
];

export const insertPayment = async (tx: Tx, payment: Payment): Promise<void> => {
  await sql`select payments.insert(${sql.join(paymentColumns([payment]))})`.execute(tx);
};

/** Writes a payment that was `from` and is one version on. The row is locked, so a miss is a bug. */
export const updatePayment = async (tx: Tx, from: Payment, to: Payment): Promise<void> => {
  const { numAffectedRows } = await sql`
    update payments.payments
    set version = ${to.version}, state = ${to.state}, captured = ${to.capturedMinor}, refunded = ${to.refundedMinor},
        fee = ${to.feeMinor}, fee_returned = ${to.feeReturnedMinor}, hold_id = ${to.holdId && toUuid(to.holdId)},
        failure_code = ${to.failureCode}, updated_at = ${to.updatedAt}
    where tenant_id = ${to.tenantId} and id = ${toUuid(to.id)} and version = ${from.version} and state = ${from.state}
  `.execute(tx);
  assert.equal(numAffectedRows, 1n, `payment ${to.id} changed while it was locked`);
};

export type RefundRow = {
  tenant_id: number;
  payment_id: string;
  id: string;
  version: number;
  state: RefundState;
  amount: bigint;
  fee_returned: bigint;
  hold_id: string | null;
  reason: string | null;
  failure_code: FailureCode | null;
  created_at: Date;
  updated_at: Date;
};

/** @throws AppError `not_found` */
export const getRefund = async (
  db: Db | Tx,
  key: { tenantId: number; paymentId: Id<'payment'>; id: Id<'refund'> },
): Promise<Refund> => {
  const { rows } = await sql<RefundRow>`
    select * from payments.refunds
    where tenant_id = ${key.tenantId} and payment_id = ${toUuid(key.paymentId)} and id = ${toUuid(key.id)}
  `.execute(db);
  if (!rows[0]) throw notFound('refund');
  return refundOf(rows[0]);
};

/** Refunds of a payment, newest first; `after` is the id of the last one of the page before. */
export const listRefunds = async (
  db: Db | Tx,
  key: { tenantId: number; paymentId: Id<'payment'> },
  page: { after: Id<'refund'> | undefined; limit: number },
): Promise<Refund[]> => {
  const { rows } = await sql<RefundRow>`
    select * from payments.refunds
    where tenant_id = ${key.tenantId} and payment_id = ${toUuid(key.paymentId)}
      and (${page.after === undefined} or id < ${page.after ? toUuid(page.after) : null}::uuid)
    order by id desc limit ${page.limit}
  `.execute(db);
  return rows.map(refundOf);
};

/** What refunds of a payment that are still at their backend will take if they succeed. */
export const sumOpenRefunds = async (
  tx: Tx,
  payment: Payment,
): Promise<{ amountMinor: bigint; feeReturnedMinor: bigint }> => {
  const { rows } = await sql<{ amount: bigint; fee: bigint }>`
    select coalesce(sum(amount), 0)::bigint as amount, coalesce(sum(fee_returned), 0)::bigint as fee
    from payments.refunds
    where tenant_id = ${payment.tenantId} and payment_id = ${toUuid(payment.id)} and state in ('processing', 'unknown')
  `.execute(tx);
  return { amountMinor: rows[0]?.amount ?? 0n, feeReturnedMinor: rows[0]?.fee ?? 0n };
};

export const insertRefund = async (tx: Tx, refund: Refund): Promise<void> => {
  await sql`
    insert into payments.refunds (tenant_id, payment_id, id, version, state, amount, fee_returned, hold_id, reason,
                                  failure_code, created_at, updated_at)
    values (${refund.tenantId}, ${toUuid(refund.paymentId)}, ${toUuid(refund.id)}, ${refund.version}, ${refund.state},
            ${refund.amountMinor}, ${refund.feeReturnedMinor}, ${refund.holdId && toUuid(refund.holdId)},
            ${refund.reason}, ${refund.failureCode}, ${refund.createdAt}, ${refund.updatedAt})
  `.execute(tx);
};

/** Writes a refund one version on; only what waits for its backend changes. */
export const updateRefund = async (tx: Tx, to: Refund): Promise<void> => {
  const { numAffectedRows } = await sql`
    update payments.refunds
    set version = ${to.version}, state = ${to.state}, failure_code = ${to.failureCode}, updated_at = ${to.updatedAt}
    where tenant_id = ${to.tenantId} and payment_id = ${toUuid(to.paymentId)} and id = ${toUuid(to.id)}
      and version = ${to.version - 1} and state in ('processing', 'unknown')
  `.execute(tx);
  assert.equal(numAffectedRows, 1n, `refund ${to.id} changed while its payment was locked`);
};

/** The payment of a row. */
export const paymentOf = (row: PaymentRow): Payment => ({
  id: fromUuid('payment', row.id),
  tenantId: row.tenant_id,
  version: row.version,
  state: row.state,
  mode: row.mode,
  amountMinor: row.amount,
  currency: row.currency,
  capturedMinor: row.captured,
  refundedMinor: row.refunded,
  feeMinor: row.fee,
  feeReturnedMinor: row.fee_returned,
  connector: row.connector,
  paymentMethod: row.payment_method,
  reference: row.reference,
  description: row.description,
  customerId: row.customer_id === null ? null : fromUuid('customer', row.customer_id),
  holdId: row.hold_id === null ? null : fromUuid('hold', row.hold_id),
  failureCode: row.failure_code,
  metadata: row.metadata,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

/** The refund of a row. */
export const refundOf = (row: RefundRow): Refund => ({
  id: fromUuid('refund', row.id),
  tenantId: row.tenant_id,
  paymentId: fromUuid('payment', row.payment_id),
  version: row.version,
  state: row.state,
  amountMinor: row.amount,
  feeReturnedMinor: row.fee_returned,
  holdId: row.hold_id === null ? null : fromUuid('hold', row.hold_id),
  reason: row.reason,
  failureCode: row.failure_code,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
