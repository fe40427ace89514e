import assert from 'node:assert/strict';
import { sql } from 'kysely';
import type { Mode } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import { step } from '../lib/step.ts';
import type { ConnectorResult, OperationKind } from './connectors/connector.ts';
import type { Payment } from './payment.ts';

/**
 * One call to a backend outside: claimed in a transaction, called with none open, settled in another.
 * A timeout is `unknown`, never a failure.
 */
export type Operation = OperationKey & {
  payment: Pick<Payment, 'id' | 'mode' | 'currency' | 'connector' | 'paymentMethod'>;
  /** The backend's own reference of the payment's charge or authorisation, for what follows it. */
  authorisation: string | undefined;
  refundId: Id<'refund'> | undefined;
  kind: OperationKind;
  amountMinor: bigint;
  /** Of a charge or capture, fixed when it was asked for. */
  feeMinor: bigint;
  /** Of an authorisation: charge at once. */
  capture: boolean;
  /** The request that asked for it: its name (`payments.create`) and the idempotency key whose answer waits. */
  request: { name: string; key: string | undefined };
  /** When the call has ended at the latest. */
  callUntil: Date;
};

export type OperationKey = { tenantId: number; id: Id<'operation'> };

/** `open` until the call has ended; `unknown` when it ended without an answer. */
export type OperationState = 'open' | ConnectorResult['outcome'];

type OperationRow = {
  tenant_id: number;
  id: string;
  payment_id: string;
  refund_id: string | null;
  kind: OperationKind;
  amount: bigint;
  fee: bigint;
  capture: boolean;
  state: OperationState;
  connector: string;
  request: string;
  key: string | null;
  call_until: Date;
  created_at: Date;
  asks: number;
  absent_since: Date | null;
  mode: Mode;
  currency: string;
  payment_method: string;
  authorisation: string | null;
};

/** What an operation is told about its payment; `o` is the operation, `p` the payment. */
const ofPayment = sql`
  p.mode, p.currency, p.payment_method,
  (select a.backend_reference from payments.operations a
   where a.tenant_id = o.tenant_id and a.payment_id = o.payment_id and a.kind = 'authorise' and a.state = 'approved'
     and o.kind <> 'authorise') as authorisation
`;

/** Records the intent; part of the transaction that claims. */
export const insertOperation = async (tx: Tx, operation: Operation, now: Date): Promise<void> => {
  await sql`
    insert into payments.operations (tenant_id, id, payment_id, refund_id, kind, amount, fee, capture, state, connector,
                                     request, key, call_until, created_at)
    values (${operation.tenantId}, ${toUuid(operation.id)}, ${toUuid(operation.payment.id)},
            ${operation.refundId && toUuid(operation.refundId)}, ${operation.kind}, ${operation.amountMinor},
            ${operation.feeMinor}, ${operation.capture}, 'open', ${operation.payment.connector},
            ${operation.request.name}, ${operation.request.key}, ${operation.callUntil}, ${now})
  `.execute(tx);
  step('operation.claim');
};

/** @throws AppError `not_found` */
export const getOperation = async (db: Db, { tenantId, id }: OperationKey): Promise<Operation> => {
  const { rows } = await sql<OperationRow>`
    select o.*, ${ofPayment}
    from payments.operations o
    join payments.payments p on p.tenant_id = o.tenant_id and p.id = o.payment_id
    where o.tenant_id = ${tenantId} and o.id = ${toUuid(id)}
  `.execute(db);
  if (!rows[0]) throw notFound('operation');
  return operationOf(rows[0]);
};

/** Whose operation this is and by which backend, when the backend names it; nothing when nobody ever claimed it. */
export const findOperation = async (
  db: Db,
  id: Id<'operation'>,
): Promise<(OperationKey & { connector: string }) | undefined> => {
  const { rows } = await sql<{ tenant_id: number; connector: string }>`
    select tenant_id, connector from payments.operations where id = ${toUuid(id)}
  `.execute(db);
  return rows[0] && { tenantId: rows[0].tenant_id, id, connector: rows[0].connector };
};

