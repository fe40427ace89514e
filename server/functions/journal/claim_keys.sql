-- Takes idempotency keys for a batch of writes and gives the positions of those that are not new. A null is no key.
-- Equal keys: the first of the batch wins, and a key that another transaction is taking is waited for.
-- Sorted, so that two batches never wait for each other's keys in a circle.
create or replace function journal.claim_keys(tenant_ids integer[], operations text[], keys text[], request_hashes bytea[],
                                              statuses integer[], entry_ids uuid[], at timestamptz) returns integer[]
language plpgsql
set enable_seqscan = off
as $$
declare
  taken integer;
begin
  insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, entry_id, created_at)
  select tenant_ids[i], operations[i], keys[i], request_hashes[i], statuses[i], entry_ids[i], at
  from generate_subscripts(keys, 1) i
  where keys[i] is not null
  order by tenant_ids[i], operations[i], keys[i], i
  on conflict do nothing;
  get diagnostics taken = row_count;
  if taken = cardinality(array_remove(keys, null)) then
    return '{}';
  end if;
  -- A statement of its own: it sees keys that were committed while the insert waited for them.
  return array(
    select i
    from generate_subscripts(keys, 1) i,
         lateral (select entry_id from journal.idempotency_keys k
                  where k.tenant_id = tenant_ids[i] and k.operation = operations[i] and k.key = keys[i] offset 0) k
    where k.entry_id is distinct from entry_ids[i]);
end $$;
