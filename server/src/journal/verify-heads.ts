import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import type { Finding } from '../lib/finding.ts';
import { findNewestHead, listHeadsUp, listStoredKeys, type BrokenKey, type StoredHead } from './heads.ts';
import { isEndorsedBy, isSignedBy, type PublicKey, type PublishedKey } from './signing.ts';
import type { LogOptions } from './verify-log.ts';

/** How many heads are read at once. */
const pageSize = 1_000;

/** Entries may wait that long for a head before it counts as missing. */
const unsignedMaxMs = 60_000;

/** Checks what is signed: the heads one by one and in their row, and the keys. What they are roots of, `verifyLog` checks. */
export const verifyHeads = async (db: Db, options: LogOptions): Promise<Finding[]> => {
  const stored = await listStoredKeys(db);
  return [await headsHold(db, stored, options), keysHold(stored, options.keys ?? [])];
};

type StoredKey = PublishedKey | BrokenKey;

const isWhole = (key: StoredKey): key is PublishedKey => key.key !== undefined;

const headsHold = async (
  db: Db,
  stored: readonly StoredKey[],
  { since, keys, now }: LogOptions,
): Promise<Finding> => {
  const check = 'heads are signed, in a row, and over everything';
  const known = new Map([...stored.filter(isWhole), ...(keys ?? [])].map((key) => [key.id, key]));
  let [looked, before]: [number, StoredHead | undefined] = [0, undefined];
  for (let after = await numberBefore(db, since?.size); ;) {
    const page = await listHeadsUp(db, after, pageSize);
    for (const head of page) {
      const difference = faultOfOrder(head, after, before) ?? faultOfSignatures(head, known);
      if (difference) return { check, looked, difference };
      looked += 1;
      before = head;
      after = head.number;
    }
    if (page.length < pageSize) break;
  }
  const newest = await findNewestHead(db);
  const difference = faultOfAnchor(newest, keys ?? []) ?? (await faultOfEnd(db, newest, now));
  return { check, looked, difference };
};

/** The number of the head that a check goes on from. */
const numberBefore = async (db: Db, size: bigint | undefined): Promise<bigint> => {
  if (size === undefined) return 0n;
  const { rows } = await sql<{ newest: bigint }>`
    select coalesce(max(number), 0) as newest from journal.heads where size <= ${size}
  `.execute(db);
  return rows[0]?.newest ?? 0n;
};

const faultOfOrder = (
  { number, size, timestamp }: StoredHead,
  after: bigint,
  before: StoredHead | undefined,
): string | undefined => {
  if (number !== after + 1n) return `head ${after + 1n} is missing`;
  if (before && (size <= before.size || timestamp < before.timestamp))
    return `head ${number} is over less, or older, than the one before it`;
  return undefined;
};

const faultOfSignatures = (head: StoredHead, known: ReadonlyMap<string, PublicKey>): string | undefined => {
  if (head.signatures.length === 0) return `head ${head.number} is not signed`;
  for (const signature of head.signatures) {
    const key = known.get(signature.key_id);
    if (!key) return `head ${head.number} is signed by the key ${signature.key_id}, which is not known`;
    if (!isSignedBy({ ...head, signatures: [signature] }, key))
      return `head ${head.number} is not what the key ${key.id} signed`;
  }
  return undefined;
};

const faultOfAnchor = (newest: StoredHead | undefined, keys: readonly PublicKey[]): string | undefined =>
  newest === undefined || keys.length === 0 || keys.some((key) => isSignedBy(newest, key))
    ? undefined
    : `head ${newest.number}, the newest, is not signed by the key that signs heads now`;

/** Whoever takes the newest heads away leaves positions that nobody signed. */
const faultOfEnd = async (
  db: Db,
  newest: StoredHead | undefined,
  now: Date | undefined,
): Promise<string | undefined> => {
  if (!now) return undefined;
  const { rows } = await sql<{ position: bigint; timestamp: Date }>`
    select p.position, e.timestamp
    from journal.positions p join journal.entries e on e.tenant_id = p.tenant_id and e.id = p.entry_id
    where p.position >= ${newest?.size ?? 0n} order by p.position limit 1
  `.execute(db);
  const [first] = rows;
  if (!first || now.getTime() - first.timestamp.getTime() < unsignedMaxMs) return undefined;
  return `position ${first.position} and what follows are under no head: none is signed any more, or some were removed`;
};

/** Every key but the first has the word of the one before it, or is known from elsewhere. */
const keysHold = (stored: readonly StoredKey[], trusted: readonly PublicKey[]): Finding => {
  const check = 'every key that signed heads is whole, and the key before it vouches for it';
  const whole = stored.filter(isWhole);
  const first = whole.find(({ endorsed }) => endorsed === undefined);
  const fault = stored.flatMap((key) => {
    if (!isWhole(key)) return [`key ${key.id}: it was altered`];
    if (key === first || trusted.some(({ id }) => id === key.id)) return [];
    if (!key.endorsed) return [`key ${key.id}: no key before it vouches for it`];
    const by = whole.find(({ id }) => id === key.endorsed?.by);
    return by && isEndorsedBy(key, by)
      ? []
      : [`key ${key.id}: the key ${key.endorsed.by} does not vouch for it`];
  });
  return { check, looked: stored.length, difference: fault[0] };
};
