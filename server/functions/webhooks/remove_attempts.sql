-- Removes attempts made before a time, as `webhooks.remove_deliveries` does deliveries: of those that are tried for longer.
create or replace function webhooks.remove_attempts(before timestamptz, page bigint, pages integer,
                                                    out next_page bigint, out removed bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from webhooks.attempts
  where ctid >= format('(%s,0)', page)::tid and ctid < format('(%s,0)', page + pages)::tid
    and at < least(before, clock_timestamp() - interval '1 day');
  get diagnostics removed = row_count;
  if page + pages < pg_relation_size('webhooks.attempts') / current_setting('block_size')::integer then
    next_page := page + pages;
  end if;
end $$;
