-- Made from a migrated database; see schema-dump.ts. Change the migrations and functions, not this file.

create schema audit;
grant usage on schema audit to florin_maintenance;
grant usage on schema audit to florin_service;

create view audit.audit_log (
  "timestamp" timestamp with time zone,
  id uuid,
  tenant_id integer,
  actor text,
  action text,
  result text,
  origin text,
  request_id text,
  object_type text,
  object_id uuid,
  object_version integer,
  details jsonb
) as select … from journal.entries;
grant select on audit.audit_log to florin_maintenance;
grant select on audit.audit_log to florin_service;


create schema customers;
grant usage on schema customers to florin_maintenance;
grant usage on schema customers to florin_service;

create table customers.customers (
  tenant_id integer not null,
  id uuid not null,
  version integer not null,
  email_index bytea,
  sealed bytea,
  metadata jsonb not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  erased_at timestamp with time zone,
  constraint customers_pkey PRIMARY KEY (tenant_id, id),
  constraint customers_check CHECK ((email_index IS NULL) = (erased_at IS NOT NULL) AND (sealed IS NULL) = (erased_at IS NOT NULL)),
  constraint customers_email_index_check CHECK (octet_length(email_index) = 32),
  constraint customers_version_check CHECK (version > 0)
);
CREATE UNIQUE INDEX customers_email ON customers.customers USING btree (tenant_id, email_index) WHERE (email_index IS NOT NULL);
grant insert, select, update (email_index, metadata, sealed, updated_at, version) on customers.customers to florin_service;
grant select on customers.customers to florin_maintenance;

create table customers.keys (
  tenant_id integer not null,
  customer_id uuid not null,
  wrapped_key bytea not null,
  constraint keys_tenant_id_customer_id_fkey FOREIGN KEY (tenant_id, customer_id) REFERENCES customers.customers(tenant_id, id),
  constraint keys_pkey PRIMARY KEY (tenant_id, customer_id)
);
grant insert, select on customers.keys to florin_service;


create schema events;
grant usage on schema events to florin_maintenance;
grant usage on schema events to florin_service;

create view events.events (
  "position" bigint,
  tenant_id integer,
  id uuid,
  type text,
  mode text,
  object_type text,
  object_id uuid,
  sequence integer,
  data jsonb,
  created_at timestamp with time zone
) as select … from journal.entries, journal.positions, vendors.tenants;
grant select on events.events to florin_maintenance;
grant select on events.events to florin_service;

create function events.at_positions(positions bigint[]) returns SETOF events.events language plpgsql stable set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function events.position_at(tenant integer, since timestamp with time zone) returns bigint language plpgsql stable;


create schema journal;
grant usage on schema journal to florin_maintenance;
grant usage on schema journal to florin_service;

create table journal.entries (
  tenant_id integer not null,
  id uuid not null,
  kind text not null,
  result text not null,
  actor text not null,
  origin text,
  request_id text,
  object_type text,
  object_id uuid,
  object_version integer,
  snapshot jsonb not null,
  transfer_id uuid,
  hash bytea not null,
  "timestamp" timestamp with time zone not null,
  xid xid8 not null default pg_current_xact_id(),
  constraint entries_pkey PRIMARY KEY (tenant_id, id),
  constraint entries_check CHECK (object_version IS NULL OR object_version > 0 AND object_id IS NOT NULL),
  constraint entries_hash_check CHECK (octet_length(hash) = 32),
  constraint entries_result_check CHECK (result = ANY (ARRAY['success'::text, 'refused'::text]))
);
CREATE UNIQUE INDEX entries_object ON journal.entries USING btree (object_id, object_version) WHERE (object_version IS NOT NULL);
CREATE INDEX entries_xid ON journal.entries USING btree (xid);
grant insert, select on journal.entries to florin_service;
grant select on journal.entries to florin_maintenance;

create table journal.heads (
  number bigint not null,
  size bigint not null,
  root bytea not null,
  "timestamp" timestamp with time zone not null,
  signatures jsonb not null,
  snapshot pg_snapshot not null,
  cluster bigint not null,
  constraint heads_pkey PRIMARY KEY (number),
  constraint heads_size_key UNIQUE (size),
  constraint heads_number_check CHECK (number > 0),
  constraint heads_root_check CHECK (octet_length(root) = 32),
  constraint heads_size_check CHECK (size > 0),
  constraint heads_timestamp_check CHECK ("timestamp" = date_trunc('milliseconds'::text, "timestamp"))
);
grant insert, select on journal.heads to florin_service;
grant select on journal.heads to florin_maintenance;

create table journal.idempotency_keys (
  tenant_id integer not null,
  operation text not null,
  key text not null,
  request_hash bytea not null,
  status smallint not null,
  entry_id uuid,
  refusal jsonb,
  sealed bytea,
  open_until timestamp with time zone,
  created_at timestamp with time zone not null,
  constraint idempotency_keys_pkey PRIMARY KEY (tenant_id, operation, key),
  constraint idempotency_keys_check CHECK ((entry_id IS NULL) <> (refusal IS NULL))
);
grant delete, select on journal.idempotency_keys to florin_maintenance;
grant insert, select, update (entry_id, open_until, refusal, status) on journal.idempotency_keys to florin_service;

