-- Operations whose call has ended without an answer are asked about by the worker: who asks, how often, and when next.

alter table payments.operations
  add column asks         integer not null default 0,
  add column asked_at     timestamptz,                 -- when the backend was last asked
  add column next_ask_at  timestamptz,                 -- not before; while somebody asks, until when it is theirs
  add column absent_since timestamptz,                 -- since when the backend says that it never heard of it
  add column entry_id     uuid;                        -- the journal entry that answers the request, once it is settled

-- By when they are due, which is what the worker looks for.
drop index payments.operations_unsettled;
create index operations_unsettled on payments.operations (coalesce(next_ask_at, call_until))
  where state in ('open', 'unknown');

grant update (asks, asked_at, next_ask_at, absent_since, entry_id) on payments.operations to florin_service;
