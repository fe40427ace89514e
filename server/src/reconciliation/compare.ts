import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append } from '../journal/journal.ts';
import type { JournalEntry } from '../journal/entry.ts';
import type { Context } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { invalidField } from '../lib/errors.ts';
import { newId, type Id } from '../lib/ids.ts';
import { runSnapshot } from './answers.ts';
import {
  clearStage,
  insertBreaks,
  listOwners,
  pairingSteps,
  pairLines,
  stageLines,
  type Period,
} from './stage.ts';
import { readStatement, type StatementFacts, type StatementFormat } from './statement.ts';
import { insertRun, type Run } from './store.ts';

/** Who does it, and under which idempotency key. */
export type Write = { context: Context; key: string | undefined };

/** A statement as it was sent. */
export type Statement = { bytes: AsyncIterable<Buffer>; format: StatementFormat };

/** Told how far a comparison is, for whoever waits for it: which step is begun, and of how many. */
export type OnStep = (step: number, steps: number) => void;

/** A statement that was read and set aside, to be compared. */
export type Staged = StatementFacts & { id: Id<'reconciliation'> };

/** What to compare it with; what is missing is found out from the statement. */
export type Wanted = { connector?: string | undefined; from?: Date | undefined; until?: Date | undefined };

const dayMs = 86_400_000;

/**
 * Reads a statement, sets it aside and has `use` work on it; afterwards nothing of it is left but what `use` kept.
 * @throws AppError `invalid_request` that names every line that is wrong
 */
export const withStatement = async <T>(
  db: Db,
  now: Date,
  { bytes, format }: Statement,
  use: (staged: Staged) => Promise<T>,
): Promise<T> => {
  const id = newId('reconciliation');
  try {
    const batches = readStatement(bytes, format);
    for (;;) {
      const { value, done } = await batches.next();
      if (done) return await use({ id, ...value });
      await stageLines(db, id, value);
    }
  } finally {
    // Where it fails, a later comparison removes it.
    await clearStage(db, id, new Date(now.getTime() - dayMs)).catch(() => undefined);
  }
};

/**
 * Compares a statement that was set aside with the books of the tenant, and writes what came of it.
 * @throws AppError `invalid_request` when it can't be told which backend or period is meant, and those of a key
 */
export const compareStatement = async (
  db: Db,
  { context, key }: Write,
  staged: Staged,
  wanted: Wanted,
  onStep: OnStep = () => undefined,
): Promise<GivenAnswer> => {
  const { tenantId } = context;
  const connector = await connectorOf(db, staged, tenantId, wanted.connector);
  const period = periodOf(staged, wanted);
  const compared = { tenantId, connector, period };
  const steps = pairingSteps.length + 1;
  await pairLines(db, staged.id, compared, (step) => onStep(step, steps));
  const request = {
    statement: staged.digest.toString('hex'),
    connector: wanted.connector ?? null,
    from: wanted.from?.toISOString() ?? null,
    until: wanted.until?.toISOString() ?? null,
  };
  return answerOnce(db, { context, operation: 'reconciliations.create', key, request }, async (tx) => {
    onStep(steps, steps);
    const entry = await writeRun(tx, context, staged, compared);
    return { status: 201, entry };
  });
};

/** The run and what it found, and one event; a second one where there is a break. */
const writeRun = async (
  tx: Tx,
  context: Context,
  { id, lines, digest }: Staged,
  compared: { tenantId: number; connector: string; period: Period },
): Promise<JournalEntry> => {
  const { matched, types } = await insertBreaks(tx, id, compared);
  const breaks = Object.values(types).reduce((total, count) => total + count, 0);
  const run: Run = {
    ...compared,
    id,
    version: 1,
    digest,
    lines,
    matched,
    breaks,
    types,
    corrected: 0,
    createdAt: context.now,
    updatedAt: context.now,
  };
  const write = ({ version }: { version: number }, kind: string): Promise<JournalEntry> => {
    const snapshot = runSnapshot({ ...run, version });
    return append(tx, context, { kind, object: { type: 'reconciliation', id, version }, snapshot });
  };
  await insertRun(tx, { ...run, version: breaks > 0 ? 2 : 1 });
  const completed = await write({ version: 1 }, 'reconciliation.completed');
  return breaks > 0 ? write({ version: 2 }, 'reconciliation.mismatch') : completed;
};

/** The backend that is named, or that of the payments that the statement names. */
const connectorOf = async (
  db: Db,
  { id }: Staged,
  tenantId: number,
  named: string | undefined,
): Promise<string> => {
  if (named !== undefined) return named;
  const owners = await listOwners(db, id, tenantId);
  const [owner, ...others] = owners;
  if (owner && others.length === 0) return owner.connector;
  throw invalidField(
    'connector',
    owner
      ? `the statement names payments of ${owners.map(({ connector }) => connector).join(' and ')}; say whose it is`
      : 'none of the first references of the statement is known here; say whose statement it is',
  );
};

/** The period that is given, or the days from the first line to the last. */
const periodOf = ({ dates }: Staged, wanted: Wanted): Period => {
  const from = wanted.from ?? (dates && startOfDay(dates.first));
  const until = wanted.until ?? (dates && new Date(startOfDay(dates.last).getTime() + dayMs));
  if (!from || !until)
    throw invalidField('from', 'the statement has no line; give the period, from and until');
  if (from >= until) throw invalidField('until', 'must be after the beginning of the period');
  return { from, until };
};

const startOfDay = (time: Date): Date => new Date(Math.floor(time.getTime() / dayMs) * dayMs);
