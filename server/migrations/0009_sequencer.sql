-- The journal in one order, under signed heads. The sequencer (server/src/journal/sequencer.ts) is the only writer of these
-- tables and only inserts; those who write entries do not wait for it.

-- Which transaction wrote an entry, so that the sequencer finds what was committed since it last looked, late committers
-- included. Entries that are here already all get the number of this migration. It is no part of an entry's hash.
alter table journal.entries add column xid xid8 not null default pg_current_xact_id();
create index entries_xid on journal.entries (xid);

-- What is sealed: the leaves of the Merkle tree.
create table journal.positions (
  position  bigint  primary key check (position >= 0),  -- from 0, without gaps
  tenant_id integer not null,
  entry_id  uuid    not null,
  leaf      bytea   not null check (octet_length(leaf) = 32)
);
create unique index positions_entry on journal.positions (entry_id);

-- Every fourth level of the tree above its leaves, once complete: node (4, 2) is over the positions 32 to 47. What is between is
-- computed from at most eight of these.
create table journal.nodes (
  level smallint not null check (level > 0 and level % 4 = 0),
  index bigint   not null check (index >= 0),
  hash  bytea    not null check (octet_length(hash) = 32),
  primary key (level, index)
);

-- Signed tree heads.
create table journal.heads (
  number     bigint      primary key check (number > 0),   -- from 1, without gaps
  size       bigint      not null unique check (size > 0), -- over the positions below it
  root       bytea       not null check (octet_length(root) = 32),
  timestamp  timestamptz not null check (timestamp = date_trunc('milliseconds', timestamp)), -- as it is signed
  signatures jsonb       not null,                         -- [{key_id, signature}]; two while a key is being replaced
  snapshot   pg_snapshot not null,                         -- what this one sees is sealed: where to go on
  cluster    bigint      not null                          -- the database cluster whose transactions it counts
);

-- Public keys that signed heads, for good.
create table journal.keys (
  id          text        primary key,                     -- SHA-256 of the public key, shortened
  public_key  bytea       not null,                        -- Ed25519, as SubjectPublicKeyInfo
  created_at  timestamptz not null,
  endorsed_by text,                                        -- the key before it,
  endorsement bytea,                                       -- and its signature over this one
  check ((endorsed_by is null) = (endorsement is null))
);

grant select, insert on journal.positions, journal.nodes, journal.heads, journal.keys to florin_service;
grant select on journal.positions, journal.nodes, journal.heads, journal.keys to florin_maintenance;
