-- Finds the lines that say once more what another line has said: those that are left over and name a movement that is taken.
-- A payment has one charge, but may have many refunds: one of another amount is not the same once more.
create or replace function reconciliation.pair_again(run uuid) returns void
language plpgsql
set enable_nestloop = off
set jit = off
as $$
begin
  insert into reconciliation.pairs (run_id, line, movement_id, again)
  with line as (
    select l.* from reconciliation.lines l
    where l.run_id = run and not exists (select from reconciliation.pairs p where p.run_id = run and p.line = l.line)
  ), taken as (
    select m.* from reconciliation.movements m
    where m.run_id = run and exists (select from reconciliation.pairs p where p.run_id = run and p.movement_id = m.movement_id)
  )
  select distinct on (t.line) run, t.line, t.movement_id, true
  from (
    select l.line, m.movement_id, m.fact
    from line l join taken m on m.kind = l.kind and m.operation_id = l.operation_id
    union all
    select l.line, m.movement_id, m.fact
    from line l join taken m on m.kind = l.kind and m.refund_id = l.refund_id
    union all
    select l.line, m.movement_id, m.fact
    from line l join taken m on m.kind = l.kind and m.payment_id = l.payment_id
    where l.kind = 'charge' or (m.amount = l.amount and m.currency = l.currency)
  ) t
  order by t.line, t.fact is null desc, t.movement_id;
end $$;
