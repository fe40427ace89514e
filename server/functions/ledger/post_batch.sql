-- Posts transfers in the order of the array and gives each its outcome:
--   posted               its entries are written
--   insufficient_funds   an account that may not go below zero has too little available
--   balance_overflow     a balance would leave 64 bits
-- `transfers`: [{id, tenant_id, kind, object_id, postings: [{account_id, amount}]}], at most one posting per account.
-- A rejected transfer writes nothing and does not count against later ones. A transfer that is not a transfer (fewer than
-- two postings, a sum other than zero, a foreign account) raises: its writer is wrong, see lib/batch.ts for its neighbours.
create or replace function ledger.post_batch(transfers jsonb, at timestamptz)
returns table (transfer_id uuid, outcome text)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off
as $$
declare
  rejected jsonb := '{}';
begin
  perform ledger.lock_accounts(array(
    select distinct p.account_id
    from jsonb_array_elements(transfers) t, jsonb_to_recordset(t -> 'postings') as p(account_id uuid, amount bigint)));
  perform ledger.assert_transfers(transfers);
  if ledger.may_fail(transfers) then
    rejected := ledger.rejections(transfers);
  end if;

  with posting as (
    select t.ord, (t.value ->> 'id')::uuid as transfer_id, p.account_id, p.amount
    from jsonb_array_elements(transfers) with ordinality t(value, ord),
         jsonb_to_recordset(t.value -> 'postings') as p(account_id uuid, amount bigint)
    where not rejected ? (t.value ->> 'id')
  ), entry as (
    select p.ord, p.transfer_id, p.account_id, p.amount,
           a.version + row_number() over account as version,
           (a.posted + sum(p.amount) over account)::bigint as balance
    from posting p,
         lateral (select version, posted from ledger.accounts where id = p.account_id offset 0) a
    window account as (partition by p.account_id order by p.ord rows unbounded preceding)
  ), written as (
    insert into ledger.entries (account_id, version, transfer_id, amount, balance, created_at)
    select e.account_id, e.version, e.transfer_id, e.amount, e.balance, at from entry e
  ), moved as (
    update ledger.accounts a
    set posted = last.balance, version = last.version
    from (select distinct on (account_id) account_id, version, balance from entry order by account_id, version desc) last
    where a.id = last.account_id
  )
  insert into ledger.transfers (id, tenant_id, kind, object_id, account_ids, versions, created_at)
  select t.id, t.tenant_id, t.kind, t.object_id, e.account_ids, e.versions, at
  from jsonb_to_recordset(transfers) as t(id uuid, tenant_id integer, kind text, object_id uuid)
  join (select e.transfer_id, array_agg(e.account_id order by e.account_id) as account_ids,
               array_agg(e.version order by e.account_id) as versions
        from entry e group by e.transfer_id) e on e.transfer_id = t.id;

  return query
    select (t ->> 'id')::uuid, coalesce(rejected ->> (t ->> 'id'), 'posted')
    from jsonb_array_elements(transfers) t;
end $$;
