-- The first position of a tenant whose entry was made at this time or later; behind the last one if there is none. A tenant's
-- entries are nearly in the order of time: whoever asks goes an hour back, and looks at the time of each entry itself.
create or replace function events.position_at(tenant integer, since timestamptz) returns bigint
language plpgsql stable as $$
declare
  first_position bigint := 0;
  end_position bigint := (select max(position) + 1 from journal.positions where tenant_id = tenant);
  middle bigint;
  found bigint;
  made timestamptz;
begin
  while first_position < end_position loop
    middle := (first_position + end_position) / 2;
    -- One look at an index after the other: joined, they would be as fast only where statistics are good.
    found := (select min(position) from journal.positions where tenant_id = tenant and position >= middle);
    made := (select e.timestamp from journal.entries e
             where e.tenant_id = tenant and e.id = (select entry_id from journal.positions where position = found));
    if made >= since then
      end_position := middle;
    else
      first_position := found + 1;
    end if;
  end loop;
  return first_position;
end $$;
