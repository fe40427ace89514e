-- Gives lines the movements that they name beyond doubt: the corrections that were made because of such a line, and the
-- calls and refunds whose id they have. Of several lines that name one the one that fits best has it.
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
  with line as not materialized (
    select l.*, row(l.amount, l.currency, l.status) as said from reconciliation.lines l
    where l.run_id = run and not exists (select from reconciliation.pairs p where p.run_id = run and p.line = l.line)
  ), movement as not materialized (
    select m.*, row(m.amount, m.currency, m.status) as known from reconciliation.movements m
    where m.run_id = run and m.fact is null
  ), named as (
    select l.line, m.movement_id, 1 as rank, l.said = m.known as fits
    from line l join movement m on m.kind = l.kind and m.operation_id = l.operation_id
    union all
    select l.line, m.movement_id, 2, l.said = m.known
    from line l join movement m on m.kind = l.kind and m.refund_id = l.refund_id
  )
  select distinct on (n.movement_id) run, n.line, n.movement_id, false
  from named n
  order by n.movement_id, n.rank, n.fits desc, n.line;
end $$;
