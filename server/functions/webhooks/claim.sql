-- Gives deliveries that are due to whoever sends them, of each of these endpoints so many at most, the longest due first: they are
-- theirs until the lease ends. Whoever has claimed before says behind which delivery to go on (`due_after`, `id_after`), so that
-- what is under way need not be passed again. Of an endpoint whose circuit was open until now, one is given, to try: until its
-- lease ends, or it is settled, the circuit is open for all others.
-- The rows are found again by their place: a join by their ids, planned while the table was small, reads all of it later on.
-- What a claim writes may be lost in a crash of the server: then somebody else sends too, under the same id.
create or replace function webhooks.claim(endpoint_ids uuid[], counts integer[], due_after timestamptz[], id_after uuid[],
                                          at timestamptz, until timestamptz)
returns table (tenant_id integer, id uuid, endpoint_id uuid, "position" bigint, attempts integer, attempts_made integer,
               due_at_ms double precision, endpoint_version integer, is_failing boolean)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  trying uuid[];
begin
  perform set_config('synchronous_commit', 'off', true);
  with tried as (
    update webhooks.endpoints w set paused_until = until
    where w.id = any (endpoint_ids) and w.state = 'enabled' and w.paused_until <= at
    returning w.id
  )
  select coalesce(array_agg(t.id), '{}') into trying from tried t;
  return query
  with due as materialized (
    select d.place, w.version, w.failures > 0 or w.paused_until is not null as is_failing
    from unnest(endpoint_ids, counts, due_after, id_after) as wanted(endpoint_id, count, due_after, id_after)
    join webhooks.endpoints w
      on w.id = wanted.endpoint_id and w.state = 'enabled' and (w.paused_until is null or w.id = any (trying))
    cross join lateral (
      select q.ctid as place from webhooks.deliveries q
      where q.endpoint_id = wanted.endpoint_id and q.state = 'pending' and not q.waiting and q.due_at <= at
        and (q.due_at, q.id) > (wanted.due_after, wanted.id_after)
        and (q.leased_until is null or q.leased_until <= at)
      order by q.due_at, q.id
      limit case when w.id = any (trying) then 1 else wanted.count end
      for no key update skip locked
    ) d
  )
  update webhooks.deliveries d
  set attempts = d.attempts + 1, attempts_made = d.attempts_made + 1, leased_until = until
  from due
  where d.ctid = due.place
  returning d.tenant_id, d.id, d.endpoint_id, d.position, d.attempts, d.attempts_made,
            (extract(epoch from d.due_at) * 1000)::double precision, due.version, due.is_failing;
end $$;
