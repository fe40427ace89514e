import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';
import {
  accountsMatch,
  holdsMatch,
  operationsAreJournaled,
  operationsMatch,
  outcomesHaveOperations,
  rowsMatchSnapshots,
} from './verify-rows.ts';

/** Compares payments, refunds, their holds and calls with the ledger and with their journal. */
export const verifyPayments = async (db: Db): Promise<Finding[]> => [
  await paymentsMatchLedger(db),
  await refundsMatchLedger(db),
  await refundsAddUp(db),
  await paymentsMatchJournal(db),
  ...(await rowsMatchSnapshots(db)),
  await accountsMatch(db),
  await holdsMatch(db),
  await operationsMatch(db),
  await outcomesHaveOperations(db),
  await operationsAreJournaled(db),
];

/** What a payment's transfers moved: out of the world, and into fees. */
const paymentsMatchLedger = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'captured amounts and fees of payments equal their transfers',
    sql`payments.payments`,
    sql`
      select 'payment' as kind, id,
             coalesce('captured ' || p.captured || ' with fee ' || p.fee, 'missing') || ', its transfers make '
             || coalesce(m.captured, 0) || ' with fee ' || coalesce(m.fee, 0) || ' and ' || coalesce(m.net, 0) || ' payable' as found
      from payments.payments p
      full join (
        select t.object_id as id,
               -sum(e.amount) filter (where a.code like 'external:%') as captured,
               coalesce(sum(e.amount) filter (where a.code = 'fees'), 0) as fee,
               coalesce(sum(e.amount) filter (where a.code = 'payable'), 0) as net
        from ledger.transfers t
        join ledger.entries e on e.transfer_id = t.id
        join ledger.accounts a on a.id = e.account_id
        where t.kind in ('payment', 'capture')
        group by t.object_id
      ) m using (id)
      where p.captured is distinct from coalesce(m.captured, 0) or p.fee is distinct from coalesce(m.fee, 0)
         or p.captured - p.fee is distinct from coalesce(m.net, 0)
    `,
  );

const refundsMatchLedger = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'succeeded refunds equal their transfers',
    sql`payments.refunds`,
    sql`
      select 'refund' as kind, id,
             coalesce('refunded ' || r.amount || ' with fee ' || r.fee_returned, 'missing') || ', its transfer makes '
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

/** In both directions: also a row that was removed, or set back to an earlier version, differs from its last entry. */
const paymentsMatchJournal = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'payments and refunds are what their last journal entry says',
    sql`payments.payments`,
    sql`
      with last as (
        select distinct on (object_id) object_id as id, object_type, object_version as version, tenant_id, snapshot
        from journal.entries
        where object_type in ('payment', 'refund') and object_version is not null
        order by object_id, object_version desc
      ), stored as (
        select 'payment' as object_type, id, version, tenant_id, state, amount, currency, captured, refunded
        from payments.payments
        union all
        select 'refund', r.id, r.version, r.tenant_id, r.state, r.amount, p.currency, null, null
        from payments.refunds r left join payments.payments p on p.tenant_id = r.tenant_id and p.id = r.payment_id
      )
      select coalesce(l.object_type, s.object_type) as kind, id,
             coalesce('version ' || s.version || ' is ' || s.state, 'missing') || ', its journal says '
             || coalesce('version ' || l.version || ' is ' || (l.snapshot ->> 'status'), 'nothing') as found
      from stored s full join last l using (id)
      where s.version is distinct from l.version or s.object_type is distinct from l.object_type
         or s.tenant_id is distinct from l.tenant_id or s.state is distinct from l.snapshot ->> 'status'
         or s.amount::text is distinct from l.snapshot ->> 'amount_minor'
         or s.currency is distinct from l.snapshot ->> 'currency'
         or s.captured::text is distinct from l.snapshot ->> 'amount_captured_minor'
         or s.refunded::text is distinct from l.snapshot ->> 'amount_refunded_minor'
    `,
  );
