-- Inserts new payments: an array a column, position by position, but for those skipped.
create or replace function payments.insert(
  tenant_ids integer[], ids uuid[], versions integer[], states text[], modes text[], amounts bigint[], currencies text[],
  captured_amounts bigint[], fees bigint[], connectors text[], payment_methods text[], payment_references text[],
  descriptions text[], customer_ids uuid[], hold_ids uuid[], failure_codes text[], metadata_texts jsonb[],
  created_times timestamptz[], updated_times timestamptz[], skipped integer[] default '{}') returns void
language plpgsql as $$
begin
  insert into payments.payments (tenant_id, id, version, state, mode, amount, currency, captured, fee, connector,
                                 payment_method, reference, description, customer_id, hold_id, failure_code, metadata,
                                 created_at, updated_at)
  select tenant_ids[i], ids[i], versions[i], states[i], modes[i], amounts[i], currencies[i], captured_amounts[i], fees[i],
         connectors[i], payment_methods[i], payment_references[i], descriptions[i], customer_ids[i], hold_ids[i],
         failure_codes[i], metadata_texts[i], created_times[i], updated_times[i]
  from generate_subscripts(ids, 1) i
  where i <> all (skipped);
end $$;
