-- Locks accounts in the order of their ids: whoever writes money takes its accounts here first, before idempotency keys,
-- so that two writers never wait for each other in a circle.
create or replace function ledger.lock_accounts(ids uuid[]) returns void
language plpgsql
-- A plan made while the table was empty must not scan it once it has grown.
set enable_seqscan = off
as $$
begin
  perform a.version
  from (select distinct unnest(ids) as id order by 1) wanted,
       lateral (select version from ledger.accounts where id = wanted.id offset 0 for no key update) a;
end $$;