create table journal.keys (
  id text not null,
  public_key bytea not null,
  created_at timestamp with time zone not null,
  endorsed_by text,
  endorsement bytea,
  constraint keys_pkey PRIMARY KEY (id),
  constraint keys_check CHECK ((endorsed_by IS NULL) = (endorsement IS NULL))
);
grant insert, select on journal.keys to florin_service;
grant select on journal.keys to florin_maintenance;

create table journal.nodes (
  level smallint not null,
  index bigint not null,
  hash bytea not null,
  constraint nodes_pkey PRIMARY KEY (level, index),
  constraint nodes_hash_check CHECK (octet_length(hash) = 32),
  constraint nodes_index_check CHECK (index >= 0),
  constraint nodes_level_check CHECK (level > 0 AND (level::integer % 4) = 0)
);
grant insert, select on journal.nodes to florin_service;
grant select on journal.nodes to florin_maintenance;

create table journal.positions (
  "position" bigint not null,
  tenant_id integer not null,
  entry_id uuid not null,
  leaf bytea not null,
  constraint positions_pkey PRIMARY KEY ("position"),
  constraint positions_leaf_check CHECK (octet_length(leaf) = 32),
  constraint positions_position_check CHECK ("position" >= 0)
);
CREATE UNIQUE INDEX positions_entry ON journal.positions USING btree (entry_id);
CREATE INDEX positions_tenant ON journal.positions USING btree (tenant_id, "position");
grant insert, select on journal.positions to florin_service;
grant select on journal.positions to florin_maintenance;

create function journal.append(tenant_ids integer[], ids uuid[], kinds text[], results text[], actors text[], origins text[], request_ids text[], object_types text[], object_ids uuid[], object_versions integer[], snapshots jsonb[], transfer_ids uuid[], hashes bytea[], times timestamp with time zone[], skipped integer[] DEFAULT '{}'::integer[]) returns void language plpgsql volatile;
create function journal.claim_keys(tenant_ids integer[], operations text[], keys text[], request_hashes bytea[], statuses integer[], entry_ids uuid[], at timestamp with time zone) returns integer[] language plpgsql volatile set enable_seqscan=off;
create function journal.expire_keys(before timestamp with time zone, page bigint, pages integer, OUT next_page bigint, OUT removed bigint) returns record language plpgsql volatile security definer set search_path=pg_catalog, pg_temp;
create function journal.refuse_keys(tenant_ids integer[], operations text[], keys text[], refusals jsonb) returns void language plpgsql volatile set enable_seqscan=off;


create schema ledger;
grant usage on schema ledger to florin_maintenance;
grant usage on schema ledger to florin_service;

create table ledger.accounts (
  id uuid not null,
  tenant_id integer not null,
  currency text not null,
  code text not null,
  non_negative boolean not null,
  created_at timestamp with time zone not null,
  posted bigint not null default 0,
  pending bigint not null default 0,
  reserved bigint not null default 0,
  version bigint not null default 0,
  constraint accounts_pkey PRIMARY KEY (id),
  constraint accounts_tenant_id_currency_code_key UNIQUE (tenant_id, currency, code),
  constraint accounts_check CHECK (NOT non_negative OR (posted - reserved) >= 0),
  constraint accounts_currency_check CHECK (currency ~ '^[A-Z]{3}$'::text),
  constraint accounts_pending_check CHECK (pending >= 0),
  constraint accounts_reserved_check CHECK (reserved >= 0)
) with (fillfactor=50);
grant insert, select, update (non_negative, pending, posted, reserved, version) on ledger.accounts to florin_service;
grant select on ledger.accounts to florin_maintenance;

create table ledger.entries (
  account_id uuid not null,
  version bigint not null,
  transfer_id uuid not null,
  amount bigint not null,
  balance bigint not null,
  created_at timestamp with time zone not null,
  constraint entries_pkey PRIMARY KEY (account_id, version),
  constraint entries_amount_check CHECK (amount <> 0)
);
grant insert, select on ledger.entries to florin_service;
grant select on ledger.entries to florin_maintenance;

create table ledger.hold_endings (
  hold_id uuid not null,
  captured bigint not null,
  transfer_id uuid,
  created_at timestamp with time zone not null,
  constraint hold_endings_pkey PRIMARY KEY (hold_id),
  constraint hold_endings_captured_check CHECK (captured >= 0),
  constraint hold_endings_check CHECK ((captured > 0) = (transfer_id IS NOT NULL))
);
grant insert, select on ledger.hold_endings to florin_service;
grant select on ledger.hold_endings to florin_maintenance;

create table ledger.holds (
  id uuid not null,
  tenant_id integer not null,
  object_id uuid not null,
  debit_account_id uuid not null,
  credit_account_id uuid not null,
  amount bigint not null,
  created_at timestamp with time zone not null,
  constraint holds_pkey PRIMARY KEY (id),
  constraint holds_amount_check CHECK (amount > 0)
);
grant insert, select on ledger.holds to florin_service;
grant select on ledger.holds to florin_maintenance;

