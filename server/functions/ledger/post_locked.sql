-- The second half of `ledger.post_batch`, for whoever called `ledger.lock_batch`: `may_fail` is what that said of at least
-- these transfers.
create or replace function ledger.post_locked(
  ids uuid[], tenant_ids integer[], kinds text[], object_ids uuid[],
  posting_transfers integer[], account_ids uuid[], amounts bigint[],
  may_fail boolean, skipped integer[], at timestamptz) returns jsonb
language plpgsql
-- Accounts are probed one by one whatever else is joined: `offset 0` keeps the probe apart.
set enable_seqscan = off
as $$
declare
  rejected jsonb := '{}';
begin
  if may_fail then
    rejected := ledger.rejections(posting_transfers, account_ids, amounts, skipped);
    skipped := skipped || array(select jsonb_object_keys(rejected)::integer);
  end if;

  with posting as (
    select posting_transfers[i] as transfer, account_ids[i] as account_id, amounts[i] as amount
    from generate_subscripts(account_ids, 1) i
    where posting_transfers[i] <> all (skipped)
  ), entry as (
    select p.transfer, p.account_id, p.amount,
           a.version + row_number() over account as version,
           (a.posted + sum(p.amount) over account)::bigint as balance
    from posting p,
         lateral (select version, posted from ledger.accounts where id = p.account_id offset 0) a
    window account as (partition by p.account_id order by p.transfer rows unbounded preceding)
  ), transfer as (
    insert into ledger.transfers (id, tenant_id, kind, object_id, account_ids, versions, created_at)
    select ids[e.transfer], tenant_ids[e.transfer], kinds[e.transfer], object_ids[e.transfer], e.account_ids, e.versions, at
    from (select e.transfer, array_agg(e.account_id) as account_ids, array_agg(e.version) as versions
          from entry e group by e.transfer order by e.transfer) e
  )
  insert into ledger.entries (account_id, version, transfer_id, amount, balance, created_at)
  select e.account_id, e.version, ids[e.transfer], e.amount, e.balance, at
  from entry e;
  perform ledger.move_balances(posting_transfers, account_ids, amounts, skipped);

  return rejected;
end $$;
