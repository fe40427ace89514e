-- What moved money between a tenant and a backend as the books have it, corrections included: a movement that was corrected
-- is what its backend had said, and a line that only a correction brought into the books is a movement of its own.
create or replace function reconciliation.movements_of(tenant integer, backend text)
returns table (movement_id uuid, kind text, operation_id uuid, payment_id uuid, refund_id uuid, status text,
               amount bigint, currency text, fee bigint, at timestamptz, fact text, corrections integer)
language sql stable as $$
  with corrected as (
    select b.*, c.transfer_id
    from reconciliation.corrections c
    join reconciliation.breaks b using (tenant_id, run_id, number)
    where c.tenant_id = tenant and c.connector = backend
  ), known as (
    select h.*, null::text as fact from reconciliation.movements_here(tenant, backend) h
    union all
    select c.transfer_id, c.kind, c.operation_id, c.payment_id, c.refund_id, c.there_status, c.there_amount,
           c.there_currency, c.there_fee, c.there_at, c.fact
    from corrected c where c.movement_id is null
  ), last as (
    select distinct on (c.movement_id) c.movement_id, c.there_status, c.there_amount, c.there_currency,
           count(*) over (partition by c.movement_id)::integer as corrections
    from corrected c
    where c.movement_id is not null
    order by c.movement_id, c.transfer_id desc
  )
  select k.movement_id, k.kind, k.operation_id, k.payment_id, k.refund_id,
         -- What is missing there never happened.
         case when l.movement_id is null then k.status else coalesce(l.there_status, 'failed') end,
         coalesce(l.there_amount, k.amount), coalesce(l.there_currency, k.currency),
         -- A fee was agreed for what happened here, and says nothing of what was corrected.
         case when l.movement_id is null then k.fee end, k.at, k.fact,
         coalesce(l.corrections, 0)
  from known k left join last l using (movement_id);
$$;