create table ledger.transfers (
  id uuid not null,
  tenant_id integer not null,
  kind text not null,
  object_id uuid not null,
  account_ids uuid[] not null,
  versions bigint[] not null,
  created_at timestamp with time zone not null,
  constraint transfers_pkey PRIMARY KEY (id),
  constraint transfers_check CHECK (cardinality(account_ids) >= 2 AND cardinality(account_ids) = cardinality(versions))
);
grant insert, select on ledger.transfers to florin_service;
grant select on ledger.transfers to florin_maintenance;

create function ledger.end_hold(ended_id uuid, captured_amount bigint, transfer uuid, at timestamp with time zone) returns void language plpgsql volatile;
create function ledger.lock_accounts(ids uuid[]) returns void language plpgsql volatile set enable_seqscan=off;
create function ledger.lock_batch(ids uuid[], tenant_ids integer[], posting_transfers integer[], account_ids uuid[], amounts bigint[]) returns boolean language plpgsql volatile set enable_seqscan=off;
create function ledger.move_balances(posting_transfers integer[], account_ids uuid[], amounts bigint[], skipped integer[]) returns void language plpgsql volatile set enable_hashjoin=off set enable_material=off set enable_mergejoin=off set enable_seqscan=off;
create function ledger.open_account(new_id uuid, tenant integer, account_currency text, account_code text, is_non_negative boolean, at timestamp with time zone) returns uuid language plpgsql volatile;
create function ledger.place_hold(hold_id uuid, tenant integer, object uuid, debit_account uuid, credit_account uuid, held_amount bigint, at timestamp with time zone) returns text language plpgsql volatile;
create function ledger.post_batch(ids uuid[], tenant_ids integer[], kinds text[], object_ids uuid[], posting_transfers integer[], account_ids uuid[], amounts bigint[], skipped integer[], at timestamp with time zone) returns jsonb language sql volatile;
create function ledger.post_locked(ids uuid[], tenant_ids integer[], kinds text[], object_ids uuid[], posting_transfers integer[], account_ids uuid[], amounts bigint[], may_fail boolean, skipped integer[], at timestamp with time zone) returns jsonb language plpgsql volatile set enable_seqscan=off;
create function ledger.rejections(posting_transfers integer[], account_ids uuid[], amounts bigint[], skipped integer[]) returns jsonb language plpgsql volatile set enable_seqscan=off;


create schema operations;
grant usage on schema operations to florin_maintenance;
grant usage on schema operations to florin_service;

create table operations.schedules (
  name text not null,
  next_run_at timestamp with time zone not null,
  started_at timestamp with time zone,
  ended_at timestamp with time zone,
  runs bigint not null default 0,
  failures integer not null default 0,
  error text,
  removed bigint,
  constraint schedules_pkey PRIMARY KEY (name)
);
grant insert, select, update (ended_at, error, failures, next_run_at, removed, runs, started_at) on operations.schedules to florin_service;
grant select on operations.schedules to florin_maintenance;


create schema payments;
grant usage on schema payments to florin_maintenance;
grant usage on schema payments to florin_service;

create table payments.callbacks (
  connector text not null,
  id text not null,
  operation_id uuid not null,
  outcome text not null,
  result text not null,
  received_at timestamp with time zone not null,
  constraint callbacks_pkey PRIMARY KEY (connector, id),
  constraint callbacks_id_check CHECK (length(id) <= 255),
  constraint callbacks_outcome_check CHECK (outcome = ANY (ARRAY['approved'::text, 'declined'::text, 'unknown'::text])),
  constraint callbacks_result_check CHECK (result = ANY (ARRAY['settled'::text, 'repeated'::text, 'pending'::text, 'mismatch'::text, 'unknown_operation'::text]))
);
CREATE INDEX callbacks_received ON payments.callbacks USING btree (received_at);
grant delete, select on payments.callbacks to florin_maintenance;
grant insert, select on payments.callbacks to florin_service;

create table payments.operations (
  tenant_id integer not null,
  id uuid not null,
  payment_id uuid not null,
  refund_id uuid,
  kind text not null,
  amount bigint not null,
  fee bigint not null,
  capture boolean not null,
  state text not null,
  connector text not null,
  request text not null,
  key text,
  call_until timestamp with time zone not null,
  backend_reference text,
  created_at timestamp with time zone not null,
  settled_at timestamp with time zone,
  asks integer not null default 0,
  asked_at timestamp with time zone,
  next_ask_at timestamp with time zone,
  absent_since timestamp with time zone,
  entry_id uuid,
  mismatches text[] not null default '{}'::text[],
  mismatched_at timestamp with time zone,
  constraint operations_pkey PRIMARY KEY (tenant_id, id),
  constraint operations_amount_check CHECK (amount > 0),
  constraint operations_fee_check CHECK (fee >= 0),
  constraint operations_kind_check CHECK (kind = ANY (ARRAY['authorise'::text, 'capture'::text, 'cancel'::text, 'refund'::text])),
  constraint operations_state_check CHECK (state = ANY (ARRAY['open'::text, 'approved'::text, 'declined'::text, 'unknown'::text]))
);
CREATE UNIQUE INDEX operations_id ON payments.operations USING btree (id);
CREATE INDEX operations_payment ON payments.operations USING btree (tenant_id, payment_id);
CREATE INDEX operations_unsettled ON payments.operations USING btree (COALESCE(next_ask_at, call_until)) WHERE (state = ANY (ARRAY['open'::text, 'unknown'::text]));
grant insert, select, update (absent_since, asked_at, asks, backend_reference, entry_id, mismatched_at, mismatches, next_ask_at, settled_at, state) on payments.operations to florin_service;
grant select on payments.operations to florin_maintenance;

