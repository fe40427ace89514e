-- Writes down what came of attempts: an array a column, position by position. The last attempt of a delivery is in its row, those
-- before it in `attempts`. A delivery whose attempt is not the last one begun any more, because its lease ended and somebody
-- else sends it, stays as it is; that the attempt was made is kept all the same. Ordered deliveries that waited for one that is
-- settled by this become due; gives how many.
-- What is written here may be lost in a crash of the server: then it is sent again, under the same id.
-- Rows are found one by one (`offset 0` keeps the probe apart) and written by their place: a join of the batch with the table,
-- planned while that was small, reads all of it later on. A row that somebody changes at this very moment counts as not found.
create or replace function webhooks.record(
  tenant_ids integer[], ids uuid[], numbers integer[], states text[], due_ats timestamptz[], times timestamptz[],
  statuses integer[], errors text[], durations_ms integer[], headers text[], answers bytea[]) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
as $$
declare
  written integer[];
  endpoints uuid[];
  objects uuid[];
  released integer := 0;
begin
  perform set_config('synchronous_commit', 'off', true);
  if exists (select from unnest(numbers) n where n > 1) then
    insert into webhooks.attempts (tenant_id, delivery_id, number, at, status, error, duration_ms, headers, answer)
    select d.tenant_id, d.id, d.last_number, d.last_at, d.last_status, d.last_error, d.last_duration_ms, d.last_headers,
           d.last_answer
    from generate_subscripts(ids, 1) i
    cross join lateral (select * from webhooks.deliveries d where d.tenant_id = tenant_ids[i] and d.id = ids[i] offset 0) d
    where numbers[i] > 1 and d.last_number is not null
    on conflict do nothing;
  end if;
  with found as (
    select i, d.place
    from generate_subscripts(ids, 1) i
    cross join lateral (
      select d.ctid as place from webhooks.deliveries d where d.tenant_id = tenant_ids[i] and d.id = ids[i] offset 0
    ) d
  ), settled as (
    update webhooks.deliveries d
    set state = states[i], due_at = due_ats[i], leased_until = null, last_number = numbers[i], last_at = times[i],
        last_status = statuses[i], last_error = errors[i], last_duration_ms = durations_ms[i], last_headers = headers[i],
        last_answer = answers[i], settled_at = case when states[i] <> 'pending' then times[i] end
    from found
    where d.ctid = place and d.state = 'pending' and d.attempts_made = numbers[i]
    returning i, d.endpoint_id, d.object_id, d.ordered and d.state <> 'pending' as has_ended
  )
  select array_agg(s.i), array_agg(s.endpoint_id) filter (where s.has_ended), array_agg(s.object_id) filter (where s.has_ended)
  into written, endpoints, objects
  from settled s;
  if coalesce(cardinality(written), 0) < cardinality(ids) then
    insert into webhooks.attempts (tenant_id, delivery_id, number, at, status, error, duration_ms, headers, answer)
    select tenant_ids[i], ids[i], numbers[i], times[i], statuses[i], errors[i], durations_ms[i], headers[i], answers[i]
    from generate_subscripts(ids, 1) i
    where i <> all (coalesce(written, '{}'))
    on conflict do nothing;
  end if;
  if endpoints is null then
    return 0;
  end if;
  -- A statement of its own: it sees what was queued while the one before waited for it.
  update webhooks.deliveries d set waiting = false
  from unnest(endpoints, objects) as ended(endpoint_id, object_id)
  cross join lateral (
    select n.ctid as place from webhooks.deliveries n
    where n.endpoint_id = ended.endpoint_id and n.object_id = ended.object_id and n.state = 'pending' and n.ordered
    order by n.position, n.replay
    limit 1
  ) next
  where d.ctid = next.place and d.waiting;
  get diagnostics released = row_count;
  return released;
end $$;
