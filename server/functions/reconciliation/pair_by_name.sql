-- Gives lines the movements that they name beyond doubt: the corrections that were made because of such a line, and the
-- calls and refunds whose id they have. Of several lines with one id the one that fits best has it.
create or replace function reconciliation.pair_by_name(run uuid) returns void
language plpgsql
set enable_nestloop = off
set jit = off
as $$
begin
  insert into reconciliation.pairs (run_id, line, movement_id, again)
  select run, f.line, m.movement_id, false
  from reconciliation.facts_of(run) f
  join reconciliation.movements m on m.run_id = run and m.fact = f.fact;

  insert into reconciliation.pairs (run_id, line, movement_id, again)
  select run, n.line, n.movement_id, false
  from (
    select l.line, m.movement_id,
           row_number() over (partition by m.movement_id
                              order by (l.amount, l.currency, l.status) = (m.amount, m.currency, m.status) desc, l.line) as place
    from (select * from reconciliation.lines where run_id = run) l
    join (select * from reconciliation.movements where run_id = run and fact is null) m
      on m.kind = l.kind and m.operation_id = l.operation_id
    where not exists (select from reconciliation.pairs p where p.run_id = run and p.line = l.line)
  ) n
  where n.place = 1;

  insert into reconciliation.pairs (run_id, line, movement_id, again)
  select run, n.line, n.movement_id, false
  from (
    select l.line, m.movement_id,
           row_number() over (partition by m.movement_id
                              order by (l.amount, l.currency, l.status) = (m.amount, m.currency, m.status) desc, l.line) as place
    from (select * from reconciliation.lines where run_id = run) l
    join (select * from reconciliation.movements where run_id = run and fact is null) m
      on m.kind = l.kind and m.refund_id = l.refund_id
    where not exists (select from reconciliation.pairs p where p.run_id = run and (p.line = l.line))
      and not exists (select from reconciliation.pairs p where p.run_id = run and p.movement_id = m.movement_id)
  ) n
  where n.place = 1;
end $$;