create table payments.payments (
  tenant_id integer not null,
  id uuid not null,
  version integer not null,
  state text not null,
  mode text not null,
  amount bigint not null,
  currency text not null,
  captured bigint not null default 0,
  refunded bigint not null default 0,
  fee bigint not null default 0,
  fee_returned bigint not null default 0,
  connector text not null,
  payment_method text not null,
  reference text,
  description text,
  customer_id uuid,
  hold_id uuid,
  failure_code text,
  metadata jsonb not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint payments_pkey PRIMARY KEY (tenant_id, id),
  constraint payments_amount_check CHECK (amount > 0),
  constraint payments_check CHECK (0 <= refunded AND refunded <= captured AND captured <= amount),
  constraint payments_check1 CHECK (0 <= fee_returned AND fee_returned <= fee),
  constraint payments_currency_check CHECK (currency ~ '^[A-Z]{3}$'::text),
  constraint payments_fee_check CHECK (fee >= 0),
  constraint payments_mode_check CHECK (mode = ANY (ARRAY['test'::text, 'live'::text])),
  constraint payments_state_check CHECK (state = ANY (ARRAY['processing'::text, 'requires_capture'::text, 'succeeded'::text, 'partially_refunded'::text, 'refunded'::text, 'canceled'::text, 'failed'::text, 'unknown'::text])),
  constraint payments_version_check CHECK (version > 0)
) with (fillfactor=85);
CREATE INDEX payments_customer ON payments.payments USING btree (tenant_id, customer_id, id) WHERE (customer_id IS NOT NULL);
CREATE INDEX payments_reference ON payments.payments USING btree (tenant_id, reference, id) WHERE (reference IS NOT NULL);
grant insert, select, update (captured, failure_code, fee, fee_returned, hold_id, refunded, state, updated_at, version) on payments.payments to florin_service;
grant select on payments.payments to florin_maintenance;

create table payments.refunds (
  tenant_id integer not null,
  payment_id uuid not null,
  id uuid not null,
  version integer not null,
  state text not null,
  amount bigint not null,
  fee_returned bigint not null,
  hold_id uuid,
  reason text,
  failure_code text,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint refunds_pkey PRIMARY KEY (tenant_id, payment_id, id),
  constraint refunds_amount_check CHECK (amount > 0),
  constraint refunds_fee_returned_check CHECK (fee_returned >= 0),
  constraint refunds_state_check CHECK (state = ANY (ARRAY['processing'::text, 'succeeded'::text, 'failed'::text, 'unknown'::text])),
  constraint refunds_version_check CHECK (version > 0)
);
grant insert, select, update (failure_code, state, updated_at, version) on payments.refunds to florin_service;
grant select on payments.refunds to florin_maintenance;

create function payments.create_batch(tenant_ids integer[], ids uuid[], versions integer[], states text[], modes text[], amounts bigint[], currencies text[], captured_amounts bigint[], fees bigint[], connectors text[], payment_methods text[], payment_references text[], descriptions text[], customer_ids uuid[], hold_ids uuid[], failure_codes text[], metadata_texts jsonb[], created_times timestamp with time zone[], updated_times timestamp with time zone[], transfer_ids uuid[], transfer_tenants integer[], transfer_kinds text[], transfer_objects uuid[], posting_transfers integer[], posting_accounts uuid[], posting_amounts bigint[], entry_tenants integer[], entry_ids uuid[], entry_kinds text[], entry_results text[], actors text[], origins text[], request_ids text[], object_types text[], object_ids uuid[], object_versions integer[], snapshots jsonb[], entry_transfers uuid[], hashes bytea[], entry_times timestamp with time zone[], operations text[], keys text[], request_hashes bytea[], statuses integer[], refusal_texts jsonb, at timestamp with time zone) returns jsonb language plpgsql volatile;
create function payments.insert(tenant_ids integer[], ids uuid[], versions integer[], states text[], modes text[], amounts bigint[], currencies text[], captured_amounts bigint[], fees bigint[], connectors text[], payment_methods text[], payment_references text[], descriptions text[], customer_ids uuid[], hold_ids uuid[], failure_codes text[], metadata_texts jsonb[], created_times timestamp with time zone[], updated_times timestamp with time zone[], skipped integer[] DEFAULT '{}'::integer[]) returns void language plpgsql volatile;
create function payments.remove_callbacks(before timestamp with time zone) returns bigint language sql volatile security definer set search_path=pg_catalog, pg_temp;


create schema reconciliation;
grant usage on schema reconciliation to florin_maintenance;
grant usage on schema reconciliation to florin_service;

