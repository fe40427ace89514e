-- Removes deliveries that ended before a time, with their attempts: looks at so many pages of the table, from `page` on, and gives
-- where to go on (null at the end) and how many it removed. It reads the table as it lies, so no index is kept for it. With the
-- rights of the owner, since services may not delete: so whatever they ask for, nothing of the last day goes.
create or replace function webhooks.remove_deliveries(before timestamptz, page bigint, pages integer,
                                                      out next_page bigint, out removed bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  oldest_kept constant timestamptz := least(before, clock_timestamp() - interval '1 day');
  ended uuid[];
begin
  with gone as (
    delete from webhooks.deliveries
    where ctid >= format('(%s,0)', page)::tid and ctid < format('(%s,0)', page + pages)::tid
      and settled_at < oldest_kept and state <> 'pending'
    returning id
  )
  select coalesce(array_agg(id), '{}') into ended from gone;
  delete from webhooks.attempts a using unnest(ended) as e(id) where a.delivery_id = e.id;
  removed := cardinality(ended);
  if page + pages < pg_relation_size('webhooks.deliveries') / current_setting('block_size')::integer then
    next_page := page + pages;
  end if;
end $$;
