-- Decides transfers one by one, in order, against running balances: {position: reason} of those that can't be posted.
-- Slow and exact; `post_batch`, which holds the locks, calls it only when order matters. Arrays as there.
create or replace function ledger.rejections(posting_transfers integer[], account_ids uuid[], amounts bigint[],
                                             skipped integer[]) returns jsonb
language plpgsql
set enable_seqscan = off
as $$
declare
  transfer integer;
  posting record;
  reason text;
  rejected jsonb := '{}';
  running jsonb := '{}';       -- account id → posted balance after the transfers accepted so far
  after jsonb;
  balance numeric;
begin
  for transfer in select distinct t from unnest(posting_transfers) t where t <> all (skipped) order by t loop
    reason := null;
    after := '{}';
    for posting in
      select a.id, amounts[i] as amount, a.posted, a.reserved, a.non_negative
      from generate_subscripts(account_ids, 1) i,
           lateral (select id, posted, reserved, non_negative from ledger.accounts where id = account_ids[i] offset 0) a
      where posting_transfers[i] = transfer
    loop
      balance := coalesce((running ->> posting.id::text)::numeric, posting.posted) + posting.amount;
      if abs(balance) > 9223372036854775807 then
        reason := 'balance_overflow';
      elsif posting.non_negative and posting.amount < 0 and balance - posting.reserved < 0 then
        reason := coalesce(reason, 'insufficient_funds');
      end if;
      after := after || jsonb_build_object(posting.id::text, balance);
    end loop;
    if reason is null then
      running := running || after;
    else
      rejected := rejected || jsonb_build_object(transfer::text, reason);
    end if;
  end loop;
  return rejected;
end $$;
