-- Creates a batch of plain payments (captured at once, settled in our own books) in one transaction, in arrival order.
-- `items`: [{payment, transfer, entry, key?}], each as its table's function takes it. Outcome per item, by position:
--   created              written, and its key with it
--   repeated             the key is not new: the stored answer counts, see journal.idempotency_keys
--   insufficient_funds, balance_overflow   refused by the ledger; with a key, the refusal is its answer
-- Accounts are locked before keys, everywhere: that order keeps writers from waiting for each other in a circle.
create or replace function payments.create_batch(items jsonb, refusal_texts jsonb, at timestamptz)
returns table (ord integer, outcome text)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off
as $$
declare
  fresh jsonb;
  outcomes jsonb;
begin
  perform ledger.lock_accounts(array(
    select distinct (p ->> 'account_id')::uuid
    from jsonb_array_elements(items) i, jsonb_array_elements(i -> 'transfer' -> 'postings') p));

  with numbered as (
    select i.ord::integer as ord, i.item from jsonb_array_elements(items) with ordinality i(item, ord)
  ), claimed as (
    select k.ord
    from journal.claim_keys(
      (select coalesce(jsonb_agg((item -> 'key') || jsonb_build_object('ord', n.ord)), '[]')
       from numbered n where item ? 'key'), at) k
  )
  select coalesce(jsonb_agg(n.item || jsonb_build_object('ord', n.ord) order by n.ord), '[]') into fresh
  from numbered n
  where not n.item ? 'key' or n.ord in (select c.ord from claimed c);

  select coalesce(jsonb_object_agg(p.transfer_id, p.outcome), '{}') into outcomes
  from ledger.post_batch((select coalesce(jsonb_agg(f -> 'transfer'), '[]') from jsonb_array_elements(fresh) f), at) p;

  if exists (select from jsonb_each_text(outcomes) o where o.value <> 'posted') then
    perform journal.refuse_keys(
      (select coalesce(jsonb_agg((f -> 'key') || jsonb_build_object('refusal', jsonb_build_object(
                'code', outcomes ->> (f -> 'transfer' ->> 'id'),
                'detail', refusal_texts ->> (outcomes ->> (f -> 'transfer' ->> 'id'))))), '[]')
       from jsonb_array_elements(fresh) f
       where f ? 'key' and outcomes ->> (f -> 'transfer' ->> 'id') <> 'posted'));
  end if;

  perform payments.insert(
    (select coalesce(jsonb_agg(f -> 'payment'), '[]') from jsonb_array_elements(fresh) f
     where outcomes ->> (f -> 'transfer' ->> 'id') = 'posted'));
  perform journal.append(
    (select coalesce(jsonb_agg(f -> 'entry'), '[]') from jsonb_array_elements(fresh) f
     where outcomes ->> (f -> 'transfer' ->> 'id') = 'posted'));

  return query
    select i.ord::integer,
           coalesce(case outcomes ->> (i.item -> 'transfer' ->> 'id')
                      when 'posted' then 'created' else outcomes ->> (i.item -> 'transfer' ->> 'id') end, 'repeated')
    from jsonb_array_elements(items) with ordinality i(item, ord);
end $$;
