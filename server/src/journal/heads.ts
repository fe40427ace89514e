import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { readPublicKey, derOf, type PublishedKey, type SignedHead, type Signer } from './signing.ts';

/**
 * A head, and how far the log had come: every entry that the snapshot sees (`pg_snapshot`, of transactions of this cluster)
 * has its position. Not signed, since it says nothing about the log.
 */
export type StoredHead = SignedHead & { snapshot: string; cluster: bigint };

export const findNewestHead = async (db: Db): Promise<StoredHead | undefined> =>
  (await listHeads(db, { limit: 1 }))[0];

/** The head of exactly this size. */
export const findHead = async (db: Db, size: bigint): Promise<StoredHead | undefined> => {
  const { rows } = await sql<StoredHead>`select * from journal.heads where size = ${size}`.execute(db);
  return rows[0];
};

/** Heads, the newest first, before the one with the number `before`. */
export const listHeads = async (
  db: Db,
  { before, limit }: { before?: bigint | undefined; limit: number },
): Promise<StoredHead[]> => {
  const { rows } = await sql<StoredHead>`
    select * from journal.heads where number < coalesce(${before}::bigint, 9223372036854775807) order by number desc limit ${limit}
  `.execute(db);
  return rows;
};

/** Heads in the order in which they were signed, after the one with the number `after`. */
export const listHeadsUp = async (db: Db, after: bigint, limit: number): Promise<StoredHead[]> => {
  const { rows } = await sql<StoredHead>`
    select * from journal.heads where number > ${after} order by number limit ${limit}
  `.execute(db);
  return rows;
};

export const insertHead = async (db: Db, head: StoredHead): Promise<void> => {
  await sql`
    insert into journal.heads (number, size, root, timestamp, signatures, snapshot, cluster)
    values (${head.number}, ${head.size}, ${head.root}, ${head.timestamp}, ${JSON.stringify(head.signatures)}::jsonb,
            ${head.snapshot}::pg_snapshot, ${head.cluster})
  `.execute(db);
};

type KeyRow = {
  id: string;
  public_key: Buffer;
  created_at: Date;
  endorsed_by: string | null;
  endorsement: Buffer | null;
};

/** A stored key whose bytes are none any more, or another one's. */
export type BrokenKey = { id: string; createdAt: Date; key: undefined };

/** Every key that ever signed heads, the oldest first; bounded, since keys are made by hand. */
export const listStoredKeys = async (db: Db): Promise<(PublishedKey | BrokenKey)[]> => {
  const { rows } = await sql<KeyRow>`
    select * from journal.keys order by created_at, id limit ${keysMax}
  `.execute(db);
  return rows.map((row) => {
    const read = readPublicKey(row.public_key);
    if (read?.id !== row.id) return { id: row.id, createdAt: row.created_at, key: undefined };
    const endorsed =
      row.endorsed_by !== null && row.endorsement !== null
        ? { by: row.endorsed_by, signature: row.endorsement }
        : undefined;
    return { ...read, createdAt: row.created_at, endorsed };
  });
};

export const keysMax = 1_000;

/** The keys that are whole. */
export const listKeys = async (db: Db): Promise<PublishedKey[]> =>
  (await listStoredKeys(db)).filter((key) => key.key !== undefined);

/** Makes the keys of a signer known, before it signs: the older first, which vouches for the newer. */
export const publishKeys = async (db: Db, { keys, endorsements }: Signer, now: Date): Promise<void> => {
  for (const { id, key } of keys.toReversed()) {
    const endorsed = endorsements.find(({ of }) => of === id);
    await sql`
      insert into journal.keys (id, public_key, created_at, endorsed_by, endorsement)
      values (${id}, ${derOf(key)}, ${now}, ${endorsed?.by}, ${endorsed?.signature})
      on conflict do nothing
    `.execute(db);
  }
};
