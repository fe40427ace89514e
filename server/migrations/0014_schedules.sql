-- What workers do again and again, and when next.

create schema operations;

create table operations.schedules (
  name        text        primary key,
  next_run_at timestamptz not null,                    -- while it runs: until when it is that worker's
  started_at  timestamptz,
  ended_at    timestamptz,
  runs        bigint      not null default 0,
  failures    integer     not null default 0,          -- in a row
  error       text,                                    -- of the last run
  removed     bigint                                   -- rows, by the last run
);

grant usage on schema operations to florin_service, florin_maintenance;
grant select, insert on operations.schedules to florin_service;
grant update (next_run_at, started_at, ended_at, runs, failures, error, removed) on operations.schedules to florin_service;
grant select on operations.schedules to florin_maintenance;
