-- Posts transfers in the order of their `ord` and gives each its outcome:
--   posted               its entries are written
--   insufficient_funds   an account that may not go below zero has too little available
--   balance_overflow     a balance would leave 64 bits
-- `transfers`: [{ord, id, tenant_id, kind, object_id}], `postings`: [{ord, account_id, amount}], one per account and transfer.
-- A rejected transfer writes nothing and does not count against later ones. A transfer that is not a transfer (fewer than
-- two postings, a sum other than zero, a foreign account) raises: its writer is wrong, see lib/batch.ts for its neighbours.
create or replace function ledger.post_batch(transfers jsonb, postings jsonb, at timestamptz)
returns table (ord integer, outcome text)
language plpgsql
-- Accounts are probed one by one whatever else is joined: `offset 0` keeps the probe apart.
set enable_seqscan = off
as $$
declare
  may_fail boolean;
  rejected jsonb := '{}';
begin
  -- One probe an account, in the order of their ids: locks it, and asks whether any subset of the batch could leave it
  -- short (gross debits against what is available) or outside 64 bits (gross movement). Almost never.
  select coalesce(bool_or((a.non_negative and b.debits > a.posted - a.reserved)
                       or abs(a.posted::numeric) + b.movement > 9223372036854775807), false)
  into may_fail
  from (
    select p.account_id, sum(greatest(-p.amount, 0)) as debits, sum(abs(p.amount::numeric)) as movement
    from jsonb_to_recordset(postings) as p(account_id uuid, amount bigint)
    group by p.account_id order by p.account_id
  ) b,
  lateral (
    select posted, reserved, non_negative from ledger.accounts where id = b.account_id offset 0 for no key update
  ) a;
  perform ledger.assert_transfers(transfers, postings);
  if may_fail then
    rejected := ledger.rejections(postings);
  end if;

  with posting as (
    select p.ord, p.account_id, p.amount
    from jsonb_to_recordset(postings) as p(ord integer, account_id uuid, amount bigint)
    where rejected = '{}' or not rejected ? p.ord::text
  ), entry as (
    select p.ord, p.account_id, p.amount,
           a.version + row_number() over account as version,
           (a.posted + sum(p.amount) over account)::bigint as balance
    from posting p,
         lateral (select version, posted from ledger.accounts where id = p.account_id offset 0) a
    window account as (partition by p.account_id order by p.ord rows unbounded preceding)
  ), moved as (
    update ledger.accounts a
    set posted = last.balance, version = last.version
    from (select distinct on (account_id) account_id, version, balance from entry order by account_id, version desc) last
    where a.id = last.account_id
  ), transfer as (
    insert into ledger.transfers (id, tenant_id, kind, object_id, account_ids, versions, created_at)
    select t.id, t.tenant_id, t.kind, t.object_id, e.account_ids, e.versions, at
    from (select e.ord, array_agg(e.account_id order by e.account_id) as account_ids,
                 array_agg(e.version order by e.account_id) as versions
          from entry e group by e.ord order by e.ord) e
    join jsonb_to_recordset(transfers) as t(ord integer, id uuid, tenant_id integer, kind text, object_id uuid) using (ord)
  )
  insert into ledger.entries (account_id, version, transfer_id, amount, balance, created_at)
  select e.account_id, e.version, t.id, e.amount, e.balance, at
  from entry e join jsonb_to_recordset(transfers) as t(ord integer, id uuid) using (ord);

  return query
    select t.ord, coalesce(rejected ->> t.ord::text, 'posted')
    from jsonb_to_recordset(transfers) as t(ord integer);
end $$;
