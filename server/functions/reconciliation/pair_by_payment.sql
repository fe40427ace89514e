-- Gives lines that name a payment those of its movements that nobody has yet, first to first, second to second: of equal
-- amount, currency and status (`exact`), of equal amount and currency (`amount`), or whatever there is (`any`): what failed
-- for what failed, the rest for the rest.
create or replace function reconciliation.pair_by_payment(run uuid, closeness text) returns void
language plpgsql
set enable_nestloop = off
set jit = off
as $$
begin
  insert into reconciliation.pairs (run_id, line, movement_id, again)
  with line as (
    select l.line, l.payment_id, l.kind, k.key,
           row_number() over (partition by l.payment_id, l.kind, k.key order by l.status = 'succeeded' desc, l.line) as place
    from reconciliation.lines l
    cross join lateral (select case closeness when 'exact' then concat_ws(' ', l.amount, l.currency, l.status)
                                              when 'amount' then concat_ws(' ', l.amount, l.currency)
                                              else (l.status = 'failed')::text end as key) k
    where l.run_id = run and l.payment_id is not null
      and not exists (select from reconciliation.pairs p where p.run_id = run and p.line = l.line)
  ), movement as (
    select m.movement_id, m.payment_id, m.kind, k.key,
           row_number() over (partition by m.payment_id, m.kind, k.key
                              order by array_position(array['succeeded', 'pending', 'authorised', 'failed'], m.status),
                                       m.at, m.movement_id) as place
    from reconciliation.movements m
    cross join lateral (select case closeness when 'exact' then concat_ws(' ', m.amount, m.currency, m.status)
                                              when 'amount' then concat_ws(' ', m.amount, m.currency)
                                              else (m.status = 'failed')::text end as key) k
    where m.run_id = run and m.fact is null
      and not exists (select from reconciliation.pairs p where p.run_id = run and p.movement_id = m.movement_id)
  )
  select run, line, movement_id, false
  from line join movement using (payment_id, kind, key, place);
end $$;
