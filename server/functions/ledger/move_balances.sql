-- Moves the balances of accounts by the postings of a batch, but for transfers at the positions `skipped`. Part of
-- `ledger.post_batch`, which holds the locks; arrays as there.
create or replace function ledger.move_balances(posting_transfers integer[], account_ids uuid[], amounts bigint[],
                                                skipped integer[]) returns void
language plpgsql
-- One probe an account. The target of an update can't be kept apart by `offset 0`, and a plan that was made while the
-- table was empty would join the batch with all of it: with 30,000 accounts a payment took a millisecond.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
as $$
begin
  update ledger.accounts a
  set posted = a.posted + m.amount, version = a.version + m.postings
  from (select account_ids[i] as account_id, sum(amounts[i]) as amount, count(*) as postings
        from generate_subscripts(account_ids, 1) i
        where posting_transfers[i] <> all (skipped)
        group by 1) m
  where a.id = m.account_id;
end $$;
