-- Removes what backends told before a time. With the rights of the owner, since services may not delete: so whatever they ask for,
-- no message of the last day goes.
create or replace function payments.remove_callbacks(before timestamptz) returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  with removed as (
    delete from payments.callbacks where received_at < least(before, clock_timestamp() - interval '1 day') returning true
  )
  select count(*) from removed;
$$;
