import { sql } from 'kysely';
import type { Mode, Role } from '../lib/caller.ts';
import type { Db } from '../lib/database.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import type { RevocationKind } from './store.ts';

/** A vendor as far as a request needs it: its two tenants. JSON, because it also travels between services. */
export type VendorRecord = {
  id: Id<'vendor'>;
  slug: string;
  enabled: boolean;
  tenants: Record<Mode, number>;
};

/** A client id that exists, and where the vault keeps its secret. */
export type ClientRecord = {
  clientId: string;
  vendorId: Id<'vendor'>;
  tenantId: number;
  mode: Mode;
  role: Role;
  /** False when its vendor is disabled or it was revoked itself. */
  enabled: boolean;
  secretPath: string;
  /** The versions of the secret that count; null: the current one. */
  validVersions: string[] | null;
};

/** An API key that may be used now, but for its expiry. */
export type ApiKeyRecord = {
  id: Id<'api_key'>;
  /** 0: a key of the platform. */
  tenantId: number;
  /** Whose key; null for the platform. */
  vendorId: Id<'vendor'> | null;
  defaultVendor: Id<'vendor'> | null;
  mode: Mode;
  role: Role;
  /** ISO 8601. */
  expiresAt: string | null;
};

/** The key with this digest; undefined when there is none, it was revoked, or its vendor is disabled. */
export const findApiKey = async (db: Db, digest: Buffer): Promise<ApiKeyRecord | undefined> => {
  type Row = {
    id: string;
    tenant_id: number;
    vendor_id: string | null;
    default_vendor: string | null;
    mode: Mode;
    role: Role;
    expires_at: Date | null;
  };
  const { rows } = await sql<Row>`
    select k.id, k.tenant_id, t.vendor_id, k.default_vendor, k.mode, k.role, k.expires_at
    from vendors.api_keys k
    left join vendors.tenants t on t.id = k.tenant_id
    left join vendors.vendors v on v.id = t.vendor_id
    where k.digest = ${digest} and k.revoked_at is null and (k.tenant_id = 0 or v.enabled)
  `.execute(db);
  const row = rows[0];
  return (
    row && {
      id: fromUuid('api_key', row.id),
      tenantId: row.tenant_id,
      vendorId: row.vendor_id === null ? null : fromUuid('vendor', row.vendor_id),
      defaultVendor: row.default_vendor === null ? null : fromUuid('vendor', row.default_vendor),
      mode: row.mode,
      role: row.role,
      expiresAt: row.expires_at?.toISOString() ?? null,
    }
  );
};

export const findClient = async (db: Db, clientId: string): Promise<ClientRecord | undefined> => {
  type Row = Omit<ClientRecord, 'vendorId'> & { vendorId: string };
  const { rows } = await sql<Row>`
    select c.client_id as "clientId", t.vendor_id as "vendorId", c.tenant_id as "tenantId", t.mode, c.role,
           (v.enabled and c.revoked_at is null) as enabled, c.secret_path as "secretPath",
           c.valid_versions as "validVersions"
    from vendors.clients c
    join vendors.tenants t on t.id = c.tenant_id
    join vendors.vendors v on v.id = t.vendor_id
    where c.client_id = ${clientId}
  `.execute(db);
  const row = rows[0];
  return row && { ...row, vendorId: fromUuid('vendor', row.vendorId) };
};

/** A vendor by its UUID or slug. */
export const findVendorRecord = async (
  db: Db,
  by: { id: string } | { slug: string },
): Promise<VendorRecord | undefined> => {
  type Row = { id: string; slug: string; enabled: boolean; tenants: Record<Mode, number> };
  const { rows } = await sql<Row>`
    select v.id, v.slug, v.enabled, jsonb_object_agg(t.mode, t.id) as tenants
    from vendors.vendors v join vendors.tenants t on t.vendor_id = v.id
    where ${'id' in by ? sql`v.id = ${by.id}` : sql`v.slug = ${by.slug}`}
    group by v.id
  `.execute(db);
  const row = rows[0];
  return row && { ...row, id: fromUuid('vendor', row.id) };
};

/** When credentials were last used. */
export type Usage = {
  clients: { clientId: string; at: string }[];
  apiKeys: { id: Id<'api_key'>; at: string }[];
};

/** Notes when credentials were last used; never turns the time back. */
export const recordUsage = async (db: Db, usage: Usage): Promise<void> => {
  if (usage.clients.length > 0) {
    await sql`
      update vendors.clients c set last_used_at = u.at
      from unnest(${usage.clients.map(({ clientId }) => clientId)}::text[],
                  ${usage.clients.map(({ at }) => at)}::timestamptz[]) as u(client_id, at)
      where c.client_id = u.client_id and (c.last_used_at is null or c.last_used_at < u.at)
    `.execute(db);
  }
  if (usage.apiKeys.length > 0) {
    await sql`
      update vendors.api_keys k set last_used_at = u.at
      from unnest(${usage.apiKeys.map(({ id }) => toUuid(id))}::uuid[],
                  ${usage.apiKeys.map(({ at }) => at)}::timestamptz[]) as u(id, at)
      where k.id = u.id and (k.last_used_at is null or k.last_used_at < u.at)
    `.execute(db);
  }
};

export type Revocation = { kind: RevocationKind; subject: string };

/** What was revoked after a point, and the point to ask from next time; at most `revocationsMax` at once. */
export type Revocations = { last: string; revocations: Revocation[] };

export const revocationsMax = 1_000;

/** The revocations after a point, in the order in which they were committed. */
export const listRevocations = async (db: Db, after: string): Promise<Revocations> => {
  const { rows } = await sql<Revocation & { id: bigint }>`
    select id, kind, subject from vendors.revocations where id > ${after}::bigint order by id limit ${revocationsMax}
  `.execute(db);
  return {
    last: (rows.at(-1)?.id ?? after).toString(),
    revocations: rows.map(({ kind, subject }) => ({ kind, subject })),
  };
};

/**
 * Where an edge with empty caches begins: at the last revocation, knowing the tokens that were revoked since a time.
 */
export const beginRevocations = async (db: Db, tokensSince: Date): Promise<Revocations> => {
  const { rows } = await sql<{ last: bigint; tokens: string[] }>`
    select coalesce(max(id), 0) as last,
           coalesce(array_agg(subject) filter (where kind = 'token' and at >= ${tokensSince}), '{}') as tokens
    from vendors.revocations
  `.execute(db);
  const [row] = rows;
  return {
    last: (row?.last ?? 0n).toString(),
    revocations: (row?.tokens ?? []).map((subject) => ({ kind: 'token', subject })),
  };
};
