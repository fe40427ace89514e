-- Who is paid: vendors, their two tenants (test and live), and the credentials by which they and the platform call.

create schema vendors;

create table vendors.vendors (
  id                   uuid        primary key,
  slug                 text        not null unique check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 63),
  name                 text        not null check (length(name) between 1 and 200),
  enabled              boolean     not null,
  version              integer     not null check (version > 0),
  fee_basis_points     integer     not null check (fee_basis_points between 0 and 10000),
  fee_fixed            jsonb       not null,           -- minor units per currency: {"USD": "30"}
  idempotency_required boolean     not null,
  overdraft_allowed    boolean     not null,
  created_at           timestamptz not null,
  updated_at           timestamptz not null
);

-- The surrogate of (vendor, mode) that every other table carries. 0 is the platform itself and has no row.
create table vendors.tenants (
  id        integer generated always as identity (start with 1) primary key,
  vendor_id uuid    not null references vendors.vendors,
  mode      text    not null check (mode in ('test', 'live')),
  unique (vendor_id, mode)
);

-- The vault is the truth for client secrets: here is only where a secret lies, never the secret or a hash of it.
create table vendors.clients (
  client_id      text        primary key check (client_id ~ '^[A-Za-z0-9._-]{3,64}$'),
  tenant_id      integer     not null references vendors.tenants,
  role           text        not null check (role in ('viewer', 'developer', 'finance', 'admin')),
  secret_path    text        not null,
  valid_versions text[]      check (cardinality(valid_versions) > 0),  -- null: the current version; two while a rotation runs
  created_at     timestamptz not null,
  last_used_at   timestamptz,
  revoked_at     timestamptz
);
create index clients_tenant on vendors.clients (tenant_id);

create table vendors.api_keys (
  id             uuid        primary key,
  tenant_id      integer     not null,                                 -- 0: a key of the platform
  default_vendor uuid        references vendors.vendors,               -- whom a platform key acts for when it names nobody
  mode           text        not null check (mode in ('test', 'live')),
  role           text        not null check (role in ('viewer', 'developer', 'finance', 'admin')),
  digest         bytea       not null unique check (octet_length(digest) = 32),
  prefix         text        not null,                                 -- how people tell keys apart
  name           text        not null check (length(name) between 1 and 200),
  version        integer     not null check (version > 0),
  created_at     timestamptz not null,
  expires_at     timestamptz,
  last_used_at   timestamptz,
  revoked_at     timestamptz,
  check (tenant_id = 0 or default_vendor is null)
);
create index api_keys_tenant on vendors.api_keys (tenant_id, id);

-- What the caches of every edge have to forget. Ids are in the order of commit: `vendors.revoke` sees to it.
create table vendors.revocations (
  id      bigint      generated always as identity primary key,
  kind    text        not null check (kind in ('vendor', 'client', 'api_key', 'token')),
  subject text        not null,                                        -- ven_…, client id, key_…, or a token's jti
  at      timestamptz not null
);

grant usage on schema vendors to florin_service, florin_maintenance;
grant select, insert on all tables in schema vendors to florin_service;
grant update (name, enabled, version, fee_basis_points, fee_fixed, idempotency_required, overdraft_allowed, updated_at)
  on vendors.vendors to florin_service;
grant update (valid_versions, last_used_at, revoked_at) on vendors.clients to florin_service;
grant update (version, last_used_at, revoked_at) on vendors.api_keys to florin_service;
grant select on all tables in schema vendors to florin_maintenance;
grant delete on vendors.revocations to florin_maintenance;
