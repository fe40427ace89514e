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

-- Nobody waits for a row to be vacuumed to find the next: what changes while it is sent is in no index, and has room on its page.
create table webhooks.deliveries (
  tenant_id   integer     not null,
  id          uuid        not null,
  endpoint_id uuid        not null,
  event       text        not null collate "C",        -- its public id, evt_…: `webhook_events` is asked for it
  event_type  text        not null,
  object_id   uuid,
  position    bigint      not null,                    -- of the event
  replay      integer     not null default 0,          -- 0: told when it happened; else the number of the request to tell it again
  state       text        not null check (state in ('pending', 'delivered', 'failed', 'discarded')),
  ordered     boolean     not null,                    -- after what is pending of the same object
  waiting     boolean     not null,                    -- and there is something before it
  attempts    integer     not null default 0,          -- begun since it was last set to pending
  attempts_made integer   not null default 0,          -- begun ever: the number of the last one
  due_at      timestamptz not null,                    -- not before
  leased_until timestamptz,                            -- while somebody sends it: until when it is theirs
  last_number integer,                                 -- the last attempt that ended is kept here, for nearly all need no other one;
  last_at     timestamptz,                             -- those before it are in `attempts`
  last_status smallint,                                -- null: there was no answer, see `last_error`
  last_error  text,
  last_duration_ms integer,
  last_headers text,                                   -- of the answer, as JSON
  last_answer bytea       check (octet_length(last_answer) <= 1024),
  created_at  timestamptz not null,
  settled_at  timestamptz,
  primary key (tenant_id, id),
  check (ordered or not waiting)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create unique index deliveries_of_event on webhooks.deliveries (event, endpoint_id, replay);
create index deliveries_due on webhooks.deliveries (endpoint_id, due_at, id) where state = 'pending' and not waiting;
create index deliveries_order on webhooks.deliveries (endpoint_id, object_id, position, replay) where state = 'pending' and ordered;
create index deliveries_failed on webhooks.deliveries (tenant_id, id) where state = 'failed';

-- Attempts before the last one of a delivery.
create table webhooks.attempts (
  tenant_id       integer     not null,
  delivery_id     uuid        not null,
  number          integer     not null check (number > 0),
  at              timestamptz not null,
  status          smallint,
  error           text,
  duration_ms     integer     not null,
  headers         text,
  answer          bytea       check (octet_length(answer) <= 1024),
  primary key (delivery_id, number)
);

-- Requests to tell again what happened in a range of time. The worker works through the positions, some at a time.
create table webhooks.replays (
  tenant_id    integer     not null,
  endpoint_id  uuid        not null,
  number       integer     not null check (number > 0),
  from_at      timestamptz not null,
  before_at    timestamptz not null,
  events       text[]      not null,
  position     bigint      not null,                   -- where it goes on
  end_position bigint      not null,
  found        integer     not null default 0,         -- deliveries made
  state        text        not null check (state in ('running', 'done', 'canceled')),
  created_at   timestamptz not null,
  ended_at     timestamptz,
  primary key (endpoint_id, number),
  check (from_at < before_at),
  check ((state = 'running') = (ended_at is null))
);
create unique index replays_running on webhooks.replays (endpoint_id) where state = 'running';

-- How far events have become deliveries: everything below this position.
create table webhooks.progress (
  single   boolean primary key default true check (single),
  position bigint  not null check (position >= 0)
);
insert into webhooks.progress (position) select coalesce(max(position) + 1, 0) from journal.positions;

-- Deliveries as guide 001 has them; `update … set status = 'pending', retry_count = 0` sends again (functions/webhooks/redeliver.sql).
create view webhooks.webhook_events as
select d.event as id, d.event_type as type, d.state as status, greatest(d.attempts - 1, 0) as retry_count, w.url,
       d.last_status, d.last_error,
       case when d.state = 'pending' and not d.waiting then d.due_at end as next_attempt_at,
       d.created_at, d.settled_at, e.snapshot as payload, d.tenant_id, d.endpoint_id, d.id as delivery_id
from webhooks.deliveries d
left join webhooks.endpoints w on w.tenant_id = d.tenant_id and w.id = d.endpoint_id
left join journal.positions p on p.position = d.position
left join journal.entries e on e.tenant_id = p.tenant_id and e.id = p.entry_id;

grant usage on schema webhooks to florin_service, florin_maintenance;
grant select, insert on webhooks.endpoints, webhooks.secrets, webhooks.deliveries, webhooks.attempts, webhooks.replays
  to florin_service;
grant update (version, url, events, description, metadata, ordered, payload, state, disabled_reason, from_position,
              failures, failing_since, paused_until, updated_at) on webhooks.endpoints to florin_service;
grant update (expires_at) on webhooks.secrets to florin_service;
grant update (state, waiting, attempts, attempts_made, due_at, leased_until, last_number, last_at, last_status, last_error,
              last_duration_ms, last_headers, last_answer, settled_at)
  on webhooks.deliveries to florin_service;
grant update (position, found, state, ended_at) on webhooks.replays to florin_service;
grant select, update (status, retry_count) on webhooks.webhook_events to florin_service;
grant select, update (position) on webhooks.progress to florin_service;
grant select on all tables in schema webhooks to florin_maintenance;
grant delete on webhooks.deliveries, webhooks.attempts, webhooks.secrets, webhooks.replays to florin_maintenance;
