-- Sets aside what a statement is compared with: everything that its lines name, and everything that succeeded in the period.
create or replace function reconciliation.stage_movements(run uuid, tenant integer, backend text, since timestamptz,
                                                          until timestamptz) returns void
language plpgsql
-- The tables of a run are new, so nothing is known of them: a plan for a few rows would never end with a million.
set enable_nestloop = off
set jit = off
as $$
begin
  insert into reconciliation.movements (run_id, movement_id, kind, operation_id, payment_id, refund_id, status, amount, currency,
                                        fee, at, fact, corrections)
  with known as materialized (
    select * from reconciliation.movements_of(tenant, backend)
  ), wanted as (
    select k.movement_id from known k where k.status = 'succeeded' and k.at >= since and k.at < until
    union
    select k.movement_id from known k join reconciliation.lines l on l.run_id = run and l.operation_id = k.operation_id
    union
    select k.movement_id from known k join reconciliation.lines l on l.run_id = run and l.payment_id = k.payment_id
    union
    select k.movement_id from known k join reconciliation.lines l on l.run_id = run and l.refund_id = k.refund_id
    union
    select k.movement_id from known k join reconciliation.facts_of(run) f on f.fact = k.fact
  )
  select run, k.movement_id, k.kind, k.operation_id, k.payment_id, k.refund_id, k.status, k.amount, k.currency, k.fee, k.at,
         k.fact, k.corrections
  from known k join wanted using (movement_id);
end $$;
