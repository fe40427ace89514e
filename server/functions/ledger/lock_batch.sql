-- The first half of `ledger.post_batch`: locks the accounts of a batch in the order of their ids and says whether any of it
-- could fail. Whoever takes idempotency keys does it between the two halves: accounts before keys, everywhere, so that two
-- writers never wait for each other in a circle. Arrays as there; raises for what is no transfer.
create or replace function ledger.lock_batch(ids uuid[], tenant_ids integer[], posting_transfers integer[],
                                             account_ids uuid[], amounts bigint[]) returns boolean
language plpgsql
-- Accounts are probed one by one whatever else is joined: `offset 0` keeps the probe apart.
set enable_seqscan = off
as $$
declare
  may_fail boolean;
  wrong integer;
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
  return may_fail;
end $$;
