-- The events at these places, of whatever tenants, in order. A function keeps its plan, and making one costs more than reading.
create or replace function events.at_positions(positions bigint[]) returns setof events.events
language plpgsql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
  return query
  select e.* from unnest(positions) as p(position)
  cross join lateral (select * from events.events v where v.position = p.position offset 0) e
  order by e.position;
end $$;
