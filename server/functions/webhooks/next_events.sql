-- The next places of the journal, `span` at most, with whom to tell what happened there: enabled endpoints whose patterns fit,
-- from where each began. There is one row at least, which says how far that is. Whoever asks moves `webhooks.progress` on in the
-- same transaction; until then nobody else gets these places.
create or replace function webhooks.next_events(span integer)
returns table (first_position bigint, end_position bigint, tenant_id integer, endpoint_id uuid, "position" bigint,
               event_id uuid, event_type text, object_id uuid, ordered boolean)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  begins bigint;
  ends bigint;
begin
  select p.position into begins from webhooks.progress p for update;
  select least(coalesce(max(p.position) + 1, 0), begins + span) into ends from journal.positions p;
  ends := greatest(begins, ends);
  return query
  select begins, ends, f.*
  from (select) as one
  left join lateral (
    select e.tenant_id, w.id, e.position, e.id, e.type, e.object_id, w.ordered and e.object_id is not null
    from journal.positions p
    -- Most vendors have no endpoint: only for the others it is read what happened.
    cross join lateral (
      select * from events.events v
      where v.position = p.position
        and exists (select from webhooks.endpoints w where w.tenant_id = p.tenant_id and w.state = 'enabled')
      offset 0
    ) e
    join webhooks.endpoints w on w.tenant_id = e.tenant_id
    where p.position >= begins and p.position < ends
      and w.state = 'enabled' and e.position >= w.from_position
      and case when e.type = 'webhook_endpoint.tested' then w.id = e.object_id
          else w.events && array['*', split_part(e.type, '.', 1) || '.*', e.type] end
    order by e.position
  ) f on true;
end $$;
