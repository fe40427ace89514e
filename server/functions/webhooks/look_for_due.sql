-- Endpoints that something is to be sent to, and since when or from when on: those whose ids come after `after`, in their order,
-- `looks` at most. One look at the index an endpoint, however much is queued for it.
create or replace function webhooks.look_for_due(after uuid, looks integer)
returns table (endpoint_id uuid, tenant_id integer, due_at timestamptz, state text, paused_until timestamptz)
language sql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
as $$
  with recursive looked(endpoint_id, due_at, count) as (
    (select d.endpoint_id, d.due_at, 1 from webhooks.deliveries d
     where d.state = 'pending' and not d.waiting and d.endpoint_id > after
     order by d.endpoint_id, d.due_at limit 1)
    union all
    select n.endpoint_id, n.due_at, l.count + 1
    from looked l
    cross join lateral (
      select d.endpoint_id, d.due_at from webhooks.deliveries d
      where d.state = 'pending' and not d.waiting and d.endpoint_id > l.endpoint_id
      order by d.endpoint_id, d.due_at limit 1
    ) n
    where l.count < looks
  )
  select l.endpoint_id, w.tenant_id, l.due_at, w.state, w.paused_until
  from looked l
  join webhooks.endpoints w on w.id = l.endpoint_id
  order by l.endpoint_id
$$;
