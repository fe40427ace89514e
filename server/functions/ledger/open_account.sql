-- The id of a tenant's account, which is opened when it is new. `new_id` is used only then.
create or replace function ledger.open_account(new_id uuid, tenant integer, account_currency text, account_code text,
                                               is_non_negative boolean, at timestamptz) returns uuid
language plpgsql as $$
declare
  found_id uuid;
begin
  insert into ledger.accounts (id, tenant_id, currency, code, non_negative, created_at)
  values (new_id, tenant, account_currency, account_code, is_non_negative, at)
  on conflict (tenant_id, currency, code) do nothing;
  -- A statement of its own: it sees an account that another transaction opened while the insert waited for it.
  select id into strict found_id
  from ledger.accounts
  where tenant_id = tenant and currency = account_currency and code = account_code;
  return found_id;
end $$;
