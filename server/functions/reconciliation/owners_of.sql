-- Whose payments the first lines of a statement name, and at which backend: of one tenant, or of all where it is null.
create or replace function reconciliation.owners_of(run uuid, only_tenant integer, lines_max integer)
returns table (tenant_id integer, connector text)
language sql stable as $$
  with line as (
    select l.operation_id, l.payment_id, l.refund_id
    from reconciliation.lines l where l.run_id = run order by l.line limit lines_max
  )
  select p.tenant_id, p.connector from payments.payments p
  where (only_tenant is null or p.tenant_id = only_tenant) and p.id = any (array(select payment_id from line))
  union
  select o.tenant_id, o.connector from payments.operations o
  where (only_tenant is null or o.tenant_id = only_tenant) and o.id = any (array(select operation_id from line))
  union
  select p.tenant_id, p.connector from payments.refunds r
  join payments.payments p on p.tenant_id = r.tenant_id and p.id = r.payment_id
  where (only_tenant is null or r.tenant_id = only_tenant) and r.id = any (array(select refund_id from line));
$$;
