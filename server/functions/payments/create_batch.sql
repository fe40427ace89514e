-- Creates a batch of plain payments (captured at once, settled in our own books) in one transaction, in their order.
-- An array a column, as the function of its table takes it, position by position; a posting names the position of its
-- transfer, and a payment without an idempotency key has null for it. Gives {position: outcome} of those not created:
--   repeated             the key is not new: the stored answer counts, see journal.idempotency_keys
--   insufficient_funds, balance_overflow   refused by the ledger; with a key, the refusal is its answer
-- Accounts are locked before keys, everywhere: that order keeps writers from waiting for each other in a circle.
create or replace function payments.create_batch(
  -- payments.insert
  tenant_ids integer[], ids uuid[], versions integer[], states text[], modes text[], amounts bigint[], currencies text[],
  captured_amounts bigint[], fees bigint[], connectors text[], payment_methods text[], payment_references text[],
  descriptions text[], customer_ids uuid[], hold_ids uuid[], failure_codes text[], metadata_texts jsonb[],
  created_times timestamptz[], updated_times timestamptz[],
  -- ledger.lock_batch, ledger.post_locked
  transfer_ids uuid[], transfer_tenants integer[], transfer_kinds text[], transfer_objects uuid[],
  posting_transfers integer[], posting_accounts uuid[], posting_amounts bigint[],
  -- journal.append
  entry_tenants integer[], entry_ids uuid[], entry_kinds text[], entry_results text[], actors text[], origins text[],
  request_ids text[], object_types text[], object_ids uuid[], object_versions integer[], snapshots jsonb[],
  entry_transfers uuid[], hashes bytea[], entry_times timestamptz[],
  -- journal.claim_keys
  operations text[], keys text[], request_hashes bytea[], statuses integer[],
  refusal_texts jsonb, at timestamptz) returns jsonb
language plpgsql as $$
declare
  may_fail boolean;
  repeated integer[];
  rejected jsonb;
  skipped integer[];
begin
  may_fail := ledger.lock_batch(transfer_ids, transfer_tenants, posting_transfers, posting_accounts, posting_amounts);
  repeated := journal.claim_keys(tenant_ids, operations, keys, request_hashes, statuses, entry_ids, at);
  rejected := ledger.post_locked(transfer_ids, transfer_tenants, transfer_kinds, transfer_objects,
                                 posting_transfers, posting_accounts, posting_amounts, may_fail, repeated, at);
  skipped := repeated;
  if rejected <> '{}' then
    skipped := skipped || array(select jsonb_object_keys(rejected)::integer);
    perform journal.refuse_keys(tenant_ids, operations, keys, (
      select jsonb_object_agg(key, jsonb_build_object('code', value, 'detail', refusal_texts ->> value))
      from jsonb_each_text(rejected)));
  end if;
  perform payments.insert(tenant_ids, ids, versions, states, modes, amounts, currencies, captured_amounts, fees, connectors,
                          payment_methods, payment_references, descriptions, customer_ids, hold_ids, failure_codes,
                          metadata_texts, created_times, updated_times, skipped);
  perform journal.append(entry_tenants, entry_ids, entry_kinds, entry_results, actors, origins, request_ids, object_types,
                         object_ids, object_versions, snapshots, entry_transfers, hashes, entry_times, skipped);
  if skipped = '{}' then
    return '{}';
  end if;
  return rejected || (select coalesce(jsonb_object_agg(i, 'repeated'), '{}') from unnest(repeated) i);
end $$;
