-- Leaves out the lines that name payments of other tenants. Gives how many they were.
create or replace function reconciliation.leave_out_others(run uuid, tenant integer) returns integer
language sql
-- The table of lines is new, so nothing is known of it: a plan for a few lines looks through an index once for each, and the
-- keys of payments and refunds do not begin with their ids.
set enable_nestloop = off
set jit = off
as $$
  with others as (
    select l.line from reconciliation.lines l join payments.payments p on p.id = l.payment_id
    where l.run_id = run and p.tenant_id <> tenant
    union all
    select l.line from reconciliation.lines l join payments.operations o on o.id = l.operation_id
    where l.run_id = run and o.tenant_id <> tenant
    union all
    select l.line from reconciliation.lines l join payments.refunds r on r.id = l.refund_id
    where l.run_id = run and r.tenant_id <> tenant
  ), left_out as (
    delete from reconciliation.lines l using others o where l.run_id = run and l.line = o.line returning l.line
  )
  select count(*)::integer from left_out;
$$;
