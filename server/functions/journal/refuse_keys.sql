-- Turns the provisional answers of a batch's keys into refusals: the ledger said no after the keys were taken.
create or replace function journal.refuse_keys(keys jsonb) returns void
language sql as $$
  update journal.idempotency_keys k
  set status = 422, entry_id = null, refusal = r.refusal
  from jsonb_to_recordset(keys) as r(tenant_id integer, operation text, key text, refusal jsonb)
  where k.tenant_id = r.tenant_id and k.operation = r.operation and k.key = r.key;
$$;
