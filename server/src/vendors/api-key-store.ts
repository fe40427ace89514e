import { sql } from 'kysely';
import type { Mode, Role } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';

export type ApiKeyRow = {
  id: string;
  tenant_id: number;
  vendor_id: string | null;
  default_vendor: string | null;
  mode: Mode;
  role: Role;
  prefix: string;
  name: string;
  version: number;
  created_at: Date;
  expires_at: Date | null;
  last_used_at: Date | null;
  revoked_at: Date | null;
};

const keyColumns = sql`
  k.id, k.tenant_id, (select t.vendor_id from vendors.tenants t where t.id = k.tenant_id) as vendor_id,
  k.default_vendor, k.mode, k.role, k.prefix, k.name, k.version, k.created_at, k.expires_at, k.last_used_at,
  k.revoked_at`;

type NewRow = Omit<ApiKeyRow, 'vendor_id' | 'version' | 'last_used_at' | 'revoked_at'> & { digest: Buffer };

export const insertApiKey = async (tx: Tx, key: NewRow): Promise<ApiKeyRow> => {
  const { rows } = await sql<ApiKeyRow>`
    insert into vendors.api_keys as k (id, tenant_id, default_vendor, mode, role, digest, prefix, name, version,
                                       created_at, expires_at)
    values (${key.id}, ${key.tenant_id}, ${key.default_vendor}, ${key.mode}, ${key.role}, ${key.digest}, ${key.prefix},
            ${key.name}, 1, ${key.created_at}, ${key.expires_at})
    returning ${keyColumns}
  `.execute(tx);
  const [row] = rows;
  if (!row) throw new Error('an insert returned no row');
  return row;
};

/** Whether a key with this digest was ever made, also one that was revoked since. */
export const hasApiKey = async (db: Db, digest: Buffer): Promise<boolean> => {
  const { rows } = await sql`select from vendors.api_keys where digest = ${digest}`.execute(db);
  return rows.length > 0;
};

/** Whether this key opens anything today. */
export const isApiKeyActive = async (db: Db, digest: Buffer, now: Date): Promise<boolean> => {
  const { rows } = await sql`
    select from vendors.api_keys
    where digest = ${digest} and revoked_at is null and (expires_at is null or expires_at > ${now})
  `.execute(db);
  return rows.length > 0;
};

type Owner = { tenantId: number; mode: Mode };

/** Whose a key is, for the operator who knows only its id. */
export const findApiKeyOwner = async (db: Db, id: string): Promise<Owner | undefined> => {
  const { rows } = await sql<Owner>`
    select tenant_id as "tenantId", mode from vendors.api_keys where id = ${id}
  `.execute(db);
  return rows[0];
};

/** The keys of one owner, newest first. */
export const listApiKeys = async (
  db: Db,
  page: { owner: Owner; limit: number; before: string | undefined },
): Promise<ApiKeyRow[]> => {
  const { rows } = await sql<ApiKeyRow>`
    select ${keyColumns} from vendors.api_keys k
    where k.tenant_id = ${page.owner.tenantId} and k.mode = ${page.owner.mode}
      and ${page.before === undefined ? sql`true` : sql`k.id < ${page.before}`}
    order by k.id desc limit ${page.limit}
  `.execute(db);
  return rows;
};

type OwnKey = { owner: Owner; id: string };

/** Revokes a key that is not revoked yet; undefined when there is none to revoke. */
export const revokeApiKey = async (
  tx: Tx,
  { owner, id, at }: OwnKey & { at: Date },
): Promise<ApiKeyRow | undefined> => {
  const { rows } = await sql<ApiKeyRow>`
    update vendors.api_keys k
    set revoked_at = ${at}, version = k.version + 1
    where k.id = ${id} and k.tenant_id = ${owner.tenantId} and k.mode = ${owner.mode} and k.revoked_at is null
    returning ${keyColumns}
  `.execute(tx);
  return rows[0];
};

/** A key of this owner, revoked or not. */
export const findOwnApiKey = async (tx: Tx, { owner, id }: OwnKey): Promise<ApiKeyRow | undefined> => {
  const { rows } = await sql<ApiKeyRow>`
    select ${keyColumns} from vendors.api_keys k
    where k.id = ${id} and k.tenant_id = ${owner.tenantId} and k.mode = ${owner.mode}
  `.execute(tx);
  return rows[0];
};
