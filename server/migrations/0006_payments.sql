-- Payments, their refunds, and the calls to payment backends. Amounts are in minor units.

create schema payments;

create table payments.payments (
  tenant_id      integer     not null,
  id             uuid        not null,                 -- UUIDv7, made by the writer: sorts by time
  version        integer     not null check (version > 0),
  state          text        not null check (state in ('processing', 'requires_capture', 'succeeded',
                               'partially_refunded', 'refunded', 'canceled', 'failed', 'unknown')),
  mode           text        not null check (mode in ('test', 'live')),
  amount         bigint      not null check (amount > 0),
  currency       text        not null check (currency ~ '^[A-Z]{3}$'),
  captured       bigint      not null default 0,
  refunded       bigint      not null default 0,
  fee            bigint      not null default 0 check (fee >= 0),
  fee_returned   bigint      not null default 0,
  connector      text        not null,
  payment_method text        not null,
  reference      text,
  description    text,
  customer_id    uuid,
  hold_id        uuid,                                 -- the authorisation, while it is open and after
  failure_code   text,
  metadata       jsonb       not null,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  primary key (tenant_id, id),
  check (0 <= refunded and refunded <= captured and captured <= amount),
  check (0 <= fee_returned and fee_returned <= fee)
) with (fillfactor = 85);

create index payments_reference on payments.payments (tenant_id, reference, id) where reference is not null;
create index payments_customer on payments.payments (tenant_id, customer_id, id) where customer_id is not null;

create table payments.refunds (
  tenant_id    integer     not null,
  payment_id   uuid        not null,
  id           uuid        not null,
  version      integer     not null check (version > 0),
  state        text        not null check (state in ('processing', 'succeeded', 'failed', 'unknown')),
  amount       bigint      not null check (amount > 0),
  fee_returned bigint      not null check (fee_returned >= 0),
  hold_id      uuid,                                   -- the money set aside while the backend works
  reason       text,
  failure_code text,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  primary key (tenant_id, payment_id, id)
);

-- One row a call to a backend outside: written before the call, settled once after it. What stays open or unknown is
-- asked about, never called again with another reference.
create table payments.operations (
  tenant_id         integer     not null,
  id                uuid        not null,              -- our reference: the backend's idempotency key
  payment_id        uuid        not null,
  refund_id         uuid,
  kind              text        not null check (kind in ('authorise', 'capture', 'cancel', 'refund')),
  amount            bigint      not null check (amount > 0),
  fee               bigint      not null check (fee >= 0),  -- fixed when it was asked for
  capture           boolean     not null,              -- of an authorisation: charge at once
  state             text        not null check (state in ('open', 'approved', 'declined', 'unknown')),
  connector         text        not null,
  request           text        not null,              -- the request that asked for it: payments.create
  key               text,                              -- its idempotency key, whose answer waits for the outcome
  call_until        timestamptz not null,
  backend_reference text,
  created_at        timestamptz not null,
  settled_at        timestamptz,
  primary key (tenant_id, id)
);

create index operations_unsettled on payments.operations (call_until) where state in ('open', 'unknown');

grant usage on schema payments to florin_service, florin_maintenance;
grant select, insert on all tables in schema payments to florin_service;
grant update (version, state, captured, refunded, fee, fee_returned, hold_id, failure_code, updated_at)
  on payments.payments to florin_service;
grant update (version, state, failure_code, updated_at) on payments.refunds to florin_service;
grant update (state, backend_reference, settled_at) on payments.operations to florin_service;
grant select on all tables in schema payments to florin_maintenance;
