-- Double entry. Transfers, entries and holds are insert-only, by grant; an account's balances are updated in place.
-- An amount is in minor units: above zero credits the account, below zero debits it, and a balance is credits minus debits.

create schema ledger;

create table ledger.accounts (
  id           uuid        primary key,
  tenant_id    integer     not null,
  currency     text        not null check (currency ~ '^[A-Z]{3}$'),
  code         text        not null,                  -- payable, fees, external:<connector>
  non_negative boolean     not null,
  created_at   timestamptz not null,
  posted       bigint      not null default 0,
  pending      bigint      not null default 0 check (pending >= 0),     -- held for this account, available to nobody
  reserved     bigint      not null default 0 check (reserved >= 0),    -- held against this account
  version      bigint      not null default 0,                          -- number of entries
  unique (tenant_id, currency, code),
  check (not non_negative or posted - reserved >= 0)
) with (fillfactor = 50);

create table ledger.transfers (
  id          uuid        primary key,                -- UUIDv7, made by the writer
  tenant_id   integer     not null,
  kind        text        not null,                   -- payment, capture, refund, correction
  object_id   uuid        not null,                   -- the payment, refund … it belongs to
  account_ids uuid[]      not null,                   -- with `versions`, the keys of its entries
  versions    bigint[]    not null,
  created_at  timestamptz not null,
  check (cardinality(account_ids) >= 2 and cardinality(account_ids) = cardinality(versions))
);

create table ledger.entries (
  account_id  uuid        not null,
  version     bigint      not null,                   -- the account's own count: 1, 2, 3 …
  transfer_id uuid        not null,
  amount      bigint      not null check (amount <> 0),
  balance     bigint      not null,                   -- posted balance after this entry
  created_at  timestamptz not null,
  primary key (account_id, version)
);

create table ledger.holds (
  id                uuid        primary key,
  tenant_id         integer     not null,
  object_id         uuid        not null,
  debit_account_id  uuid        not null,
  credit_account_id uuid        not null,
  amount            bigint      not null check (amount > 0),
  created_at        timestamptz not null
);

-- A hold ends once: with a capture of all or a part, or with nothing. What is not captured is released.
create table ledger.hold_endings (
  hold_id     uuid        primary key,
  captured    bigint      not null check (captured >= 0),
  transfer_id uuid,
  created_at  timestamptz not null,
  check ((captured > 0) = (transfer_id is not null))
);

grant usage on schema ledger to florin_service, florin_maintenance;
grant select, insert on all tables in schema ledger to florin_service;
grant update (posted, pending, reserved, version, non_negative) on ledger.accounts to florin_service;
grant select on all tables in schema ledger to florin_maintenance;
