import { sql } from 'kysely';
import { canonicalJson, type Json, type JsonObject } from '../lib/canonical.ts';
import type { Mode } from '../lib/caller.ts';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';
import { fromUuid } from '../lib/ids.ts';
import { paymentSnapshot, refundSnapshot } from './payment.ts';
import { paymentOf, refundOf, type PaymentRow, type RefundRow } from './store.ts';

/** How many rows are read at once. */
const pageSize = 1_000;

/** Holds every column of payments and refunds against the snapshot of the journal entry of their version. */
export const rowsMatchSnapshots = async (db: Db): Promise<Finding[]> => [
  await rowsMatch('payments', (after) => readPayments(db, after)),
  await rowsMatch('refunds', (after) => readRefunds(db, after)),
];

/** The primary key that a page comes after. */
type Key = { tenant_id: number; payment_id?: string; id: string };

/** A row, what its journal entry shows, and what it shows now. */
type Shown = { key: Key; name: string; snapshot: JsonObject | null; show(): JsonObject };

const rowsMatch = async (
  table: 'payments' | 'refunds',
  read: (after: Key) => Promise<Shown[]>,
): Promise<Finding> => {
  const check = `${table} are in every column what the journal shows of them`;
  let looked = 0;
  let after: Key = { tenant_id: -1, id: '00000000-0000-0000-0000-000000000000' };
  for (;;) {
    const page = await read(after);
    for (const row of page) {
      const difference = differenceIn(row);
      if (difference) return { check, looked, difference: `${row.name}: ${difference}` };
      looked += 1;
    }
    const last = page.at(-1);
    if (!last || page.length < pageSize) return { check, looked, difference: undefined };
    after = last.key;
  }
};

const readPayments = async (db: Db, after: Key): Promise<Shown[]> => {
  const { rows } = await sql<PaymentRow & { snapshot: JsonObject | null }>`
    select t.*, e.snapshot
    from payments.payments t
    left join journal.entries e on e.object_id = t.id and e.object_version = t.version
    where (t.tenant_id, t.id) > (${after.tenant_id}, ${after.id}::uuid)
    order by t.tenant_id, t.id limit ${pageSize}
  `.execute(db);
  return rows.map((row) => ({
    key: row,
    name: fromUuid('payment', row.id),
    snapshot: row.snapshot,
    show: () => paymentSnapshot(paymentOf(row)),
  }));
};

const readRefunds = async (db: Db, after: Key): Promise<Shown[]> => {
  const { rows } = await sql<RefundRow & { mode: Mode; currency: string; snapshot: JsonObject | null }>`
    select t.*, p.mode, p.currency, e.snapshot
    from payments.refunds t
    left join payments.payments p on p.tenant_id = t.tenant_id and p.id = t.payment_id
    left join journal.entries e on e.object_id = t.id and e.object_version = t.version
    where (t.tenant_id, t.payment_id, t.id) > (${after.tenant_id}, ${after.payment_id ?? after.id}::uuid, ${after.id}::uuid)
    order by t.tenant_id, t.payment_id, t.id limit ${pageSize}
  `.execute(db);
  return rows.map((row) => ({
    key: row,
    name: fromUuid('refund', row.id),
    snapshot: row.snapshot,
    show: () => refundSnapshot(row, refundOf(row)),
  }));
};

/** Members that the snapshot has not, because the release that made it did not, are left out. */
const differenceIn = ({ snapshot, show }: Shown): string | undefined => {
  // A version without an entry is found by the comparison of versions.
  if (snapshot === null) return undefined;
  try {
    const shown = show();
    const [name, value] =
      Object.entries(snapshot).find(([each, was]) => text(shown[each]) !== text(was)) ?? [];
    return name && `${name} is ${text(shown[name])}, its journal says ${text(value)}`;
  } catch (error) {
    // What no writer makes, such as an unknown currency, can't be shown.
    return error instanceof Error ? error.message : String(error);
  }
};

const text = (value: Json | undefined): string => (value === undefined ? 'missing' : canonicalJson(value));

/** Holds point to their payment or refund and back. */
export const holdsMatch = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every hold is that of its payment or refund',
    sql`ledger.holds`,
    sql`
      with owned as (
        select 'payment' as kind, p.id, p.hold_id, p.tenant_id, p.amount, 'external:' || p.connector as debit,
               'payable' as credit, p.state in ('requires_capture', 'processing', 'unknown') as is_open
        from payments.payments p where p.hold_id is not null
        union all
        select 'refund', r.id, r.hold_id, r.tenant_id, r.amount - r.fee_returned, 'payable', 'external:' || p.connector,
               r.state in ('processing', 'unknown')
        from payments.refunds r join payments.payments p on p.tenant_id = r.tenant_id and p.id = r.payment_id
        where r.hold_id is not null
      )
      select 'hold' as kind, coalesce(o.hold_id, h.id) as id,
             case when o.id is null then 'no payment or refund has it'
                  when h.id is null then 'it is missing'
                  when o.is_open <> (e.hold_id is null) then 'it has ended, or not, other than its ' || o.kind
                  else 'it is not what its ' || o.kind || ' holds' end as found
      from owned o
      full join ledger.holds h on h.id = o.hold_id
      left join ledger.hold_endings e on e.hold_id = h.id
      left join ledger.accounts d on d.id = h.debit_account_id
      left join ledger.accounts c on c.id = h.credit_account_id
      where o.id is null or h.id is null or h.object_id <> o.id or h.tenant_id <> o.tenant_id or h.amount <> o.amount
         or o.is_open <> (e.hold_id is null) or d.code is distinct from o.debit or c.code is distinct from o.credit
         or not exists (select from journal.entries e where e.object_id = h.object_id and e.timestamp = h.created_at)
    `,
  );

