-- Appends entries that their writers made and hashed. `entries` is an array of objects named like the columns;
-- `hash` is hex. One call inserts a whole batch.
create or replace function journal.append(entries jsonb) returns void
language plpgsql as $$
begin
  insert into journal.entries (tenant_id, id, kind, result, actor, origin, request_id, object_type, object_id,
                               object_version, snapshot, transfer_id, hash, timestamp)
  select e.tenant_id, e.id, e.kind, e.result, e.actor, e.origin, e.request_id, e.object_type, e.object_id,
         e.object_version, e.snapshot, e.transfer_id, decode(e.hash, 'hex'), e.timestamp
  from jsonb_to_recordset(entries) as e(
    tenant_id integer, id uuid, kind text, result text, actor text, origin text, request_id text, object_type text,
    object_id uuid, object_version integer, snapshot jsonb, transfer_id uuid, hash text, timestamp timestamptz);
end $$;
