-- Gives back what was claimed and not sent: the attempt was never begun.
create or replace function webhooks.release(tenant_ids integer[], ids uuid[], numbers integer[]) returns void
language sql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  update webhooks.deliveries d
  set attempts = d.attempts - 1, attempts_made = d.attempts_made - 1, leased_until = null
  from unnest(tenant_ids, ids, numbers) as given(tenant_id, id, number)
  cross join lateral (
    select f.ctid as place from webhooks.deliveries f where f.tenant_id = given.tenant_id and f.id = given.id offset 0
  ) found
  where d.ctid = found.place and d.state = 'pending' and d.attempts_made = given.number and d.attempts > 0;
$$;
