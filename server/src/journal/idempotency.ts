import { sql } from 'kysely';
import type { Context } from '../lib/caller.ts';
import { canonicalHash, type Json } from '../lib/canonical.ts';
import { inTransaction, type Db, type Tx } from '../lib/database.ts';
import { AppError, errorKinds, type ErrorCode } from '../lib/errors.ts';
import { fromUuid, toUuid } from '../lib/ids.ts';
import { step } from '../lib/step.ts';
import { entryFromRow, type EntryRow } from './row.ts';
import type { JournalEntry } from './entry.ts';

/**
 * What a write answers: the status, and the journal entry from whose snapshot the body is made.
 * `sealed` is an encrypted part of the answer that no table may hold in clear, such as a new API key.
 */
export type Answer = {
  status: number;
  entry: JournalEntry;
  sealed?: Buffer | undefined;
  /** The answer is provisional: until then a backend is called, and repeated requests get 409. */
  openUntil?: Date | undefined;
};
export type GivenAnswer = Answer & { replayed: boolean };

/** One write as the Idempotency-Key header (IETF draft) sees it: keys are scoped to tenant and operation. */
export type KeyedRequest = {
  context: Context;
  /** The route template by its name, e.g. `payments.create`. */
  operation: string;
  /** The Idempotency-Key, if the caller sent one. */
  key: string | undefined;
  /** Body and path parameters: an equal key with another request is refused. */
  request: Json;
};

/**
 * Runs a write so that one key has one effect and one answer, also across a crash between commit and reply.
 * `run` works in the transaction that also stores the key. Refusals of state and money (409, 422) are answers and are
 * stored; refused validation is not.
 * @throws AppError `idempotency_key_reused`, `request_in_flight`, or what `run` refuses with
 */
export const answerOnce = (
  db: Db,
  request: KeyedRequest,
  run: (tx: Tx) => Promise<Answer>,
): Promise<GivenAnswer> => refuseOnce(db, request, () => commitAnswer(db, request, run));

/** The inner half of `answerOnce`, for a write that does more around its transaction: call it inside `refuseOnce`. */
export const commitAnswer = async (
  db: Db,
  request: KeyedRequest,
  run: (tx: Tx) => Promise<Answer>,
): Promise<GivenAnswer> => {
  const { key } = request;
  if (key === undefined) return { ...(await inTransaction(db, run)), replayed: false };
  const keyed = { ...request, key };
  const earlier = await findAnswer(db, keyed);
  if (earlier) return earlier;
  const answer = await inTransaction(db, async (tx) => {
    const made = await run(tx);
    if (!(await storeAnswer(tx, keyed, made))) throw new KeyTaken();
    return made;
  });
  return { ...answer, replayed: false };
};

/**
 * Runs a write that stores its own answer, and stores its refusal if it refuses. When another request took the key
 * meanwhile, the answer of that one counts.
 */
export const refuseOnce = async (
  db: Db,
  request: KeyedRequest,
  run: () => Promise<GivenAnswer>,
): Promise<GivenAnswer> => {
  try {
    return await run();
  } catch (error) {
    const { key } = request;
    if (key === undefined) throw error;
    if (error instanceof KeyTaken) return storedAnswer(db, { ...request, key });
    if (!(error instanceof AppError) || error.replayed || !isAnswer(error)) throw error;
    step('refusal.store');
    const isStored = await storeRefusal(db, { ...request, key }, error);
    step('refusal.stored');
    if (isStored) throw error;
    return storedAnswer(db, { ...request, key });
  }
};

type Keyed = KeyedRequest & { key: string };

/** The hash by which two requests count as equal. */
export const requestHash = (request: Json): Buffer => canonicalHash(request);

/**
 * The stored answer of a key, or undefined when the key is new.
 * @throws AppError the stored refusal, `idempotency_key_reused` or `request_in_flight`
 */
