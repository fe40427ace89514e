-- Posts transfers in their order and gives those it refuses, {position: reason}; their neighbours are posted:
--   insufficient_funds   an account that may not go below zero has too little available
--   balance_overflow     a balance would leave 64 bits
-- An array a column: of the transfers `ids`, `tenant_ids`, `kinds`, `object_ids`; of the postings the position of their
-- transfer, account and amount. Transfers at the positions `skipped` are left out.
-- A rejected transfer writes nothing and does not count against later ones. A transfer that is not a transfer (no
-- posting, a sum other than zero, a foreign account) raises: its writer is wrong, see lib/batch.ts for its neighbours.
create or replace function ledger.post_batch(
  ids uuid[], tenant_ids integer[], kinds text[], object_ids uuid[],
  posting_transfers integer[], account_ids uuid[], amounts bigint[],
  skipped integer[], at timestamptz) returns jsonb
language sql as $$
  select ledger.post_locked(ids, tenant_ids, kinds, object_ids, posting_transfers, account_ids, amounts,
                            ledger.lock_batch(ids, tenant_ids, posting_transfers, account_ids, amounts), skipped, at);
$$;
