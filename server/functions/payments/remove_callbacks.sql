-- Removes what backends told before a time. With the rights of the owner, since services may not delete: so whatever they ask for,
-- no message of the last day goes.
create or replace function payments.remove_callbacks(before timestamptz) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  removed bigint;
begin
  delete from payments.callbacks where received_at < least(before, clock_timestamp() - interval '1 day');
  get diagnostics removed = row_count;
  return removed;
end $$;
