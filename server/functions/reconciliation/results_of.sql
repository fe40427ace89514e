-- What became of every line, and of every movement of the period that has none: `matched`, or how the two differ.
create or replace function reconciliation.results_of(run uuid, tenant integer, since timestamptz, until timestamptz)
returns table (type text, kind text, line integer, reference text, backend_reference text, movement_id uuid, operation_id uuid,
               payment_id uuid, refund_id uuid, here_status text, here_amount bigint, here_currency text, here_fee bigint,
               here_at timestamptz, there_status text, there_amount bigint, there_currency text, there_fee bigint,
               there_at timestamptz, told_before boolean, fact text)
language sql stable
set enable_nestloop = off
set jit = off
as $$
  with pair as (
    select p.* from reconciliation.pairs p where p.run_id = run
  ), movement as (
    select m.* from reconciliation.movements m where m.run_id = run
  ), told as (
    -- Movements that a line has told with this reference of the backend and this amount.
    select distinct p.movement_id, l.backend_reference, l.amount, l.currency
    from pair p join reconciliation.lines l on l.run_id = run and l.line = p.line
    where not p.again and l.backend_reference is not null
  ), compared as (
    select l.*, m as movement, p.again, t.movement_id is not null as told_before, f.fact as line_fact,
           case when m.movement_id is null then 'missing_here'
                when p.again and l.status = 'failed' then 'matched'
                when p.again then 'duplicate'
                when l.status <> m.status then 'status_differs'
                when l.currency <> m.currency then 'currency_differs'
                when l.amount <> m.amount then 'amount_differs'
                when l.fee <> m.fee and l.status = 'succeeded' then 'fee_differs'
                else 'matched' end as type
    from reconciliation.lines l
    join reconciliation.facts_of(run) f using (line)
    left join pair p using (line)
    left join movement m on m.movement_id = p.movement_id
    left join told t on p.again and t.movement_id = p.movement_id
                    and (t.backend_reference, t.amount, t.currency) = (l.backend_reference, l.amount, l.currency)
    where l.run_id = run
  )
  select c.type, c.kind, c.line, c.reference, c.backend_reference, case when not c.again then (c.movement).movement_id end,
         (c.movement).operation_id,
         -- What nobody knows may still be about a payment of the tenant, such as a refund that the backend made on its own.
         coalesce((c.movement).payment_id,
                  (select p.id from payments.payments p where p.tenant_id = tenant and p.id = c.payment_id),
                  (select o.payment_id from payments.operations o where o.tenant_id = tenant and o.id = c.operation_id)),
         (c.movement).refund_id,
         case when not c.again then (c.movement).status end, case when not c.again then (c.movement).amount end,
         case when not c.again then (c.movement).currency end, case when not c.again then (c.movement).fee end,
         case when not c.again then (c.movement).at end,
         c.status, c.amount, c.currency, c.fee, c.at, c.told_before,
         case when not c.again then jsonb_build_array('movement', (c.movement).movement_id, (c.movement).corrections)::text
              else c.line_fact end
  from compared c
  union all
  select 'missing_there', m.kind, null, null, null, m.movement_id, m.operation_id, m.payment_id, m.refund_id, m.status, m.amount,
         m.currency, m.fee, m.at, null, null, null, null, null, false,
         jsonb_build_array('movement', m.movement_id, m.corrections)::text
  from movement m left join pair p using (movement_id)
  where p.movement_id is null and m.status = 'succeeded' and m.at >= since and m.at < until;
$$;
