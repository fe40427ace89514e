-- Refuses what no writer may ask for: invariant 1 (per currency, a transfer sums to zero) and the border between tenants.
create or replace function ledger.assert_transfers(transfers jsonb) returns void
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
  wrong text;
begin
  select p.id::text into wrong
  from (
    select (t.value ->> 'id')::uuid as id, (t.value ->> 'tenant_id')::integer as tenant_id, p.account_id, p.amount
    from jsonb_array_elements(transfers) t(value)
    left join lateral jsonb_to_recordset(t.value -> 'postings') as p(account_id uuid, amount bigint) on true
  ) p
  left join lateral (
    select tenant_id, currency from ledger.accounts where id = p.account_id offset 0
  ) a on true
  group by p.id, a.currency
  having sum(p.amount) <> 0 or count(*) < 2 or count(*) <> count(distinct p.account_id)
      or bool_or(a.tenant_id is distinct from p.tenant_id) or bool_or(p.amount = 0)
  limit 1;
  if wrong is not null then
    raise exception 'transfer % does not sum to zero per currency between accounts of its tenant', wrong
      using errcode = 'integrity_constraint_violation';
  end if;
end $$;
