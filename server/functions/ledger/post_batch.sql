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
language plpgsql
-- Accounts are probed one by one whatever else is joined: `offset 0` keeps the probe apart.
set enable_seqscan = off
as $$
declare
  may_fail boolean;
  wrong integer;
  rejected jsonb := '{}';
begin
  -- One probe an account, in the order of their ids: locks it, and asks whether any subset of the batch could leave it
  -- short (gross debits against what is available) or outside 64 bits (gross movement). Almost never.
  -- With what it found, refuses what no writer may ask for: invariant 1 (per currency, a transfer sums to zero) and the
  -- border between tenants.
  with posting as (
    select posting_transfers[i] as transfer, account_ids[i] as account_id, amounts[i] as amount
    from generate_subscripts(account_ids, 1) i
  ), account as materialized (
    select b.account_id, a.tenant_id, a.currency,
           (a.non_negative and b.debits > a.posted - a.reserved)
             or abs(a.posted::numeric) + b.movement > 9223372036854775807 as may_fail
    from (
      select p.account_id, sum(greatest(-p.amount, 0)) as debits, sum(abs(p.amount::numeric)) as movement
      from posting p group by p.account_id order by p.account_id
    ) b,
    lateral (
      select tenant_id, currency, posted, reserved, non_negative
      from ledger.accounts where id = b.account_id offset 0 for no key update
    ) a
  )
  select coalesce((select bool_or(a.may_fail) from account a), false),
         coalesce(
           (select p.transfer
            from posting p left join account a using (account_id)
            group by p.transfer, a.currency
            having sum(p.amount) <> 0 or count(*) <> count(distinct p.account_id)
                or bool_or(p.amount = 0 or a.tenant_id is distinct from tenant_ids[p.transfer])
            limit 1),
           (select i from generate_subscripts(ids, 1) i where i <> all (posting_transfers) limit 1))
  into may_fail, wrong;
  if wrong is not null then
    raise exception 'transfer % does not sum to zero per currency between accounts of its tenant', ids[wrong]
      using errcode = 'integrity_constraint_violation';
  end if;
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
