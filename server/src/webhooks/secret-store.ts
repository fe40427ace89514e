import { sql } from 'kysely';
import type { Db, Tx } from '../lib/database.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';

/** A secret of an endpoint as it is stored. The newest has no end. */
export type StoredSecret = {
  endpointId: Id<'webhook_endpoint'>;
  number: number;
  sealed: Buffer;
  createdAt: Date;
  expiresAt: Date | null;
};

type SecretRow = {
  endpoint_id: string;
  number: number;
  sealed: Buffer;
  created_at: Date;
  expires_at: Date | null;
};

/** The secrets that sign for these endpoints now, each endpoint's newest first. */
export const listSigning = async (
  db: Db | Tx,
  ids: readonly Id<'webhook_endpoint'>[],
  now: Date,
): Promise<StoredSecret[]> => {
  const { rows } = await sql<SecretRow>`
    select endpoint_id, number, sealed, created_at, expires_at from webhooks.secrets
    where endpoint_id = any(${ids.map((id) => toUuid(id))}::uuid[]) and (expires_at is null or expires_at > ${now})
    order by endpoint_id, number desc
  `.execute(db);
  return rows.map((row) => ({
    endpointId: fromUuid('webhook_endpoint', row.endpoint_id),
    number: row.number,
    sealed: row.sealed,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  }));
};

/** Stores the newest secret of an endpoint. */
export const insertSecret = async (tx: Tx, tenantId: number, secret: StoredSecret): Promise<void> => {
  await sql`
    insert into webhooks.secrets (endpoint_id, number, tenant_id, sealed, created_at)
    values (${toUuid(secret.endpointId)}, ${secret.number}, ${tenantId}, ${secret.sealed}, ${secret.createdAt})
  `.execute(tx);
};

/** Ends an endpoint's secrets at this time; one that ends before keeps its own end. */
export const endSecrets = async (tx: Tx, id: Id<'webhook_endpoint'>, at: Date): Promise<void> => {
  await sql`
    update webhooks.secrets set expires_at = ${at}
    where endpoint_id = ${toUuid(id)} and (expires_at is null or expires_at > ${at})
  `.execute(tx);
};

/** The number of an endpoint's newest secret; 0 before the first. */
export const newestNumber = async (tx: Tx, id: Id<'webhook_endpoint'>): Promise<number> => {
  const { rows } = await sql<{ number: number }>`
    select coalesce(max(number), 0) as number from webhooks.secrets where endpoint_id = ${toUuid(id)}
  `.execute(tx);
  return rows[0]?.number ?? 0;
};
