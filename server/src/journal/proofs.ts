import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { AppError, invalidField, notFound } from '../lib/errors.ts';
import { fromUuid, toUuid, type Id, type IdKind } from '../lib/ids.ts';
import { entryContent, type JournalEntry, type ReadTransfers } from './entry.ts';
import { findHead, findNewestHead, listHeads, listKeys } from './heads.ts';
import { entryFromRow, type EntryRow } from './row.ts';
import type { ConsistencyJson, HeadJson, KeyJson, ProofJson } from './schema.ts';
import { pemOf, type PublishedKey, type SignedHead } from './signing.ts';
import { consistencyProof, inclusionProof } from './tree.ts';

type ProofParts = { db: Db; readTransfers: ReadTransfers };

/**
 * Proves that an entry is in the log that the newest head is over.
 * @param earlier the size of an earlier head, to prove besides that the log began like that
 * @throws AppError `not_found`; `not_sealed` while the entry is under no head yet
 */
export const proveEntry = async (
  { db, readTransfers }: ProofParts,
  { tenantId, id }: { tenantId: number; id: Id<'journal_entry'> },
  earlier?: bigint,
): Promise<ProofJson> => {
  const { entry, position } = await getSealedEntry(db, readTransfers, { tenantId, id });
  const head = await findNewestHead(db);
  if (position === undefined || !head || head.size <= position) throw notSealed();
  const steps = await inclusionProof(db, position, head.size);
  const start =
    earlier === undefined ? undefined : await proveConsistency(db, { first: earlier, second: head.size });
  return {
    object: 'journal_proof',
    // What is hashed has these members; that it is JSON is all that its type says.
    entry: entryContent(entry) as ProofJson['entry'],
    hash: entry.hash.toString('hex'),
    position: position.toString(),
    head: headJson(head),
    steps: steps.map((step) => step.toString('hex')),
    earlier: start ? { head: start.first, steps: start.steps } : null,
    keys: (await listKeys(db)).map(keyJson),
  };
};

/** Retrying makes sense after this: the sequencer looks ten times a second and signs once. */
const notSealed = (): AppError =>
  new AppError('not_sealed', 'The entry is under no signed head of the journal yet.', { retryAfterS: 2 });

const getSealedEntry = async (
  db: Db,
  readTransfers: ReadTransfers,
  { tenantId, id }: { tenantId: number; id: Id<'journal_entry'> },
): Promise<{ entry: JournalEntry; position: bigint | undefined }> => {
  const { rows } = await sql<{ entry: EntryRow; position: bigint | null }>`
    select to_jsonb(e) as entry, p.position
    from journal.entries e left join journal.positions p on p.entry_id = e.id
    where e.tenant_id = ${tenantId} and e.id = ${toUuid(id)}
  `.execute(db);
  const row = rows[0];
  if (!row) throw notFound('journal entry');
  const transferId = row.entry.transfer_id === null ? undefined : fromUuid('transfer', row.entry.transfer_id);
  const transfer = transferId && (await readTransfers([transferId])).get(transferId);
  return { entry: { ...entryFromRow(row.entry), transfer }, position: row.position ?? undefined };
};

/**
 * Proves that the log of the head with the size `second` (the newest, unless given) begins with that of the head with the
 * size `first` (the one before, unless given).
 * @throws AppError `not_found` when there is no such head; `invalid_request` when the first is the later
 */
export const proveConsistency = async (
  db: Db,
  { first, second }: { first?: bigint | undefined; second?: bigint | undefined },
): Promise<ConsistencyJson> => {
  const later = second === undefined ? await findNewestHead(db) : await findHead(db, second);
  if (!later) throw notFound('journal head');
  const earlier =
    first === undefined
      ? (await listHeads(db, { before: later.number, limit: 1 }))[0]
      : await findHead(db, first);
  if (!earlier) throw notFound('journal head');
  if (earlier.size > later.size) throw invalidField('first', 'must not be above `second`');
  const steps = await consistencyProof(db, earlier.size, later.size);
  return {
    object: 'journal_consistency',
    first: headJson(earlier),
    second: headJson(later),
    steps: steps.map((step) => step.toString('hex')),
  };
};

/** The newest entry of an object, or the entry itself, of whichever tenant: for the operator. */
export const findEntryOf = async (
  db: Db,
  id: Id<IdKind>,
): Promise<{ tenantId: number; id: Id<'journal_entry'> } | undefined> => {
  const { rows } = await sql<{ tenant_id: number; id: string }>`
    (select tenant_id, entry_id as id, null::integer as version from journal.positions where entry_id = ${toUuid(id)})
    union all
    (select tenant_id, id, object_version from journal.entries
     where object_id = ${toUuid(id)} and object_version is not null order by object_version desc limit 1)
    limit 1
  `.execute(db);
  return rows[0] && { tenantId: rows[0].tenant_id, id: fromUuid('journal_entry', rows[0].id) };
};

/** The public form of a head. */
export const headJson = ({ number, size, root, timestamp, signatures }: SignedHead): HeadJson => ({
  object: 'journal_head',
  number: number.toString(),
  size: size.toString(),
  root: root.toString('hex'),
  timestamp: timestamp.toISOString(),
  signatures: [...signatures],
});

/** The public form of a key. */
export const keyJson = ({ id, key, createdAt, endorsed }: PublishedKey): KeyJson => ({
  id,
  public_key: pemOf(key),
  created_at: createdAt.toISOString(),
  endorsed_by: endorsed?.by ?? null,
  endorsement: endorsed?.signature.toString('base64') ?? null,
});
