import { sql } from 'kysely';
import type { Mode, Role } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';

/** A vendor with its clients. */
export type VendorRow = {
  id: string;
  slug: string;
  name: string;
  enabled: boolean;
  version: number;
  fee_basis_points: number;
  fee_fixed: Record<string, string>;
  idempotency_required: boolean;
  overdraft_allowed: boolean;
  created_at: Date;
  updated_at: Date;
  clients: { client_id: string; mode: Mode; role: Role }[];
};

const vendorColumns = sql`
  v.id, v.slug, v.name, v.enabled, v.version, v.fee_basis_points, v.fee_fixed, v.idempotency_required,
  v.overdraft_allowed, v.created_at, v.updated_at,
  coalesce((select jsonb_agg(jsonb_build_object('client_id', c.client_id, 'mode', t.mode, 'role', c.role)
                             order by c.created_at, c.client_id)
              from vendors.tenants t join vendors.clients c on c.tenant_id = t.id
             where t.vendor_id = v.id and c.revoked_at is null), '[]') as clients`;

/** Inserts a vendor and its two tenants; undefined when the slug is taken. Gives the tenants' ids. */
export const insertVendor = async (
  tx: Tx,
  vendor: Omit<VendorRow, 'clients' | 'version' | 'enabled'>,
): Promise<Record<Mode, number> | undefined> => {
  const { rows } = await sql<{ id: number; mode: Mode }>`
    with vendor as (
      insert into vendors.vendors (id, slug, name, enabled, version, fee_basis_points, fee_fixed, idempotency_required,
                                   overdraft_allowed, created_at, updated_at)
      values (${vendor.id}, ${vendor.slug}, ${vendor.name}, true, 1, ${vendor.fee_basis_points},
              ${JSON.stringify(vendor.fee_fixed)}::jsonb, ${vendor.idempotency_required}, ${vendor.overdraft_allowed},
              ${vendor.created_at}, ${vendor.updated_at})
      on conflict (slug) do nothing
      returning id
    )
    insert into vendors.tenants (vendor_id, mode)
    select vendor.id, mode from vendor, unnest(array['test', 'live']) as mode
    returning id, mode
  `.execute(tx);
  const [first, second] = rows;
  if (!first || !second) return undefined;
  return first.mode === 'test' ? { test: first.id, live: second.id } : { test: second.id, live: first.id };
};

type NewClient = { clientId: string; tenantId: number; role: Role; secretPath: string; createdAt: Date };

/** Inserts a client; false when its id is taken. */
export const insertClient = async (tx: Tx, client: NewClient): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    insert into vendors.clients (client_id, tenant_id, role, secret_path, created_at)
    values (${client.clientId}, ${client.tenantId}, ${client.role}, ${client.secretPath}, ${client.createdAt})
    on conflict do nothing
  `.execute(tx);
  return numAffectedRows === 1n;
};

/** A vendor by its UUID or slug. */
export const findVendor = async (
  db: Db | Tx,
  by: { id: string } | { slug: string },
): Promise<VendorRow | undefined> => {
  const matches = 'id' in by ? sql`v.id = ${by.id}` : sql`v.slug = ${by.slug}`;
  const { rows } =
    await sql<VendorRow>`select ${vendorColumns} from vendors.vendors v where ${matches}`.execute(db);
  return rows[0];
};

/** Takes the lock under which a vendor's next version is made. */
export const lockVendor = async (tx: Tx, id: string): Promise<VendorRow | undefined> => {
  const { rows } = await sql<VendorRow>`
    select ${vendorColumns} from vendors.vendors v where v.id = ${id} for no key update
  `.execute(tx);
  return rows[0];
};

/** Newest first. */
export const listVendors = async (
  db: Db,
  page: { limit: number; before: string | undefined },
): Promise<VendorRow[]> => {
  const { rows } = await sql<VendorRow>`
    select ${vendorColumns} from vendors.vendors v
    where ${page.before === undefined ? sql`true` : sql`v.id < ${page.before}`}
    order by v.id desc limit ${page.limit}
  `.execute(db);
  return rows;
};

/** Stores the changed columns of a vendor that is locked. */
export const updateVendor = async (tx: Tx, vendor: VendorRow): Promise<void> => {
  await sql`
    update vendors.vendors
    set name = ${vendor.name}, enabled = ${vendor.enabled}, version = ${vendor.version},
        fee_basis_points = ${vendor.fee_basis_points}, fee_fixed = ${JSON.stringify(vendor.fee_fixed)}::jsonb,
        idempotency_required = ${vendor.idempotency_required}, overdraft_allowed = ${vendor.overdraft_allowed},
        updated_at = ${vendor.updated_at}
    where id = ${vendor.id}
  `.execute(tx);
};

export type TenantRow = {
  tenant_id: number;
  vendor_id: string;
  mode: Mode;
  enabled: boolean;
  fee_basis_points: number;
  fee_fixed: Record<string, string>;
  idempotency_required: boolean;
  overdraft_allowed: boolean;
};

/** A tenant with the terms of its vendor. */
export const findTenant = async (db: Db | Tx, tenantId: number): Promise<TenantRow | undefined> => {
  const { rows } = await sql<TenantRow>`
    select t.id as tenant_id, t.vendor_id, t.mode, v.enabled, v.fee_basis_points, v.fee_fixed, v.idempotency_required,
           v.overdraft_allowed
    from vendors.tenants t join vendors.vendors v on v.id = t.vendor_id
    where t.id = ${tenantId}
  `.execute(db);
  return rows[0];
};

export type RevocationKind = 'vendor' | 'client' | 'api_key' | 'token';

/** Tells every edge to forget what it keeps about a subject, once this transaction has committed. */
export const revoke = async (
  tx: Tx,
  revocation: { kind: RevocationKind; subject: string; at: Date },
): Promise<void> => {
  await sql`select vendors.revoke(${revocation.kind}, ${revocation.subject}, ${revocation.at})`.execute(tx);
};
