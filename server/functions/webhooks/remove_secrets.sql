-- Removes secrets that signed for the last time before a time; the newest of an endpoint has no end. With the rights of the owner,
-- since services may not delete: so whatever they ask for, nothing of the last day goes.
create or replace function webhooks.remove_secrets(before timestamptz) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  removed bigint;
begin
  delete from webhooks.secrets where expires_at < least(before, clock_timestamp() - interval '1 day');
  get diagnostics removed = row_count;
  return removed;
end $$;
