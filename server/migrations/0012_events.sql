-- Events are listed in the order of their positions, which is the order in which they were sealed: what is committed late
-- comes late, so whoever goes on from a position misses nothing.

create index positions_tenant on journal.positions (tenant_id, position);

drop view events.events;
create view events.events as
select p.position, e.tenant_id, e.id, e.kind as type,
       (select t.mode from vendors.tenants t where t.id = e.tenant_id) as mode, -- no join: it would lead the planner astray
       e.object_type, e.object_id, e.object_version as sequence, e.snapshot as data, e.timestamp as created_at
from journal.positions p
join journal.entries e on e.tenant_id = p.tenant_id and e.id = p.entry_id
where e.result = 'success'
  and split_part(e.kind, '.', 1) in ('payment', 'refund', 'customer', 'webhook_endpoint', 'reconciliation');

grant select on events.events to florin_service, florin_maintenance;