/** The backend's own reference of what it charged or authorised for a payment. */
export const findAuthorisation = async (
  tx: Tx,
  payment: Pick<Payment, 'tenantId' | 'id'>,
): Promise<string | undefined> => {
  const { rows } = await sql<{ backend_reference: string | null }>`
    select backend_reference from payments.operations
    where tenant_id = ${payment.tenantId} and payment_id = ${toUuid(payment.id)} and kind = 'authorise'
      and state = 'approved'
  `.execute(tx);
  return rows[0]?.backend_reference ?? undefined;
};

/** How an operation stands, and the journal entry that answered its request. Read it under the payment's lock. */
export type Standing = {
  state: OperationState;
  entryId: Id<'journal_entry'> | undefined;
  backendReference: string | undefined;
  /** The ways in which its backend has contradicted our books. */
  mismatches: readonly string[];
};

export const getStanding = async (tx: Tx, { tenantId, id }: OperationKey): Promise<Standing> => {
  const { rows } = await sql<StandingRow>`
    select state, entry_id, backend_reference, mismatches
    from payments.operations where tenant_id = ${tenantId} and id = ${toUuid(id)}
  `.execute(tx);
  assert(rows[0], `operation ${id} was never claimed`);
  const { state, entry_id: entryId, backend_reference: backendReference, mismatches } = rows[0];
  return {
    state,
    entryId: entryId === null ? undefined : fromUuid('journal_entry', entryId),
    backendReference: backendReference ?? undefined,
    mismatches,
  };
};

type StandingRow = {
  state: OperationState;
  entry_id: string | null;
  backend_reference: string | null;
  mismatches: string[];
};

