-- Writes down what came of attempts: an array a column, position by position. A delivery whose attempt is not the last one any
-- more, because its lease ended and somebody else sends it, stays as it is; that the attempt was made is kept all the same.
-- Ordered deliveries that waited for one that is settled by this become due.
-- What is written here may be lost in a crash of the server: then it is sent again, under the same id.
create or replace function webhooks.record(
  tenant_ids integer[], ids uuid[], numbers integer[], states text[], due_ats timestamptz[],
  times timestamptz[], statuses integer[], errors text[], durations_ms integer[], request_headers jsonb[],
  answer_headers jsonb[], answers bytea[]) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
as $$
declare
  endpoints uuid[];
  objects uuid[];
  released integer := 0;
begin
  perform set_config('synchronous_commit', 'off', true);
  insert into webhooks.attempts (tenant_id, delivery_id, number, at, status, error, duration_ms, request_headers,
                                 answer_headers, answer)
  select tenant_ids[i], ids[i], numbers[i], times[i], statuses[i], errors[i], durations_ms[i], request_headers[i],
         answer_headers[i], answers[i]
  from generate_subscripts(ids, 1) i
  on conflict do nothing;
  with settled as (
    update webhooks.deliveries d
    set state = states[i], due_at = due_ats[i], leased_until = null, last_status = statuses[i], last_error = errors[i],
        settled_at = case when states[i] <> 'pending' then times[i] end
    from generate_subscripts(ids, 1) i
    where d.tenant_id = tenant_ids[i] and d.id = ids[i] and d.state = 'pending' and d.attempts_made = numbers[i]
    returning d.endpoint_id, d.object_id, d.ordered, d.state
  )
  select array_agg(s.endpoint_id), array_agg(s.object_id) into endpoints, objects
  from settled s where s.ordered and s.state <> 'pending';
  if endpoints is null then
    return 0;
  end if;
  -- A statement of its own: it sees what was queued while the one before waited for it.
  update webhooks.deliveries d set waiting = false
  from unnest(endpoints, objects) as ended(endpoint_id, object_id)
  cross join lateral (
    select n.tenant_id, n.id from webhooks.deliveries n
    where n.endpoint_id = ended.endpoint_id and n.object_id = ended.object_id and n.state = 'pending' and n.ordered
    order by n.position, n.replay
    limit 1
  ) next
  where d.tenant_id = next.tenant_id and d.id = next.id and d.waiting;
  get diagnostics released = row_count;
  return released;
end $$;
