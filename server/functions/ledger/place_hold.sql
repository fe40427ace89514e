-- Sets money aside: reserved on the account that will pay, pending on the one that will receive. Gives `held`, or
-- `insufficient_funds` / `balance_overflow` and writes nothing.
create or replace function ledger.place_hold(hold_id uuid, tenant integer, object uuid, debit_account uuid,
                                             credit_account uuid, held_amount bigint, at timestamptz) returns text
language plpgsql as $$
declare
  debit ledger.accounts;
  credit ledger.accounts;
begin
  perform ledger.lock_accounts(array[debit_account, credit_account]);
  select * into strict debit from ledger.accounts where id = debit_account;
  select * into strict credit from ledger.accounts where id = credit_account;
  if debit.tenant_id <> tenant or credit.tenant_id <> tenant or debit.currency <> credit.currency or debit.id = credit.id then
    raise exception 'hold % is not between two accounts of one tenant and currency', hold_id
      using errcode = 'integrity_constraint_violation';
  end if;
  if greatest(debit.reserved, credit.pending)::numeric + held_amount > 9223372036854775807 then
    return 'balance_overflow';
  end if;
  if debit.non_negative and debit.posted - debit.reserved < held_amount then
    return 'insufficient_funds';
  end if;
  insert into ledger.holds (id, tenant_id, object_id, debit_account_id, credit_account_id, amount, created_at)
  values (hold_id, tenant, object, debit_account, credit_account, held_amount, at);
  update ledger.accounts set reserved = reserved + held_amount where id = debit_account;
  update ledger.accounts set pending = pending + held_amount where id = credit_account;
  return 'held';
end $$;
