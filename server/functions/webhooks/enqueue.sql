-- Queues deliveries: an array a column, position by position; `in_order` is 1 for an ordered endpoint. Of an object's ordered
-- deliveries the first that is pending is due, the others wait for it. Its row is locked, so that whoever settles it meanwhile
-- does so before, and counts no more, or afterwards, and finds what is queued here. A delivery that is there already is left.
create or replace function webhooks.enqueue(
  tenant_ids integer[], ids uuid[], endpoint_ids uuid[], events text[], event_types text[], object_ids uuid[],
  positions bigint[], replays integer[], in_order integer[], at timestamptz) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
as $$
declare
  queued integer;
begin
  if 1 <> all (in_order) then
    insert into webhooks.deliveries (tenant_id, id, endpoint_id, event, event_type, object_id, position, replay, state,
                                     ordered, waiting, due_at, created_at)
    select tenant_ids[i], ids[i], endpoint_ids[i], events[i], event_types[i], object_ids[i], positions[i], replays[i],
           'pending', false, false, at, at
    from generate_subscripts(ids, 1) i
    on conflict (event, endpoint_id, replay) do nothing;
    get diagnostics queued = row_count;
    return queued;
  end if;
  with given as (
    select i, row_number() over (partition by endpoint_ids[i], object_ids[i] order by positions[i], replays[i]) as place
    from generate_subscripts(ids, 1) i
  )
  insert into webhooks.deliveries (tenant_id, id, endpoint_id, event, event_type, object_id, position, replay, state,
                                   ordered, waiting, due_at, created_at)
  select tenant_ids[i], ids[i], endpoint_ids[i], events[i], event_types[i], object_ids[i], positions[i], replays[i],
         'pending', in_order[i] = 1, in_order[i] = 1 and (g.place > 1 or before.id is not null), at, at
  from given g
  left join lateral (
    select d.id from webhooks.deliveries d
    where in_order[i] = 1 and d.endpoint_id = endpoint_ids[i] and d.object_id = object_ids[i]
      and d.state = 'pending' and d.ordered
    order by d.position, d.replay
    limit 1
    for share
  ) before on true
  order by i
  on conflict (event, endpoint_id, replay) do nothing;
  get diagnostics queued = row_count;
  return queued;
end $$;
