-- Turns the provisional answers of a batch's keys into refusals: the ledger said no after the keys were taken.
-- `refusals`: position → {code, detail}.
create or replace function journal.refuse_keys(tenant_ids integer[], operations text[], keys text[], refusals jsonb)
returns void
language plpgsql
set enable_seqscan = off
as $$
begin
  update journal.idempotency_keys k
  set status = 422, entry_id = null, refusal = r.value
  from jsonb_each(refusals) r
  where k.tenant_id = tenant_ids[r.key::integer] and k.operation = operations[r.key::integer]
    and k.key = keys[r.key::integer];
end $$;
