-- What guide 001's `update webhook_events set status = 'pending', retry_count = 0 where id = 'evt_…'` does: the delivery is due at
-- once, as if it had never been tried, and an open circuit lets one through to try.
create or replace function webhooks.redeliver() returns trigger
language plpgsql as $$
begin
  if new.status <> 'pending' or (new.retry_count <> 0 and new.retry_count <> old.retry_count) then
    raise exception 'webhook_events: status can only be set to pending, and retry_count to 0'
      using errcode = 'check_violation', hint = 'UPDATE webhook_events SET status = ''pending'', retry_count = 0 WHERE id = ''evt_…''';
  end if;
  -- Due since it was made: without a clock that is at once.
  update webhooks.deliveries
  set state = 'pending', attempts = 0, due_at = old.created_at, settled_at = null, waiting = waiting and state = 'pending'
  where tenant_id = old.tenant_id and id = old.delivery_id;
  update webhooks.endpoints set paused_until = old.created_at
  where tenant_id = old.tenant_id and id = old.endpoint_id and paused_until > old.created_at;
  return new;
end $$;

create or replace trigger redeliver instead of update on webhooks.webhook_events
for each row execute function webhooks.redeliver();
