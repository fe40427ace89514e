-- Takes idempotency keys for a batch of writes and gives the positions (`ord`) of those that are new.
-- Equal keys: the first of the batch wins, and a key that another transaction is taking is waited for.
-- Sorted, so that two batches never wait for each other's keys in a circle.
create or replace function journal.claim_keys(keys jsonb, at timestamptz) returns table (ord integer)
language plpgsql as $$
begin
  return query with wanted as (
    select k.*
    from jsonb_to_recordset(keys) as k(ord integer, tenant_id integer, operation text, key text, request_hash text,
                                       status smallint, entry_id uuid, open_until timestamptz)
  ), taken as (
    insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, entry_id, open_until, created_at)
    select w.tenant_id, w.operation, w.key, decode(w.request_hash, 'hex'), w.status, w.entry_id, w.open_until, at
    from wanted w
    order by w.tenant_id, w.operation, w.key, w.ord
    on conflict do nothing
    returning entry_id
  )
  select w.ord from wanted w join taken t using (entry_id);
end $$;
