-- The one append-only record of what happened, and the keys that make a repeated request harmless.

create schema journal;

create table journal.entries (
  tenant_id      integer     not null,
  id             uuid        not null,                 -- UUIDv7, made by the writer
  kind           text        not null,                 -- payment.succeeded, access.denied
  result         text        not null check (result in ('success', 'refused')),
  actor          text        not null,                 -- client:test_client_id, api_key:key_…, system:worker
  origin         text,                                 -- address of a vendor or platform caller
  request_id     text,
  object_type    text,
  object_id      uuid,
  object_version integer,                              -- null where nothing changed: refusals, security events
  snapshot       jsonb       not null,                 -- the object's public form, without personal data
  transfer_id    uuid,                                 -- the transfer that the hash covers
  hash           bytea       not null check (octet_length(hash) = 32),
  timestamp      timestamptz not null,
  primary key (tenant_id, id),
  check (object_version is null or (object_version > 0 and object_id is not null))
);

-- A version exists once: two writers can't both make version 3 of one object.
create unique index entries_object on journal.entries (object_id, object_version) where object_version is not null;

create table journal.idempotency_keys (
  tenant_id    integer     not null,
  operation    text        not null,                   -- the route template by its name: payments.create
  key          text        not null,
  request_hash bytea       not null,                   -- SHA-256 of body and path parameters
  status       smallint    not null,                   -- of the answer
  entry_id     uuid,                                   -- the entry whose snapshot is the answer
  refusal      jsonb,                                  -- or the refusal
  sealed       bytea,                                  -- encrypted part of an answer, e.g. a new API key
  open_until   timestamptz,                            -- a backend call runs at most until then; null once it is settled
  created_at   timestamptz not null,
  primary key (tenant_id, operation, key),
  check ((entry_id is null) <> (refusal is null))
);

grant usage on schema journal to florin_service, florin_maintenance;
grant select, insert on journal.entries to florin_service;
grant select, insert on journal.idempotency_keys to florin_service;
grant update (status, entry_id, refusal, open_until) on journal.idempotency_keys to florin_service;
grant select on journal.entries to florin_maintenance;
grant select, delete on journal.idempotency_keys to florin_maintenance;