create table reconciliation.breaks (
  tenant_id integer not null,
  run_id uuid not null,
  number integer not null,
  type text not null,
  kind text not null,
  line integer,
  reference text,
  backend_reference text,
  movement_id uuid,
  operation_id uuid,
  payment_id uuid,
  refund_id uuid,
  here_status text,
  here_amount bigint,
  here_currency text,
  here_fee bigint,
  here_at timestamp with time zone,
  there_status text,
  there_amount bigint,
  there_currency text,
  there_fee bigint,
  there_at timestamp with time zone,
  told_before boolean not null,
  fact text not null,
  constraint breaks_pkey PRIMARY KEY (tenant_id, run_id, number),
  constraint breaks_kind_check CHECK (kind = ANY (ARRAY['charge'::text, 'refund'::text])),
  constraint breaks_number_check CHECK (number > 0),
  constraint breaks_type_check CHECK (type = ANY (ARRAY['missing_here'::text, 'missing_there'::text, 'status_differs'::text, 'currency_differs'::text, 'amount_differs'::text, 'fee_differs'::text, 'duplicate'::text]))
);
grant insert, select on reconciliation.breaks to florin_service;
grant select on reconciliation.breaks to florin_maintenance;

create table reconciliation.corrections (
  tenant_id integer not null,
  run_id uuid not null,
  number integer not null,
  transfer_id uuid not null,
  connector text not null,
  fact text not null,
  against text not null,
  reason text not null,
  actor text not null,
  created_at timestamp with time zone not null,
  constraint corrections_pkey PRIMARY KEY (tenant_id, run_id, number),
  constraint corrections_transfer_id_key UNIQUE (transfer_id),
  constraint corrections_against_check CHECK (against = ANY (ARRAY['corrections'::text, 'payable'::text])),
  constraint corrections_reason_check CHECK (length(reason) >= 1 AND length(reason) <= 500)
);
CREATE UNIQUE INDEX corrections_fact ON reconciliation.corrections USING btree (tenant_id, connector, fact);
grant insert, select on reconciliation.corrections to florin_service;
grant select on reconciliation.corrections to florin_maintenance;

create table reconciliation.lines (
  run_id uuid not null,
  line integer not null,
  kind text not null,
  reference text not null,
  operation_id uuid,
  payment_id uuid,
  refund_id uuid,
  backend_reference text,
  amount bigint not null,
  currency text not null,
  status text not null,
  at timestamp with time zone not null,
  fee bigint,
  constraint lines_pkey PRIMARY KEY (run_id, line)
);
grant delete, insert, select on reconciliation.lines to florin_service;
grant select on reconciliation.lines to florin_maintenance;

create table reconciliation.movements (
  run_id uuid not null,
  movement_id uuid not null,
  kind text not null,
  operation_id uuid,
  payment_id uuid,
  refund_id uuid,
  status text not null,
  amount bigint not null,
  currency text not null,
  fee bigint,
  at timestamp with time zone not null,
  fact text,
  corrections integer not null,
  constraint movements_pkey PRIMARY KEY (run_id, movement_id)
);
grant delete, insert, select on reconciliation.movements to florin_service;
grant select on reconciliation.movements to florin_maintenance;

create table reconciliation.pairs (
  run_id uuid not null,
  line integer not null,
  movement_id uuid not null,
  again boolean not null,
  constraint pairs_pkey PRIMARY KEY (run_id, line)
);
grant delete, insert, select on reconciliation.pairs to florin_service;
grant select on reconciliation.pairs to florin_maintenance;

create table reconciliation.runs (
  tenant_id integer not null,
  id uuid not null,
  version integer not null,
  connector text not null,
  period_from timestamp with time zone not null,
  period_until timestamp with time zone not null,
  digest bytea not null,
  lines integer not null,
  matched integer not null,
  breaks integer not null,
  types jsonb not null,
  corrected integer not null default 0,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint runs_pkey PRIMARY KEY (tenant_id, id),
  constraint runs_check CHECK (period_from < period_until),
  constraint runs_check1 CHECK (0 <= corrected AND corrected <= breaks),
  constraint runs_digest_check CHECK (octet_length(digest) = 32),
  constraint runs_version_check CHECK (version > 0)
);
grant insert, select, update (corrected, updated_at, version) on reconciliation.runs to florin_service;
grant select on reconciliation.runs to florin_maintenance;

