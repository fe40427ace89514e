-- Appends entries that their writers made and hashed: an array a column, position by position, but for those skipped.
create or replace function journal.append(
  tenant_ids integer[], ids uuid[], kinds text[], results text[], actors text[], origins text[], request_ids text[],
  object_types text[], object_ids uuid[], object_versions integer[], snapshots jsonb[], transfer_ids uuid[],
  hashes bytea[], times timestamptz[], skipped integer[] default '{}') returns void
language plpgsql as $$
begin
  insert into journal.entries (tenant_id, id, kind, result, actor, origin, request_id, object_type, object_id,
                               object_version, snapshot, transfer_id, hash, timestamp)
  select tenant_ids[i], ids[i], kinds[i], results[i], actors[i], origins[i], request_ids[i], object_types[i], object_ids[i],
         object_versions[i], snapshots[i], transfer_ids[i], hashes[i], times[i]
  from generate_subscripts(ids, 1) i
  where i <> all (skipped);
end $$;
