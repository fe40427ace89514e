import type { JournalEntry } from '../journal/entry.ts';
import { entryRow } from '../journal/entry.ts';
import { requestHash } from '../journal/idempotency.ts';
import { createBatcher, type Batcher } from '../lib/batch.ts';
import type { Json } from '../lib/canonical.ts';
import type { Clock } from '../lib/clock.ts';
import { isDatabaseGone, sqlStateOf, type Pipeline } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { toUuid } from '../lib/ids.ts';
import { refusalTexts, transferRows, type Transfer } from '../ledger/ledger.ts';
import type { Payment } from './payment.ts';
import { paymentRow } from './store.ts';

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

type Watch = { onBatch(batch: { size: number; waitedMs: number; tookMs: number }): void };

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

const writeBatch = async (
  pipeline: Pipeline,
  clock: Clock,
  writes: readonly PaymentWrite[],
): Promise<readonly WriteOutcome[]> => {
  const { transfers, postings } = transferRows(writes.map(({ transfer }) => transfer));
  const columns = [
    writes.map(paymentColumn),
    transfers,
    postings,
    writes.map(entryColumn),
    writes.flatMap(keyColumn),
  ];
  const rows = await retried(() =>
    pipeline.query<{ outcome: WriteOutcome }>({
      name: 'payments.create_batch',
      text: `select outcome from payments.create_batch($1::jsonb, $2::jsonb, $3::jsonb, $4::jsonb, $5::jsonb, $6::jsonb, $7)
             order by ord`,
      values: [...columns.map((column) => JSON.stringify(column)), refusalTextsJson, clock.now()],
    }),
  );
  return rows.map(({ outcome }) => outcome);
};

const refusalTextsJson = JSON.stringify(refusalTexts);

const paymentColumn = ({ payment }: PaymentWrite, ord: number): Json => ({ ord, ...paymentRow(payment) });

const entryColumn = ({ entry }: PaymentWrite, ord: number): Json => ({ ord, ...entryRow(entry) });

const keyColumn = ({ payment, entry, key }: PaymentWrite, ord: number): Json[] =>
  key === undefined
    ? []
    : [
        {
          ord,
          tenant_id: payment.tenantId,
          operation: key.operation,
          key: key.key,
          request_hash: requestHash(key.request).toString('hex'),
          status: key.status,
          entry_id: toUuid(entry.id),
        },
      ];

/** A deadlock or serialisation failure rolled the whole batch back: it is sent again, a few times. */
const retried = async <T>(run: () => Promise<T>, attemptsLeft = 3): Promise<T> => {
  try {
    return await run();
  } catch (error) {
    const code = sqlStateOf(error);
    if (attemptsLeft > 1 && (code === '40001' || code === '40P01')) return retried(run, attemptsLeft - 1);
    if (isDatabaseGone(error)) {
      throw new AppError(
        'unavailable',
        'The database is not available. Repeat the request with the same key.',
        {
          cause: error,
          retryAfterS: 1,
        },
      );
    }
    throw error;
  }
};

/** Classes 22 (data) and 23 (integrity) are about a row; everything else is about all of them. */
const isPoison = (error: unknown): boolean => /^2[23]/.test(sqlStateOf(error) ?? '');
