-- What payment backends tell by themselves, and where they contradict our books.

alter table payments.operations
  add column mismatches    text[] not null default '{}', -- how the backend contradicted our books: amount, outcome, reference
  add column mismatched_at timestamptz;                -- when it last did so in a new way

-- A backend names an operation by its id alone; what came before on a payment is found by the payment.
create unique index operations_id on payments.operations (id);
create index operations_payment on payments.operations (tenant_id, payment_id);

-- Each message of a backend that was proven to be its own, once. A repeated one changes nothing with or without this row.
create table payments.callbacks (
  connector    text        not null,
  id           text        not null check (length(id) <= 255), -- made by the backend
  operation_id uuid        not null,
  outcome      text        not null check (outcome in ('approved', 'declined', 'unknown')),
  result       text        not null check (result in ('settled', 'repeated', 'pending', 'mismatch', 'unknown_operation')),
  received_at  timestamptz not null,
  primary key (connector, id)
);
create index callbacks_received on payments.callbacks (received_at); -- for those who delete old ones

grant update (mismatches, mismatched_at) on payments.operations to florin_service;
grant select, insert on payments.callbacks to florin_service;
grant select, delete on payments.callbacks to florin_maintenance;