create function reconciliation.facts_of(run uuid) returns TABLE(line integer, fact text) language sql stable;
create function reconciliation.leave_out_others(run uuid, tenant integer) returns integer language sql volatile set enable_nestloop=off set jit=off;
create function reconciliation.movements_here(tenant integer, backend text) returns TABLE(movement_id uuid, kind text, operation_id uuid, payment_id uuid, refund_id uuid, status text, amount bigint, currency text, fee bigint, at timestamp with time zone) language sql stable;
create function reconciliation.movements_of(tenant integer, backend text) returns TABLE(movement_id uuid, kind text, operation_id uuid, payment_id uuid, refund_id uuid, status text, amount bigint, currency text, fee bigint, at timestamp with time zone, fact text, corrections integer) language sql stable;
create function reconciliation.owners_of(run uuid, only_tenant integer, lines_max integer) returns TABLE(tenant_id integer, connector text) language sql stable;
create function reconciliation.pair_again(run uuid) returns void language plpgsql volatile set enable_nestloop=off set jit=off;
create function reconciliation.pair_by_name(run uuid) returns void language plpgsql volatile set enable_nestloop=off set jit=off;
create function reconciliation.pair_by_payment(run uuid, closeness text) returns void language plpgsql volatile set enable_nestloop=off set jit=off;
create function reconciliation.results_of(run uuid, tenant integer, since timestamp with time zone, until timestamp with time zone) returns TABLE(type text, kind text, line integer, reference text, backend_reference text, movement_id uuid, operation_id uuid, payment_id uuid, refund_id uuid, here_status text, here_amount bigint, here_currency text, here_fee bigint, here_at timestamp with time zone, there_status text, there_amount bigint, there_currency text, there_fee bigint, there_at timestamp with time zone, told_before boolean, fact text) language sql stable set enable_nestloop=off set jit=off;
create function reconciliation.stage_movements(run uuid, tenant integer, backend text, since timestamp with time zone, until timestamp with time zone) returns void language plpgsql volatile set enable_nestloop=off set jit=off;


create schema vendors;
grant usage on schema vendors to florin_maintenance;
grant usage on schema vendors to florin_service;

create table vendors.api_keys (
  id uuid not null,
  tenant_id integer not null,
  default_vendor uuid,
  mode text not null,
  role text not null,
  digest bytea not null,
  prefix text not null,
  name text not null,
  version integer not null,
  created_at timestamp with time zone not null,
  expires_at timestamp with time zone,
  last_used_at timestamp with time zone,
  revoked_at timestamp with time zone,
  constraint api_keys_default_vendor_fkey FOREIGN KEY (default_vendor) REFERENCES vendors.vendors(id),
  constraint api_keys_pkey PRIMARY KEY (id),
  constraint api_keys_digest_key UNIQUE (digest),
  constraint api_keys_check CHECK (tenant_id = 0 OR default_vendor IS NULL),
  constraint api_keys_digest_check CHECK (octet_length(digest) = 32),
  constraint api_keys_mode_check CHECK (mode = ANY (ARRAY['test'::text, 'live'::text])),
  constraint api_keys_name_check CHECK (length(name) >= 1 AND length(name) <= 200),
  constraint api_keys_role_check CHECK (role = ANY (ARRAY['viewer'::text, 'developer'::text, 'finance'::text, 'admin'::text])),
  constraint api_keys_version_check CHECK (version > 0)
);
CREATE INDEX api_keys_tenant ON vendors.api_keys USING btree (tenant_id, id);
grant insert, select, update (last_used_at, revoked_at, version) on vendors.api_keys to florin_service;
grant select on vendors.api_keys to florin_maintenance;

create table vendors.clients (
  client_id text not null,
  tenant_id integer not null,
  role text not null,
  secret_path text not null,
  valid_versions text[],
  created_at timestamp with time zone not null,
  last_used_at timestamp with time zone,
  revoked_at timestamp with time zone,
  constraint clients_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES vendors.tenants(id),
  constraint clients_pkey PRIMARY KEY (client_id),
  constraint clients_client_id_check CHECK (client_id ~ '^[A-Za-z0-9._-]{3,64}$'::text),
  constraint clients_role_check CHECK (role = ANY (ARRAY['viewer'::text, 'developer'::text, 'finance'::text, 'admin'::text])),
  constraint clients_valid_versions_check CHECK (cardinality(valid_versions) > 0)
);
CREATE INDEX clients_tenant ON vendors.clients USING btree (tenant_id);
grant insert, select, update (last_used_at, revoked_at, valid_versions) on vendors.clients to florin_service;
grant select on vendors.clients to florin_maintenance;

create table vendors.revocations (
  id bigint not null generated as identity,
  kind text not null,
  subject text not null,
  at timestamp with time zone not null,
  constraint revocations_pkey PRIMARY KEY (id),
  constraint revocations_kind_check CHECK (kind = ANY (ARRAY['vendor'::text, 'client'::text, 'api_key'::text, 'token'::text]))
);
grant delete, select on vendors.revocations to florin_maintenance;
grant insert, select on vendors.revocations to florin_service;

create table vendors.tenants (
  id integer not null generated as identity,
  vendor_id uuid not null,
  mode text not null,
  constraint tenants_vendor_id_fkey FOREIGN KEY (vendor_id) REFERENCES vendors.vendors(id),
  constraint tenants_pkey PRIMARY KEY (id),
  constraint tenants_vendor_id_mode_key UNIQUE (vendor_id, mode),
  constraint tenants_mode_check CHECK (mode = ANY (ARRAY['test'::text, 'live'::text]))
);
grant insert, select on vendors.tenants to florin_service;
grant select on vendors.tenants to florin_maintenance;

