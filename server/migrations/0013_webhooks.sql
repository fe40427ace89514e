-- Where vendors are told what happened, and every attempt to tell them. The deliveries are the queue.

create schema webhooks;

create table webhooks.endpoints (
  tenant_id       integer     not null,
  id              uuid        not null,
  version         integer     not null check (version > 0),
  url             text        not null check (length(url) <= 2048),
  events          text[]      not null check (cardinality(events) between 1 and 100), -- payment.*, refund.succeeded, *
  description     text,
  metadata        jsonb       not null,
  ordered         boolean     not null,                -- events of one object one after the other
  payload         text        not null check (payload in ('full', 'thin')),
  state           text        not null check (state in ('enabled', 'disabled', 'deleted')),
  disabled_reason text        check (disabled_reason in ('requested', 'gone', 'failing')),
  from_position   bigint      not null,                -- events from here on are its own; set again when it is enabled
  failures        integer     not null default 0,      -- in a row, since the last delivery that was accepted
  failing_since   timestamptz,
  paused_until    timestamptz,                         -- the circuit is open: nothing is sent before
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  primary key (tenant_id, id),
  check ((state = 'disabled') = (disabled_reason is not null))
);
create unique index endpoints_id on webhooks.endpoints (id);

-- What deliveries are signed with. The newest has no end; those before it sign too until theirs.
create table webhooks.secrets (
  endpoint_id uuid        not null,
  number      integer     not null check (number > 0),
  tenant_id   integer     not null,
  sealed      bytea       not null,                    -- AES-256-GCM, context webhooks.secrets:<we_…>:<number>
  created_at  timestamptz not null,
  expires_at  timestamptz,
  primary key (endpoint_id, number)
);

create table webhooks.deliveries (
  tenant_id   integer     not null,
  id          uuid        not null,
  endpoint_id uuid        not null,
  event_id    uuid        not null,                    -- the journal entry
  event_type  text        not null,
  object_id   uuid,
  position    bigint      not null,                    -- of the event
  replay      integer     not null default 0,          -- 0: told when it happened; else the number of the request to tell it again
  state       text        not null check (state in ('pending', 'delivered', 'failed', 'discarded')),
  attempts    integer     not null default 0,          -- begun since it was last set to pending
  attempts_made integer   not null default 0,          -- begun ever: the number of the last one
  due_at      timestamptz not null,                    -- not before; while somebody sends it, until when it is theirs
  last_status smallint,
  last_error  text,
  created_at  timestamptz not null,
  settled_at  timestamptz,
  primary key (tenant_id, id)
);
create unique index deliveries_event on webhooks.deliveries (endpoint_id, position, replay);
create index deliveries_of_event on webhooks.deliveries (event_id);
create index deliveries_due on webhooks.deliveries (endpoint_id, due_at) where state = 'pending';
create index deliveries_order on webhooks.deliveries (endpoint_id, object_id, position) where state = 'pending';
create index deliveries_failed on webhooks.deliveries (tenant_id, id) where state = 'failed';

create table webhooks.attempts (
  tenant_id       integer     not null,
  delivery_id     uuid        not null,
  number          integer     not null check (number > 0),
  at              timestamptz not null,
  status          smallint,                            -- null: there was no answer, see `error`
  error           text,
  duration_ms     integer     not null,
  request_headers jsonb       not null,                -- without signatures
  answer_headers  jsonb,
  answer          bytea       check (octet_length(answer) <= 1024),
  primary key (delivery_id, number)
);
create index attempts_at on webhooks.attempts (at);

-- How far events have become deliveries: everything below this position.
create table webhooks.progress (
  single   boolean primary key default true check (single),
  position bigint  not null check (position >= 0)
);
insert into webhooks.progress (position) select coalesce(max(position) + 1, 0) from journal.positions;

grant usage on schema webhooks to florin_service, florin_maintenance;
grant select, insert on webhooks.endpoints, webhooks.secrets, webhooks.deliveries, webhooks.attempts to florin_service;
grant update (version, url, events, description, metadata, ordered, payload, state, disabled_reason, from_position,
              failures, failing_since, paused_until, updated_at) on webhooks.endpoints to florin_service;
grant update (expires_at) on webhooks.secrets to florin_service;
grant update (state, attempts, attempts_made, due_at, last_status, last_error, settled_at) on webhooks.deliveries to florin_service;
grant select, update (position) on webhooks.progress to florin_service;
grant select on all tables in schema webhooks to florin_maintenance;
grant delete on webhooks.deliveries, webhooks.attempts, webhooks.secrets to florin_maintenance;
