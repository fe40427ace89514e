-- Inserts new payments; `rows` is an array of objects named like the columns.
create or replace function payments.insert(rows jsonb) returns void
language plpgsql as $$
begin
  insert into payments.payments (tenant_id, id, version, state, mode, amount, currency, captured, fee, connector,
                                 payment_method, reference, description, customer_id, hold_id, failure_code, metadata,
                                 created_at, updated_at)
  select r.tenant_id, r.id, r.version, r.state, r.mode, r.amount, r.currency, r.captured, r.fee, r.connector,
         r.payment_method, r.reference, r.description, r.customer_id, r.hold_id, r.failure_code, r.metadata,
         r.created_at, r.updated_at
  from jsonb_to_recordset(rows) as r(
    tenant_id integer, id uuid, version integer, state text, mode text, amount bigint, currency text, captured bigint,
    fee bigint, connector text, payment_method text, reference text, description text, customer_id uuid, hold_id uuid,
    failure_code text, metadata jsonb, created_at timestamptz, updated_at timestamptz);
end $$;