create table vendors.vendors (
  id uuid not null,
  slug text not null,
  name text not null,
  enabled boolean not null,
  version integer not null,
  fee_basis_points integer not null,
  fee_fixed jsonb not null,
  idempotency_required boolean not null,
  overdraft_allowed boolean not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint vendors_pkey PRIMARY KEY (id),
  constraint vendors_slug_key UNIQUE (slug),
  constraint vendors_fee_basis_points_check CHECK (fee_basis_points >= 0 AND fee_basis_points <= 10000),
  constraint vendors_name_check CHECK (length(name) >= 1 AND length(name) <= 200),
  constraint vendors_slug_check CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'::text AND length(slug) <= 63),
  constraint vendors_version_check CHECK (version > 0)
);
grant insert, select, update (enabled, fee_basis_points, fee_fixed, idempotency_required, name, overdraft_allowed, updated_at, version) on vendors.vendors to florin_service;
grant select on vendors.vendors to florin_maintenance;

create function vendors.revoke(kind text, subject text, at timestamp with time zone) returns void language plpgsql volatile;


create schema webhooks;
grant usage on schema webhooks to florin_maintenance;
grant usage on schema webhooks to florin_service;

create table webhooks.attempts (
  tenant_id integer not null,
  delivery_id uuid not null,
  number integer not null,
  at timestamp with time zone not null,
  status smallint,
  error text,
  duration_ms integer not null,
  headers text,
  answer bytea,
  constraint attempts_pkey PRIMARY KEY (delivery_id, number),
  constraint attempts_answer_check CHECK (octet_length(answer) <= 1024),
  constraint attempts_number_check CHECK (number > 0)
);
grant delete, select on webhooks.attempts to florin_maintenance;
grant insert, select on webhooks.attempts to florin_service;

create table webhooks.deliveries (
  tenant_id integer not null,
  id uuid not null,
  endpoint_id uuid not null,
  event text not null,
  event_type text not null,
  object_id uuid,
  "position" bigint not null,
  replay integer not null default 0,
  state text not null,
  ordered boolean not null,
  waiting boolean not null,
  attempts integer not null default 0,
  attempts_made integer not null default 0,
  due_at timestamp with time zone not null,
  leased_until timestamp with time zone,
  last_number integer,
  last_at timestamp with time zone,
  last_status smallint,
  last_error text,
  last_duration_ms integer,
  last_headers text,
  last_answer bytea,
  created_at timestamp with time zone not null,
  settled_at timestamp with time zone,
  constraint deliveries_pkey PRIMARY KEY (tenant_id, id),
  constraint deliveries_check CHECK (ordered OR NOT waiting),
  constraint deliveries_last_answer_check CHECK (octet_length(last_answer) <= 1024),
  constraint deliveries_state_check CHECK (state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text, 'discarded'::text]))
) with (fillfactor=70, autovacuum_vacuum_scale_factor=0.05);
CREATE INDEX deliveries_due ON webhooks.deliveries USING btree (endpoint_id, due_at, id) WHERE ((state = 'pending'::text) AND (NOT waiting));
CREATE INDEX deliveries_failed ON webhooks.deliveries USING btree (tenant_id, id) WHERE (state = 'failed'::text);
CREATE UNIQUE INDEX deliveries_of_event ON webhooks.deliveries USING btree (event, endpoint_id, replay);
CREATE INDEX deliveries_order ON webhooks.deliveries USING btree (endpoint_id, object_id, "position", replay) WHERE ((state = 'pending'::text) AND ordered);
grant delete, select on webhooks.deliveries to florin_maintenance;
grant insert, select, update (attempts, attempts_made, due_at, last_answer, last_at, last_duration_ms, last_error, last_headers, last_number, last_status, leased_until, settled_at, state, waiting) on webhooks.deliveries to florin_service;

create table webhooks.endpoints (
  tenant_id integer not null,
  id uuid not null,
  version integer not null,
  url text not null,
  events text[] not null,
  description text,
  metadata jsonb not null,
  ordered boolean not null,
  payload text not null,
  state text not null,
  disabled_reason text,
  from_position bigint not null,
  failures integer not null default 0,
  failing_since timestamp with time zone,
  paused_until timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint endpoints_pkey PRIMARY KEY (tenant_id, id),
  constraint endpoints_check CHECK ((state = 'disabled'::text) = (disabled_reason IS NOT NULL)),
  constraint endpoints_disabled_reason_check CHECK (disabled_reason = ANY (ARRAY['requested'::text, 'gone'::text, 'failing'::text])),
  constraint endpoints_events_check CHECK (cardinality(events) >= 1 AND cardinality(events) <= 100),
  constraint endpoints_payload_check CHECK (payload = ANY (ARRAY['full'::text, 'thin'::text])),
  constraint endpoints_state_check CHECK (state = ANY (ARRAY['enabled'::text, 'disabled'::text, 'deleted'::text])),
  constraint endpoints_url_check CHECK (length(url) <= 2048),
  constraint endpoints_version_check CHECK (version > 0)
);
CREATE UNIQUE INDEX endpoints_id ON webhooks.endpoints USING btree (id);
grant insert, select, update (description, disabled_reason, events, failing_since, failures, from_position, metadata, ordered, paused_until, payload, state, updated_at, url, version) on webhooks.endpoints to florin_service;
grant select on webhooks.endpoints to florin_maintenance;

