-- Payments as time would have left them, for the rows that ask what growth costs: $1 the first number, $2 the last one
-- (excluded), $3 how many there will be in all, $4 which half of the vendors (0 or 1), so that two connections can fill
-- at once. Every row that a plain payment leaves, through the indexes, oldest first, over the last 90 days:
--   a tenth of the payments is of two vendors, a tenth of ten, the rest of all others.
-- Only the hashes are not those of their entries.
with numbered as materialized (
  select i, i / 2 as k, now() - interval '90 days' * (1 - i::double precision / $3) as at
  from generate_series($1::integer, $2::integer - 1) i
  where i % 2 = $4::integer
), made as materialized (
  select i, at, at - now() as age, v.tenant_id, v.external, v.payable, v.fees,
         100 + (i::bigint * 7919) % 9900 as amount, 30 + (i::bigint * 7919) % 9900 / 40 as fee
  from numbered
  join bench.vendors v on v.number = i % 2 + 2 * case k % 10
    when 0 then 0
    when 1 then 1 + k / 10 % 5
    else 6 + k::bigint * 4999 % ((select count(*) from bench.vendors) / 2 - 6)
  end
), identified as materialized (
  select *, uuidv7(age) as payment_id, uuidv7(age) as transfer_id, uuidv7(age) as entry_id,
         'order ' || lpad(to_hex(i), 8, '0') || '-' || lpad(i::text, 9, '0') as reference
  from made
), moved as (
  select m.i, m.at, m.transfer_id, p.account_id, p.amount,
         row_number() over account as step, sum(p.amount) over account as total
  from identified m,
       lateral (values (m.external, -m.amount), (m.payable, m.amount - m.fee), (m.fees, m.fee)) p(account_id, amount)
  window account as (partition by p.account_id order by m.i rows unbounded preceding)
), posted as materialized (
  select m.*, a.version + m.step as version, a.posted + m.total as balance
  from moved m join ledger.accounts a on a.id = m.account_id
), balances as (
  update ledger.accounts a set version = l.version, posted = l.balance
  from (select distinct on (account_id) account_id, version, balance from posted order by account_id, step desc) l
  where a.id = l.account_id
), entries as (
  insert into ledger.entries (account_id, version, transfer_id, amount, balance, created_at)
  select account_id, version, transfer_id, amount, balance, at from posted order by i
), transfers as (
  insert into ledger.transfers (id, tenant_id, kind, object_id, account_ids, versions, created_at)
  select m.transfer_id, m.tenant_id, 'payment', m.payment_id, p.account_ids, p.versions, m.at
  from identified m
  join (select i, array_agg(account_id order by account_id) as account_ids,
               array_agg(version order by account_id) as versions
        from posted group by i) p using (i)
  order by m.i
), keys as (
  insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, entry_id, created_at)
  select tenant_id, 'payments.create', md5(i::text), sha256(reference::bytea), 201, entry_id, at
  from identified order by i
), payments as (
  insert into payments.payments (tenant_id, id, version, state, mode, amount, currency, captured, fee, connector,
                                 payment_method, reference, metadata, created_at, updated_at)
  select tenant_id, payment_id, 1, 'succeeded', 'test', amount, 'USD', amount, fee, 'book', 'book', reference, '{}', at, at
  from identified order by i
)
insert into journal.entries (tenant_id, id, kind, result, actor, origin, request_id, object_type, object_id,
                             object_version, snapshot, transfer_id, hash, timestamp)
select tenant_id, entry_id, 'payment.succeeded', 'success', 'client:bench_' || tenant_id, '127.0.0.1',
       'req_' || substr(md5(i::text), 1, 26), 'payment', payment_id, 1,
       jsonb_build_object(
         'id', 'pay_' || substr(md5('p' || i), 1, 26), 'object', 'payment', 'mode', 'test', 'status', 'succeeded',
         'amount', (amount / 100.0)::numeric(20, 2)::text, 'amount_minor', amount::text, 'currency', 'USD',
         'amount_captured', (amount / 100.0)::numeric(20, 2)::text, 'amount_captured_minor', amount::text,
         'amount_refunded', '0.00', 'amount_refunded_minor', '0',
         'fee', (fee / 100.0)::numeric(20, 2)::text, 'fee_minor', fee::text,
         'reference', reference, 'description', null, 'customer_id', null, 'payment_method', 'book',
         'failure_code', null, 'metadata', '{}'::jsonb, 'version', 1, 'created_at', at, 'updated_at', at),
       transfer_id, sha256(payment_id::text::bytea), at
from identified order by i;