const findAnswer = async (db: Db | Tx, request: Keyed): Promise<GivenAnswer | undefined> => {
  const { rows } = await sql<KeyRow>`
    select k.request_hash, k.status, k.refusal, k.sealed, k.open_until, k.entry_id, to_jsonb(e) as entry
    from journal.idempotency_keys k
    left join journal.entries e on e.tenant_id = k.tenant_id and e.id = k.entry_id
    where k.tenant_id = ${request.context.tenantId} and k.operation = ${request.operation} and k.key = ${request.key}
  `.execute(db);
  const row = rows[0];
  return row && readAnswer(row, request);
};

/** Stores the answer of a key; false when another request holds the key. */
const storeAnswer = async (tx: Tx, request: Keyed, answer: Answer): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    insert into journal.idempotency_keys
      (tenant_id, operation, key, request_hash, status, entry_id, sealed, open_until, created_at)
    values (${request.context.tenantId}, ${request.operation}, ${request.key}, ${requestHash(request.request)},
            ${answer.status}, ${toUuid(answer.entry.id)}, ${answer.sealed}, ${answer.openUntil}, ${request.context.now})
    on conflict do nothing
  `.execute(tx);
  return numAffectedRows === 1n;
};

/** Replaces the provisional answer of a key once the backend call is settled. */
export const settleAnswer = async (
  tx: Tx,
  request: { tenantId: number; operation: string; key: string },
  answer: Answer,
): Promise<void> => {
  await sql`
    update journal.idempotency_keys
    set status = ${answer.status}, entry_id = ${toUuid(answer.entry.id)}, open_until = null
    where tenant_id = ${request.tenantId} and operation = ${request.operation} and key = ${request.key}
  `.execute(tx);
};

/** Signals that the key was taken while the write ran: everything it did is rolled back. */
class KeyTaken extends Error {
  override readonly name = 'KeyTaken';
}

type KeyRow = {
  request_hash: Buffer;
  status: number;
  refusal: { code: ErrorCode; detail: string } | null;
  sealed: Buffer | null;
  open_until: Date | null;
  entry_id: string | null;
  entry: EntryRow | null;
};

const readAnswer = (row: KeyRow, request: Keyed): GivenAnswer => {
  if (!row.request_hash.equals(requestHash(request.request))) {
    throw new AppError(
      'idempotency_key_reused',
      'This Idempotency-Key was used with another request. Use a new key for a new request.',
    );
  }
  if (row.refusal) throw new AppError(row.refusal.code, row.refusal.detail, { replayed: true });
  if (row.open_until && row.open_until > request.context.now) {
    const leftMs = row.open_until.getTime() - request.context.now.getTime();
    throw new AppError('request_in_flight', 'The first request with this Idempotency-Key is still running.', {
      retryAfterS: Math.max(1, Math.ceil(leftMs / 1000)),
    });
  }
  if (!row.entry) {
    const id = row.entry_id ? fromUuid('journal_entry', row.entry_id) : 'none';
    throw new Error(`the journal entry ${id} of an idempotency key is missing`);
  }
  return {
    status: row.status,
    entry: entryFromRow(row.entry),
    sealed: row.sealed ?? undefined,
    replayed: true,
  };
};

/** The stored answer of a key that is known to exist. */
export const storedAnswer = async (db: Db, request: Keyed): Promise<GivenAnswer> => {
  const answer = await findAnswer(db, request);
  if (!answer)
    throw new AppError('unavailable', 'The request was rolled back. Send it again with the same key.', {
      retryAfterS: 1,
    });
  return answer;
};

/** A refusal that is an answer: repeating the request would not be a mistake of form but ask for the same money. */
const isAnswer = (error: AppError): boolean => {
  const { status } = errorKinds[error.code];
  const transient: readonly ErrorCode[] = ['idempotency_key_reused', 'request_in_flight'];
  return (status === 409 || status === 422) && !transient.includes(error.code);
};

/** Stores a refusal as the answer of a key; false when another request holds the key. */
const storeRefusal = async (db: Db, request: Keyed, refusal: AppError): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, refusal, created_at)
    values (${request.context.tenantId}, ${request.operation}, ${request.key}, ${requestHash(request.request)},
            ${refusal.status}, ${JSON.stringify({ code: refusal.code, detail: refusal.message })}::jsonb,
            ${request.context.now})
    on conflict do nothing
  `.execute(db);
  return numAffectedRows === 1n;
};
