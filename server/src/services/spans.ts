import type { RunBatch } from '../lib/batch.ts';
import type { Trace } from '../lib/http/trace.ts';
import type { OnTransaction } from '../lib/transactions.ts';
import { spanTimeMs, type Tracing } from '../lib/tracing.ts';
import type { PaymentWrite, PaymentWriter } from '../payments/writer.ts';

/** What shows the writer's work in the traces of those who wait for it. */
export type WriterSpans = {
  /** The writer, remembering in which trace each payment was given to it. */
  traced(writer: PaymentWriter): PaymentWriter;
  /** Records, for each payment of a batch, how long it waited and how long the batch took. */
  onBatch(batch: RunBatch<PaymentWrite>): void;
};

/** One batch has many requests: each recorded trace gets the two spans of its own. */
export const writerSpans = (tracing: Tracing): WriterSpans => {
  const given = new WeakMap<PaymentWrite, { trace: Trace; atMs: number }>();
  return {
    traced: (writer) => ({
      ...writer,
      submit: (write) => {
        const trace = tracing.active();
        if (trace) given.set(write, { trace, atMs: spanTimeMs() });
        return writer.submit(write);
      },
    }),
    onBatch: ({ size, tookMs, items }) => {
      const endedAtMs = spanTimeMs();
      const startedAtMs = endedAtMs - tookMs;
      for (const item of items()) {
        const known = given.get(item);
        if (!known) continue;
        const { trace, atMs } = known;
        tracing.recordWork(trace, { name: 'payments.queue', startedAtMs: atMs, endedAtMs: startedAtMs });
        const attributes = { ...postgres, 'db.operation.batch.size': size };
        tracing.recordWork(trace, {
          name: 'payments.batch',
          kind: 'client',
          startedAtMs,
          endedAtMs,
          attributes,
        });
      }
    },
  };
};

/** Records every transaction of a recorded request. */
export const transactionSpans =
  (tracing: Tracing): OnTransaction =>
  ({ committed, tookMs }) => {
    const trace = tracing.active();
    if (!trace) return;
    const endedAtMs = spanTimeMs();
    tracing.recordWork(trace, {
      name: 'transaction',
      kind: 'client',
      startedAtMs: endedAtMs - tookMs,
      endedAtMs,
      attributes: { ...postgres, 'florin.transaction.end': committed ? 'commit' : 'rollback' },
    });
  };

const postgres = { 'db.system.name': 'postgresql' } as const;
