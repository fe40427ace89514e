-- Who pays. Personal data is only ever stored sealed under a key of that one person; destroying the key erases the person.

create schema customers;

create table customers.customers (
  tenant_id   integer     not null,
  id          uuid        not null,                    -- UUIDv7, made by the writer: sorts by time
  version     integer     not null check (version > 0),
  email_index bytea       check (octet_length(email_index) = 32),  -- keyed fingerprint of tenant and email; null once erased
  sealed      bytea,                                   -- email, name and phone, encrypted; null once erased
  metadata    jsonb       not null,                    -- the vendor's own keys and values, no personal data
  created_at  timestamptz not null,
  updated_at  timestamptz not null,
  erased_at   timestamptz,
  primary key (tenant_id, id),
  check ((email_index is null) = (erased_at is not null) and (sealed is null) = (erased_at is not null))
);

-- One email, one customer; it also answers the search by email.
create unique index customers_email on customers.customers (tenant_id, email_index) where email_index is not null;

-- A person's data key, itself encrypted by the master key or a KMS. Apart from the data, so that keys can be kept out of
-- backups: a restored backup does not bring an erased person back.
create table customers.keys (
  tenant_id   integer not null,
  customer_id uuid    not null,
  wrapped_key bytea   not null,
  primary key (tenant_id, customer_id),
  foreign key (tenant_id, customer_id) references customers.customers
);

grant usage on schema customers to florin_service, florin_maintenance;
grant select, insert on customers.customers, customers.keys to florin_service;
grant update (version, email_index, sealed, metadata, updated_at) on customers.customers to florin_service;
grant select on customers.customers to florin_maintenance;
