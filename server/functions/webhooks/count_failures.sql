-- Counts what endpoints did not accept: `failed` since the last time that they did, which was just now where `accepted` is 1.
-- After `open_after` failures in a row the circuit is open, for a quarter of the time that it has been failing, from
-- `pause_min` to `pause_max`. Gives those that are failing, as they are now.
create or replace function webhooks.count_failures(
  endpoint_ids uuid[], failed integer[], accepted integer[], at timestamptz, open_after integer, pause_min interval,
  pause_max interval)
returns table (tenant_id integer, endpoint_id uuid, failures integer, failing_since timestamptz, paused_until timestamptz)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
  with given as materialized (
    select w.tenant_id, w.id, g.failed, g.accepted = 1 as is_new,
           case when g.accepted = 1 then 0 else w.failures end + g.failed as failures,
           case when g.accepted = 1 then at else coalesce(w.failing_since, at) end as since
    from unnest(endpoint_ids, failed, accepted) as g(endpoint_id, failed, accepted)
    join webhooks.endpoints w on w.id = g.endpoint_id
    where g.failed > 0 or w.failures > 0 or w.paused_until is not null
    order by w.id
    for no key update of w
  )
  update webhooks.endpoints w
  set failures = g.failures,
      failing_since = case when g.failures > 0 then g.since end,
      paused_until = case when g.failures >= open_after
                          then at + least(pause_max, greatest(pause_min, (at - g.since) / 4)) end
  from given g
  where w.tenant_id = g.tenant_id and w.id = g.id
  returning w.tenant_id, w.id, w.failures, w.failing_since, w.paused_until;
end $$;
