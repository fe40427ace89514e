-- What moved money between a tenant and a backend, or was meant to, as payments know it: one row a call to the backend, and
-- one a payment or refund that our own books settled. `failed` also stands for what was canceled; `authorised` is money set
-- aside that nobody has taken yet.
create or replace function reconciliation.movements_here(tenant integer, backend text)
returns table (movement_id uuid, kind text, operation_id uuid, payment_id uuid, refund_id uuid, status text,
               amount bigint, currency text, fee bigint, at timestamptz)
language sql stable as $$
  select o.id, case o.kind when 'refund' then 'refund' else 'charge' end, o.id, o.payment_id, o.refund_id,
         case when o.state in ('open', 'unknown') then 'pending'
              when o.state = 'declined' then 'failed'
              when o.kind <> 'authorise' or o.capture then 'succeeded'
              when p.state = 'canceled' then 'failed'
              else 'authorised' end,
         o.amount, p.currency, coalesce(r.fee_returned, o.fee), coalesce(o.settled_at, o.created_at)
  from payments.operations o
  join payments.payments p on p.tenant_id = o.tenant_id and p.id = o.payment_id
  left join payments.refunds r on r.tenant_id = o.tenant_id and r.payment_id = o.payment_id and r.id = o.refund_id
  where o.tenant_id = tenant and o.connector = backend and o.kind <> 'cancel'
  union all
  select p.id, 'charge', null, p.id, null,
         case when p.captured > 0 then 'succeeded'
              when p.state in ('failed', 'canceled') then 'failed'
              when p.state = 'requires_capture' then 'authorised'
              else 'pending' end,
         case when p.captured > 0 then p.captured else p.amount end, p.currency, p.fee,
         -- A payment that was authorised first was taken when it was captured.
         case when p.hold_id is null or p.captured = 0 then p.created_at
              else (select min(e.timestamp) from journal.entries e
                    where e.object_id = p.id and e.object_version is not null and e.transfer_id is not null) end
  from payments.payments p
  where p.tenant_id = tenant and p.connector = backend
    and not exists (select from payments.operations o
                    where o.tenant_id = tenant and o.payment_id = p.id and o.kind <> 'refund')
  union all
  select r.id, 'refund', null, r.payment_id, r.id,
         case r.state when 'succeeded' then 'succeeded' when 'failed' then 'failed' else 'pending' end,
         r.amount, p.currency, r.fee_returned, r.created_at
  from payments.refunds r
  join payments.payments p on p.tenant_id = r.tenant_id and p.id = r.payment_id
  where r.tenant_id = tenant and p.connector = backend
    and not exists (select from payments.operations o where o.tenant_id = tenant and o.refund_id = r.id);
$$;
