-- Ends a hold: `captured_amount` of it was or will be posted by `transfer`, the rest is released. Raises on a second
-- ending (the primary key of hold_endings) and on more than was held. The caller locked all accounts of its transaction.
create or replace function ledger.end_hold(ended_id uuid, captured_amount bigint, transfer uuid, at timestamptz) returns void
language plpgsql as $$
declare
  hold ledger.holds;
begin
  select * into strict hold from ledger.holds where id = ended_id;
  if captured_amount > hold.amount then
    raise exception 'hold % is over %, % can not be captured', ended_id, hold.amount, captured_amount
      using errcode = 'integrity_constraint_violation';
  end if;
  perform ledger.lock_accounts(array[hold.debit_account_id, hold.credit_account_id]);
  insert into ledger.hold_endings (hold_id, captured, transfer_id, created_at) values (ended_id, captured_amount, transfer, at);
  update ledger.accounts set reserved = reserved - hold.amount where id = hold.debit_account_id;
  update ledger.accounts set pending = pending - hold.amount where id = hold.credit_account_id;
end $$;