create table webhooks.progress (
  single boolean not null default true,
  "position" bigint not null,
  constraint progress_pkey PRIMARY KEY (single),
  constraint progress_position_check CHECK ("position" >= 0),
  constraint progress_single_check CHECK (single)
);
grant select on webhooks.progress to florin_maintenance;
grant select, update ("position") on webhooks.progress to florin_service;

create table webhooks.replays (
  tenant_id integer not null,
  endpoint_id uuid not null,
  number integer not null,
  from_at timestamp with time zone not null,
  before_at timestamp with time zone not null,
  events text[] not null,
  "position" bigint not null,
  end_position bigint not null,
  found integer not null default 0,
  state text not null,
  created_at timestamp with time zone not null,
  ended_at timestamp with time zone,
  constraint replays_pkey PRIMARY KEY (endpoint_id, number),
  constraint replays_check CHECK (from_at < before_at),
  constraint replays_check1 CHECK ((state = 'running'::text) = (ended_at IS NULL)),
  constraint replays_number_check CHECK (number > 0),
  constraint replays_state_check CHECK (state = ANY (ARRAY['running'::text, 'done'::text, 'canceled'::text]))
);
CREATE UNIQUE INDEX replays_running ON webhooks.replays USING btree (endpoint_id) WHERE (state = 'running'::text);
grant delete, select on webhooks.replays to florin_maintenance;
grant insert, select, update ("position", ended_at, found, state) on webhooks.replays to florin_service;

create table webhooks.secrets (
  endpoint_id uuid not null,
  number integer not null,
  tenant_id integer not null,
  sealed bytea not null,
  created_at timestamp with time zone not null,
  expires_at timestamp with time zone,
  constraint secrets_pkey PRIMARY KEY (endpoint_id, number),
  constraint secrets_number_check CHECK (number > 0)
);
grant delete, select on webhooks.secrets to florin_maintenance;
grant insert, select, update (expires_at) on webhooks.secrets to florin_service;

create view webhooks.webhook_events (
  id text,
  type text,
  status text,
  retry_count integer,
  url text,
  last_status smallint,
  last_error text,
  next_attempt_at timestamp with time zone,
  created_at timestamp with time zone,
  settled_at timestamp with time zone,
  payload jsonb,
  tenant_id integer,
  endpoint_id uuid,
  delivery_id uuid
) as select … from journal.entries, journal.positions, webhooks.deliveries, webhooks.endpoints;
grant select on webhooks.webhook_events to florin_maintenance;
grant select, update (retry_count, status) on webhooks.webhook_events to florin_service;

create function webhooks.claim(endpoint_ids uuid[], counts integer[], due_after timestamp with time zone[], id_after uuid[], at timestamp with time zone, until timestamp with time zone) returns TABLE(tenant_id integer, id uuid, endpoint_id uuid, "position" bigint, attempts integer, attempts_made integer, due_at_ms double precision, endpoint_version integer, is_failing boolean) language plpgsql volatile set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.count_failures(endpoint_ids uuid[], failed integer[], accepted integer[], at timestamp with time zone, open_after integer, pause_min interval, pause_max interval) returns TABLE(tenant_id integer, endpoint_id uuid, failures integer, failing_since timestamp with time zone, paused_until timestamp with time zone) language plpgsql volatile set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.enqueue(tenant_ids integer[], ids uuid[], endpoint_ids uuid[], events text[], event_types text[], object_ids uuid[], positions bigint[], replays integer[], in_order integer[], at timestamp with time zone) returns integer language plpgsql volatile set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.look_for_due(after uuid, looks integer) returns TABLE(endpoint_id uuid, tenant_id integer, due_at timestamp with time zone, state text, paused_until timestamp with time zone) language sql stable set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.next_events(span integer) returns TABLE(first_position bigint, end_position bigint, tenant_id integer, endpoint_id uuid, "position" bigint, event_id uuid, event_type text, object_id uuid, ordered boolean) language plpgsql volatile set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.record(tenant_ids integer[], ids uuid[], numbers integer[], states text[], due_ats timestamp with time zone[], times timestamp with time zone[], statuses integer[], errors text[], durations_ms integer[], headers text[], answers bytea[]) returns integer language plpgsql volatile set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.redeliver() returns trigger language plpgsql volatile;
create function webhooks.release(tenant_ids integer[], ids uuid[], numbers integer[]) returns void language sql volatile set enable_hashjoin=off set enable_mergejoin=off set enable_seqscan=off;
create function webhooks.remove_attempts(before timestamp with time zone, page bigint, pages integer, OUT next_page bigint, OUT removed bigint) returns record language plpgsql volatile security definer set search_path=pg_catalog, pg_temp;
create function webhooks.remove_deliveries(before timestamp with time zone, page bigint, pages integer, OUT next_page bigint, OUT removed bigint) returns record language plpgsql volatile security definer set enable_hashjoin=off set enable_mergejoin=off set search_path=pg_catalog, pg_temp;
create function webhooks.remove_secrets(before timestamp with time zone) returns bigint language sql volatile security definer set search_path=pg_catalog, pg_temp;
