-- Decides transfers one by one, in order, against running balances: {ord: reason} of those that can't be posted.
-- Slow and exact; `post_batch`, which holds the locks, calls it only when order matters.
create or replace function ledger.rejections(postings jsonb) returns jsonb
language plpgsql
set enable_seqscan = off
as $$
declare
  transfer record;
  posting record;
  reason text;
  rejected jsonb := '{}';
  running jsonb := '{}';       -- account id → posted balance after the transfers accepted so far
  after jsonb;
  balance numeric;
begin
  for transfer in select distinct p.ord from jsonb_to_recordset(postings) as p(ord integer) order by p.ord loop
    reason := null;
    after := '{}';
    for posting in
      select p.account_id, p.amount, a.posted, a.reserved, a.non_negative
      from jsonb_to_recordset(postings) as p(ord integer, account_id uuid, amount bigint),
           lateral (select posted, reserved, non_negative from ledger.accounts where id = p.account_id offset 0) a
      where p.ord = transfer.ord
    loop
      balance := coalesce((running ->> posting.account_id::text)::numeric, posting.posted) + posting.amount;
      if abs(balance) > 9223372036854775807 then
        reason := 'balance_overflow';
      elsif posting.non_negative and posting.amount < 0 and balance - posting.reserved < 0 then
        reason := coalesce(reason, 'insufficient_funds');
      end if;
      after := after || jsonb_build_object(posting.account_id::text, balance);
    end loop;
    if reason is null then
      running := running || after;
    else
      rejected := rejected || jsonb_build_object(transfer.ord::text, reason);
    end if;
  end loop;
  return rejected;
end $$;
