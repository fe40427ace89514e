import assert from 'node:assert/strict';
import { CompiledQuery } from 'kysely';
import type { JournalEntry } from '../journal/entry.ts';
import { entryColumns } from '../journal/entry.ts';
import { requestHash } from '../journal/idempotency.ts';
import { createBatcher, type Batcher, type RunBatch } from '../lib/batch.ts';
import type { Json } from '../lib/canonical.ts';
import type { Clock } from '../lib/clock.ts';
import { bytesColumn, integerColumn, textColumn, type Column } from '../lib/columns.ts';
import {
  inTransaction,
  isPassing,
  sqlStateOf,
  type Db,
  type Pipeline,
  type Statement,
} from '../lib/database.ts';
import { currentDryRun, noteWritten } from '../lib/dry-run.ts';
import { databaseGone } from '../lib/errors.ts';
import { refusalTexts, transferColumns, type Transfer } from '../ledger/ledger.ts';
import type { Payment } from './payment.ts';
import { paymentColumns } from './store.ts';

/** A plain payment, ready to be written: object, money, journal entry, and the key whose answer it is. */
export type PaymentWrite = {
  payment: Payment;
  transfer: Transfer;
  entry: JournalEntry;
  key: { operation: string; key: string; request: Json; status: number } | undefined;
};

export type WriteOutcome = 'created' | 'repeated' | 'insufficient_funds' | 'balance_overflow';

export type PaymentWriter = Pick<Batcher<PaymentWrite, WriteOutcome>, 'submit' | 'drain' | 'depth'>;

/** How many payments may wait, in all and of one tenant, and how many one transaction writes. */
const limits = { batchMax: 256, queueMax: 8_192, groupMax: 4_096, inFlightMax: 2 };

type Watch = { onBatch(batch: RunBatch<PaymentWrite>): void };

/**
 * The micro-batch writer: payments that arrive while a batch is under way are written together by the next call of
 * `payments.create_batch`, two calls pipelined on one connection.
 */
export const createPaymentWriter = (pipeline: Pipeline, clock: Clock, watch?: Watch): PaymentWriter =>
  createBatcher<PaymentWrite, WriteOutcome>({
    ...limits,
    run: (writes) => writeBatch(pipeline, clock, writes),
    isPoison,
    groupOf: ({ payment }) => payment.tenantId,
    onBatch: (batch) => watch?.onBatch(batch),
  });

/** The same writer, which in a dry run writes by the same function, but alone and in the transaction of the dry run. */
export const rehearsableWriter = (writer: PaymentWriter, db: Db, clock: Clock): PaymentWriter => {
  const alone: Pick<Pipeline, 'query'> = {
    query: async <Row>({ text, values }: Statement): Promise<Row[]> =>
      inTransaction(db, async (tx) => (await tx.executeQuery<Row>(CompiledQuery.raw(text, values))).rows),
  };
  const rehearse = async (write: PaymentWrite): Promise<WriteOutcome> => {
    const [outcome] = await writeBatch(alone, clock, [write]);
    assert(outcome, 'the payment has no outcome');
    const { tenantId, id } = write.entry;
    if (outcome === 'created') noteWritten({ what: 'entry', tenantId, id });
    return outcome;
  };
  return { ...writer, submit: (write) => (currentDryRun() ? rehearse(write) : writer.submit(write)) };
};

const writeBatch = async (
  pipeline: Pick<Pipeline, 'query'>,
  clock: Clock,
  writes: readonly PaymentWrite[],
): Promise<readonly WriteOutcome[]> => {
  const values = [...columnsOf(writes), refusalTextsJson, clock.now()];
  const rows = await retried(() =>
    pipeline.query<{ outcomes: Record<string, WriteOutcome> }>({
      name: 'payments.create_batch',
      text: createBatch,
      values,
    }),
  );
  const { outcomes } = rows[0] ?? {};
  assert(outcomes, 'a batch without an outcome');
  return writes.map((_, index) => outcomes[index + 1] ?? 'created');
};

/** The parameters of `payments.create_batch`, but for the last two. */
const columnsOf = (writes: readonly PaymentWrite[]): Column[] => [
  ...paymentColumns(writes.map(({ payment }) => payment)),
  ...transferColumns(writes.map(({ transfer }) => transfer)),
  ...entryColumns(writes.map(({ entry }) => entry)),
  textColumn(writes.map(({ key }) => key?.operation)),
  textColumn(writes.map(({ key }) => key?.key)),
  bytesColumn(writes.map(({ key }) => key && requestHash(key.request))),
  integerColumn(writes.map(({ key }) => key?.status)),
];

/** As many parameters as `columnsOf` gives, and two. */
const createBatch = `select payments.create_batch(${Array.from(
  { length: columnsOf([]).length + 2 },
  (_, index) => `$${index + 1}`,
).join(', ')}) as outcomes`;

const refusalTextsJson = JSON.stringify(refusalTexts);

/** A deadlock or serialisation failure rolled the whole batch back: it is sent again, a few times. */
const retried = async <T>(run: () => Promise<T>, attemptsLeft = 3): Promise<T> => {
  try {
    return await run();
  } catch (error) {
    const code = sqlStateOf(error);
    if (attemptsLeft > 1 && (code === '40001' || code === '40P01')) return retried(run, attemptsLeft - 1);
    if (isPassing(error)) throw databaseGone(error);
    throw error;
  }
};

/** Classes 22 (data) and 23 (integrity) are about a row; everything else is about all of them. */
const isPoison = (error: unknown): boolean => /^2[23]/.test(sqlStateOf(error) ?? '');