/** Notes that its backend contradicted our books in this way; false when that is known already. */
export const flagMismatch = async (
  tx: Tx,
  { tenantId, id }: OperationKey,
  found: string,
  now: Date,
): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    update payments.operations set mismatches = array_append(mismatches, ${found}), mismatched_at = ${now}
    where tenant_id = ${tenantId} and id = ${toUuid(id)} and ${found} <> all (mismatches)
  `.execute(tx);
  return numAffectedRows === 1n;
};

/** Marks an operation that was `from`. Its payment is locked, so a miss is a bug. */
export const updateStanding = async (
  tx: Tx,
  { tenantId, id }: OperationKey,
  from: OperationState,
  to: { result: ConnectorResult; entryId: Id<'journal_entry'>; now: Date },
): Promise<void> => {
  const { result, entryId, now } = to;
  const backendReference = result.outcome === 'approved' ? result.backendReference : undefined;
  const { numAffectedRows } = await sql`
    update payments.operations
    set state = ${result.outcome}, backend_reference = ${backendReference}, entry_id = ${toUuid(entryId)}, settled_at = ${now}
    where tenant_id = ${tenantId} and id = ${toUuid(id)} and state = ${from}
  `.execute(tx);
  assert.equal(numAffectedRows, 1n, `operation ${id} changed while its payment was locked`);
};

/** An operation that nobody knows the outcome of, claimed by whoever asks its backend now. */
export type DueOperation = Operation & {
  state: 'open' | 'unknown';
  createdAt: Date;
  /** How often its backend was asked, this time included. */
  asks: number;
  /** Since when its backend says that it never heard of it. */
  absentSince: Date | undefined;
};

/**
 * Claims operations that are due to be asked about, the longest due first. They are the caller's until the lease ends:
 * nobody else gets them meanwhile, and whoever dies with them loses them.
 */
export const claimDue = async (
  db: Db,
  { now, leaseMs, limit }: { now: Date; leaseMs: number; limit: number },
): Promise<DueOperation[]> => {
  const leasedUntil = new Date(now.getTime() + leaseMs);
  const { rows } = await sql<OperationRow & { state: DueOperation['state'] }>`
    with due as (
      select tenant_id, id from payments.operations
      where state in ('open', 'unknown') and coalesce(next_ask_at, call_until) <= ${now}
      order by coalesce(next_ask_at, call_until)
      for no key update skip locked
      limit ${limit}
    )
    update payments.operations o
    set asks = o.asks + 1, asked_at = ${now}, next_ask_at = ${leasedUntil}
    from due, payments.payments p
    where o.tenant_id = due.tenant_id and o.id = due.id and p.tenant_id = o.tenant_id and p.id = o.payment_id
    returning o.*, ${ofPayment}
  `.execute(db);
  return rows.map((row) => ({
    ...operationOf(row),
    state: row.state,
    createdAt: row.created_at,
    asks: row.asks,
    absentSince: row.absent_since ?? undefined,
  }));
};

/** Says when to ask again; nothing when the lease has ended and somebody else has asked meanwhile. */
export const postpone = async (
  db: Db,
  { tenantId, id, asks }: DueOperation,
  { nextAskAt, absentSince }: { nextAskAt: Date; absentSince: Date | undefined },
): Promise<void> => {
  await sql`
    update payments.operations set next_ask_at = ${nextAskAt}, absent_since = ${absentSince}
    where tenant_id = ${tenantId} and id = ${toUuid(id)} and asks = ${asks} and state in ('open', 'unknown')
  `.execute(db);
};

/** One call whose end nobody knows, or whose backend contradicted our books, as an operator sees it. */
export type NotedOperation = {
  id: Id<'operation'>;
  tenantId: number;
  paymentId: Id<'payment'>;
  connector: string;
  kind: OperationKind;
  state: OperationState;
  amountMinor: bigint;
  currency: string;
  asks: number;
  mismatches: readonly string[];
  createdAt: Date;
};

/** Calls that have ended without a known outcome, or that were contradicted, of every tenant; the oldest first. */
export const listNoted = async (db: Db, now: Date, limit: number): Promise<NotedOperation[]> => {
  const { rows } = await sql<OperationRow & { mismatches: string[] }>`
    select o.*, ${ofPayment}
    from payments.operations o
    join payments.payments p on p.tenant_id = o.tenant_id and p.id = o.payment_id
    where (o.state in ('open', 'unknown') and o.call_until <= ${now}) or o.mismatches <> '{}'
    order by o.created_at
    limit ${limit}
  `.execute(db);
  return rows.map((row) => ({
    id: fromUuid('operation', row.id),
    tenantId: row.tenant_id,
    paymentId: fromUuid('payment', row.payment_id),
    connector: row.connector,
    kind: row.kind,
    state: row.state,
    amountMinor: row.amount,
    currency: row.currency,
    asks: row.asks,
    mismatches: row.mismatches,
    createdAt: row.created_at,
  }));
};

/** How many calls ended without an answer that is known by now, and how long ago the oldest began. */
export type Unresolved = { count: number; oldestAgeS: number };

export const measureUnresolved = async (db: Db, now: Date): Promise<Unresolved> => {
  const { rows } = await sql<{ count: number; oldest: Date | null }>`
    select count(*)::integer as count, min(created_at) as oldest
    from payments.operations where state in ('open', 'unknown') and call_until <= ${now}
  `.execute(db);
  const { count, oldest } = rows[0] ?? { count: 0, oldest: null };
  return { count, oldestAgeS: oldest === null ? 0 : (now.getTime() - oldest.getTime()) / 1000 };
};

const operationOf = (row: OperationRow): Operation => ({
  id: fromUuid('operation', row.id),
  tenantId: row.tenant_id,
  payment: {
    id: fromUuid('payment', row.payment_id),
    mode: row.mode,
    currency: row.currency,
    connector: row.connector,
    paymentMethod: row.payment_method,
  },
  authorisation: row.authorisation ?? undefined,
  refundId: row.refund_id === null ? undefined : fromUuid('refund', row.refund_id),
  kind: row.kind,
  amountMinor: row.amount,
  feeMinor: row.fee,
  capture: row.capture,
  request: { name: row.request, key: row.key ?? undefined },
  callUntil: row.call_until,
});
