-- Removes secrets that signed for the last time before a time; the newest of an endpoint has no end. With the rights of the owner,
-- since services may not delete: so whatever they ask for, nothing of the last day goes.
create or replace function webhooks.remove_secrets(before timestamptz) returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  with removed as (
    delete from webhooks.secrets where expires_at < least(before, clock_timestamp() - interval '1 day') returning true
  )
  select count(*) from removed;
$$;
