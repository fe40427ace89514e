-- Two views of the one log: what vendors are told, and who did what.

create schema events;
create schema audit;

create view events.events as
select e.tenant_id, e.id, e.kind as type, e.object_type, e.object_id, e.object_version as sequence, e.snapshot as data,
       e.timestamp as created_at
from journal.entries e
where e.result = 'success'
  and split_part(e.kind, '.', 1) in ('payment', 'refund', 'customer');

-- Guide 001 asks for `audit_log` with a column `timestamp`.
create view audit.audit_log as
select e.timestamp, e.id, e.tenant_id, e.actor, e.kind as action, e.result, e.origin, e.request_id, e.object_type,
       e.object_id, e.object_version, e.snapshot as details
from journal.entries e;

grant usage on schema events, audit to florin_service, florin_maintenance;
grant select on events.events, audit.audit_log to florin_service, florin_maintenance;
