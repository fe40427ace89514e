import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';

/** Compares payments and refunds with the ledger and with their journal. */
export const verifyPayments = async (db: Db): Promise<Finding[]> => [
  await paymentsMatchLedger(db),
  await refundsMatchLedger(db),
  await refundsAddUp(db),
  await paymentsMatchJournal(db),
];

/** What a payment's transfers moved: out of the world, and into fees. */
const paymentsMatchLedger = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'captured amounts and fees of payments equal their transfers',
    sql`payments.payments`,
    sql`
      select 'payment' as kind, p.id,
             'captured ' || p.captured || ' with fee ' || p.fee || ', its transfers make ' || coalesce(m.captured, 0)
             || ' with fee ' || coalesce(m.fee, 0) as found
      from payments.payments p
      full join (
        select t.object_id as id,
               -sum(e.amount) filter (where a.code like 'external:%') as captured,
               coalesce(sum(e.amount) filter (where a.code = 'fees'), 0) as fee
        from ledger.transfers t
        join ledger.entries e on e.transfer_id = t.id
        join ledger.accounts a on a.id = e.account_id
        where t.kind in ('payment', 'capture')
        group by t.object_id
      ) m using (id)
      where p.captured is distinct from coalesce(m.captured, 0) or p.fee is distinct from coalesce(m.fee, 0)
    `,
  );

const refundsMatchLedger = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'succeeded refunds equal their transfers',
    sql`payments.refunds`,
    sql`
      select 'refund' as kind, r.id,
             'refunded ' || r.amount || ' with fee ' || r.fee_returned || ', its transfer makes '
             || coalesce(m.refunded, 0) || ' with fee ' || coalesce(m.fee, 0) as found
      from (select id, amount, fee_returned from payments.refunds where state = 'succeeded') r
      full join (
        select t.object_id as id,
               sum(e.amount) filter (where a.code like 'external:%') as refunded,
               -coalesce(sum(e.amount) filter (where a.code = 'fees'), 0) as fee
        from ledger.transfers t
        join ledger.entries e on e.transfer_id = t.id
        join ledger.accounts a on a.id = e.account_id
        where t.kind = 'refund'
        group by t.object_id
      ) m using (id)
      where r.amount is distinct from m.refunded or r.fee_returned is distinct from m.fee
    `,
  );

const refundsAddUp = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'refunded amounts of payments equal their refunds, and a state fits its amounts',
    sql`payments.payments`,
    sql`
      select 'payment' as kind, p.id,
             p.state || ' with ' || p.refunded || ' of ' || p.captured || ' refunded, its refunds make '
             || coalesce(r.refunded, 0) as found
      from payments.payments p
      left join (
        select tenant_id, payment_id as id, sum(amount) as refunded, sum(fee_returned) as fee
        from payments.refunds where state = 'succeeded' group by 1, 2
      ) r using (tenant_id, id)
      where p.refunded <> coalesce(r.refunded, 0) or p.fee_returned <> coalesce(r.fee, 0)
         or (p.state = 'refunded') <> (p.captured > 0 and p.refunded = p.captured)
         or (p.state = 'partially_refunded') <> (p.refunded > 0 and p.refunded < p.captured)
         or (p.captured > 0) <> (p.state in ('succeeded', 'partially_refunded', 'refunded'))
    `,
  );

const paymentsMatchJournal = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'payments and refunds are what their last journal entry says',
    sql`payments.payments`,
    sql`
      select 'payment' as kind, p.id,
             'version ' || p.version || ' is ' || p.state || ', its journal says '
             || coalesce(e.snapshot ->> 'status', 'nothing') as found
      from payments.payments p
      left join journal.entries e on e.object_id = p.id and e.object_version = p.version
      where e.id is null or e.tenant_id <> p.tenant_id or e.snapshot ->> 'status' <> p.state
         or e.snapshot ->> 'amount_minor' <> p.amount::text or e.snapshot ->> 'currency' <> p.currency
         or e.snapshot ->> 'amount_captured_minor' <> p.captured::text
         or e.snapshot ->> 'amount_refunded_minor' <> p.refunded::text
      union all
      select 'refund', r.id, 'version ' || r.version || ' is ' || r.state || ', its journal says '
             || coalesce(e.snapshot ->> 'status', 'nothing')
      from payments.refunds r
      left join journal.entries e on e.object_id = r.id and e.object_version = r.version
      where e.id is null or e.tenant_id <> r.tenant_id or e.snapshot ->> 'status' <> r.state
         or e.snapshot ->> 'amount_minor' <> r.amount::text
    `,
  );
