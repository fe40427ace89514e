-- Whether any account of a batch could be short of money or leave 64 bits, whatever subset of the batch is posted:
-- gross debits against what is available now, gross movement against the range. False for almost every batch.
create or replace function ledger.may_fail(transfers jsonb) returns boolean
language sql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  select exists (
    select
    from (
      select p.account_id, sum(greatest(-p.amount, 0)) as debits, sum(abs(p.amount::numeric)) as movement
      from jsonb_array_elements(transfers) t(value),
           jsonb_to_recordset(t.value -> 'postings') as p(account_id uuid, amount bigint)
      group by p.account_id
    ) batch,
    lateral (select posted, reserved, non_negative from ledger.accounts where id = batch.account_id offset 0) a
    where (a.non_negative and batch.debits > a.posted - a.reserved)
       or abs(a.posted::numeric) + batch.movement > 9223372036854775807
  );
$$;
