-- Refuses what no writer may ask for: invariant 1 (per currency, a transfer sums to zero) and the border between tenants.
create or replace function ledger.assert_transfers(transfers jsonb, postings jsonb) returns void
language plpgsql
set enable_seqscan = off
as $$
declare
  wrong text;
begin
  select t.id::text into wrong
  from jsonb_to_recordset(transfers) as t(ord integer, id uuid, tenant_id integer)
  left join jsonb_to_recordset(postings) as p(ord integer, account_id uuid, amount bigint) using (ord)
  left join lateral (
    select tenant_id, currency from ledger.accounts where id = p.account_id offset 0
  ) a on true
  group by t.id, a.currency
  having sum(p.amount) is distinct from 0 or count(*) < 2 or count(*) <> count(distinct p.account_id)
      or bool_or(a.tenant_id is distinct from t.tenant_id) or bool_or(p.amount = 0)
  limit 1;
  if wrong is not null then
    raise exception 'transfer % does not sum to zero per currency between accounts of its tenant', wrong
      using errcode = 'integrity_constraint_violation';
  end if;
end $$;
