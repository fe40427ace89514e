-- Creates a batch of plain payments (captured at once, settled in our own books) in one transaction, in the order of `ord`.
-- Every array holds objects with `ord`, the position of their payment, as the function of its table takes them: `payments`,
-- `transfers` and `postings`, `entries` (of the journal), and `keys` of those that have one. Outcome per position:
--   created              written, and its key with it
--   repeated             the key is not new: the stored answer counts, see journal.idempotency_keys
--   insufficient_funds, balance_overflow   refused by the ledger; with a key, the refusal is its answer
-- Accounts are locked before keys, everywhere: that order keeps writers from waiting for each other in a circle.
create or replace function payments.create_batch(payments jsonb, transfers jsonb, postings jsonb, entries jsonb, keys jsonb,
                                                 refusal_texts jsonb, at timestamptz)
returns table (ord integer, outcome text)
language plpgsql as $$
declare
  ords integer[] := array(select p.ord from jsonb_to_recordset(payments) as p(ord integer));
  repeated integer[];
  rejected jsonb;
begin
  perform ledger.lock_accounts(array(
    select distinct p.account_id from jsonb_to_recordset(postings) as p(account_id uuid)));

  repeated := array(
    select k.ord from jsonb_to_recordset(keys) as k(ord integer)
    except select c.ord from journal.claim_keys(keys, at) c);
  if repeated <> '{}' then
    payments := payments.without(payments, repeated);
    transfers := payments.without(transfers, repeated);
    postings := payments.without(postings, repeated);
    entries := payments.without(entries, repeated);
    keys := payments.without(keys, repeated);
  end if;

  select jsonb_object_agg(p.ord, p.outcome) into rejected
  from ledger.post_batch(transfers, postings, at) p
  where p.outcome <> 'posted';
  if rejected is not null then
    perform journal.refuse_keys((
      select coalesce(jsonb_agg(k || jsonb_build_object('refusal', jsonb_build_object(
               'code', rejected ->> (k ->> 'ord'), 'detail', refusal_texts ->> (rejected ->> (k ->> 'ord'))))), '[]')
      from jsonb_array_elements(keys) k where rejected ? (k ->> 'ord')));
    payments := payments.without(payments, array(select jsonb_object_keys(rejected)::integer));
    entries := payments.without(entries, array(select jsonb_object_keys(rejected)::integer));
  end if;

  perform payments.insert(payments);
  perform journal.append(entries);
  return query
    select o.ord, case when o.ord = any (repeated) then 'repeated' else coalesce(rejected ->> o.ord::text, 'created') end
    from unnest(ords) o(ord);
end $$;
