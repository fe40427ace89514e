-- What payment backends say that they did, compared with what is known here, and what was done where the two differ.

create schema reconciliation;

create table reconciliation.runs (
  tenant_id    integer     not null,
  id           uuid        not null,
  version      integer     not null check (version > 0),
  connector    text        not null,
  period_from  timestamptz not null,
  period_until timestamptz not null,                   -- not included
  digest       bytea       not null check (octet_length(digest) = 32), -- SHA-256 of the statement
  lines        integer     not null,
  matched      integer     not null,
  breaks       integer     not null,
  types        jsonb       not null,                   -- breaks by their type: {"duplicate": 2}
  corrected    integer     not null default 0,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  primary key (tenant_id, id),
  check (period_from < period_until),
  check (0 <= corrected and corrected <= breaks)
);

-- Where the two differ. Never changed: what is done about it is a correction.
create table reconciliation.breaks (
  tenant_id         integer not null,
  run_id            uuid    not null,
  number            integer not null check (number > 0),
  type              text    not null check (type in ('missing_here', 'missing_there', 'status_differs', 'currency_differs',
                                                     'amount_differs', 'fee_differs', 'duplicate')),
  kind              text    not null check (kind in ('charge', 'refund')),
  line              integer,                           -- of the statement; null: it has none
  reference         text,
  backend_reference text,
  movement_id       uuid,                              -- what it is compared with: a call, a payment, a refund, or an earlier correction
  operation_id      uuid,
  payment_id        uuid,
  refund_id         uuid,
  here_status       text,
  here_amount       bigint,
  here_currency     text,
  here_fee          bigint,
  here_at           timestamptz,
  there_status      text,
  there_amount      bigint,
  there_currency    text,
  there_fee         bigint,
  there_at          timestamptz,
  told_before       boolean not null,                  -- a duplicate that the statement tells twice; it did not happen twice
  fact              text    not null,                  -- names what differs, the same in every run: corrected once
  primary key (tenant_id, run_id, number)
);

create table reconciliation.corrections (
  tenant_id   integer     not null,
  run_id      uuid        not null,
  number      integer     not null,                    -- of the break
  transfer_id uuid        not null unique,
  connector   text        not null,
  fact        text        not null,
  against     text        not null check (against in ('corrections', 'payable')),
  reason      text        not null check (length(reason) between 1 and 500),
  actor       text        not null,
  created_at  timestamptz not null,
  primary key (tenant_id, run_id, number)
);
-- The same fact can be a break of many runs. It is corrected in one of them.
create unique index corrections_fact on reconciliation.corrections (tenant_id, connector, fact);

-- What one comparison works on, removed when it ends. Whoever is killed leaves rows behind, which a later one removes.
create unlogged table reconciliation.lines (
  run_id            uuid        not null,
  line              integer     not null,
  kind              text        not null,
  reference         text        not null,
  operation_id      uuid,                              -- what the reference names, if it is an id of ours
  payment_id        uuid,
  refund_id         uuid,
  backend_reference text,
  amount            bigint      not null,
  currency          text        not null,
  status            text        not null,
  at                timestamptz not null,
  fee               bigint,
  primary key (run_id, line)
);

create unlogged table reconciliation.movements (
  run_id       uuid        not null,
  movement_id  uuid        not null,
  kind         text        not null,
  operation_id uuid,
  payment_id   uuid,
  refund_id    uuid,
  status       text        not null,
  amount       bigint      not null,
  currency     text        not null,
  fee          bigint,
  at           timestamptz not null,
  fact         text,                                   -- of a line that only a correction brought into the books
  corrections  integer     not null,                   -- how often it was corrected
  primary key (run_id, movement_id)
);

-- Which line is which movement.
create unlogged table reconciliation.pairs (
  run_id      uuid    not null,
  line        integer not null,
  movement_id uuid    not null,
  again       boolean not null,                        -- another line has the movement already
  primary key (run_id, line)
);

grant usage on schema reconciliation to florin_service, florin_maintenance;
grant select, insert on all tables in schema reconciliation to florin_service;
grant update (version, corrected, updated_at) on reconciliation.runs to florin_service;
grant delete on reconciliation.lines, reconciliation.movements, reconciliation.pairs to florin_service;
grant select on all tables in schema reconciliation to florin_maintenance;