/** Calls to backends, settled or not, are what their payments and refunds say. */
export const operationsMatch = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'calls to payment backends agree with their payments and refunds',
    sql`payments.operations`,
    sql`
      select 'operation' as kind, o.id, o.kind || ' of ' || o.amount || ' is ' || o.state || ', the payment is '
             || coalesce(p.state, 'missing') || coalesce(', the refund ' || r.state, '') as found
      from payments.operations o
      left join payments.payments p on p.tenant_id = o.tenant_id and p.id = o.payment_id
      left join payments.refunds r on r.tenant_id = o.tenant_id and r.payment_id = o.payment_id and r.id = o.refund_id
      where p.id is null or o.connector <> p.connector or (o.kind = 'refund') <> (o.refund_id is not null)
         or o.state not in ('open', 'unknown', 'approved', 'declined')
         or case o.kind
              when 'refund' then r.id is null or o.amount <> r.amount or o.fee <> 0 or o.capture
                or (o.state = 'approved') <> (r.state = 'succeeded') or (o.state = 'declined') <> (r.state = 'failed')
              when 'authorise' then o.amount <> p.amount
                or (o.state = 'approved') <> (p.hold_id is not null or p.captured > 0)
                or (o.state = 'declined') <> (p.state = 'failed')
                or (o.state = 'approved' and o.capture = (p.hold_id is not null))
                or (o.state = 'approved' and o.capture and (p.captured <> o.amount or p.fee <> o.fee))
              when 'capture' then o.amount > p.amount or o.capture
                or (o.state = 'approved' and (p.captured <> o.amount or p.fee <> o.fee))
              when 'cancel' then o.capture or (o.state = 'approved' and p.state <> 'canceled')
              else true
            end
         or (o.kind <> 'refund' and o.state in ('open', 'unknown') and p.state not in ('processing', 'unknown'))
    `,
  );

/** What came of a payment by way of a backend, one of its calls brought about. */
export const outcomesHaveOperations = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'what payments came to by way of a backend, a call brought about',
    sql`payments.payments`,
    sql`
      select 'payment' as kind, p.id, p.state || ', which none of its calls says' as found
      from payments.payments p
      join (
        select tenant_id, payment_id as id,
               count(*) filter (where state = 'approved' and (kind = 'capture' or (kind = 'authorise' and capture))) as captures,
               count(*) filter (where state = 'approved' and kind = 'cancel') as cancels, min(connector), max(connector),
               count(*) filter (where state in ('open', 'unknown') and kind <> 'refund') as waiting
        from payments.operations group by 1, 2
      ) o using (tenant_id, id)
      where o.min <> p.connector or o.max <> p.connector
         or o.captures <> case when p.captured > 0 then 1 else 0 end
         or o.cancels <> case when p.state = 'canceled' then 1 else 0 end
         or o.waiting <> case when p.state in ('processing', 'unknown') then 1 else 0 end
    `,
  );

/** Each call is claimed with an entry that says so. */
export const operationsAreJournaled = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every call to a payment backend that the journal tells of is there, and no other',
    sql`payments.operations`,
    sql`
      with claimed as (
        select object_type as kind, object_id as id, count(*) as claims from journal.entries
        where kind in ('payment.processing', 'refund.processing') and object_version is not null
        group by 1, 2
      ), stored as (
        select case when refund_id is null then 'payment' else 'refund' end as kind, coalesce(refund_id, payment_id) as id,
               count(*) as calls
        from payments.operations group by 1, 2
      )
      select kind, id, coalesce(s.calls, 0) || ' calls to its backend, its journal tells of ' || coalesce(c.claims, 0) as found
      from stored s full join claimed c using (kind, id)
      where s.calls is distinct from c.claims
    `,
  );

/** Whose an account is, its currency and what it is for show in what it took part in. */
export const accountsMatch = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'accounts are of the tenant, currency and use of the payments that moved them',
    sql`ledger.accounts`,
    sql`
      select 'account' as kind, a.id, a.code || ' of tenant ' || a.tenant_id || ' in ' || a.currency
             || ' has another part in its payments' as found
      from ledger.transfers t
      join payments.payments p on p.tenant_id = t.tenant_id and p.id = t.object_id
      join ledger.entries e on e.transfer_id = t.id
      join ledger.accounts a on a.id = e.account_id
      where t.kind in ('payment', 'capture')
        and not (a.tenant_id = p.tenant_id and a.currency = p.currency
                 and case a.code when 'payable' then e.amount = p.captured - p.fee
                                 when 'fees' then e.amount = p.fee
                                 when 'external:' || p.connector then e.amount = -p.captured
                                 else false end)
    `,
  );
