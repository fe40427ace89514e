-- Removes idempotency keys of before a time, but for those whose backend call is open: looks at so many pages of the table, from
-- `page` on, and gives where to go on (null at the end) and how many it removed. It reads the table as it lies, so that no write
-- has to keep an index for it. With the rights of the owner, since services may not delete: so whatever they ask for, no key of
-- the last day goes.
create or replace function journal.expire_keys(before timestamptz, page bigint, pages integer,
                                               out next_page bigint, out removed bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from journal.idempotency_keys
  where ctid >= format('(%s,0)', page)::tid and ctid < format('(%s,0)', page + pages)::tid
    and created_at < least(before, clock_timestamp() - interval '1 day') and open_until is null;
  get diagnostics removed = row_count;
  if page + pages < pg_relation_size('journal.idempotency_keys') / current_setting('block_size')::integer then
    next_page := page + pages;
  end if;
end $$;
