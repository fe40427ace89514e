import { AppError } from './errors.ts';
import { step } from './step.ts';

export type Batcher<T, R> = {
  /**
   * Adds an item to the next batch and gives its result.
   * @throws AppError `overloaded` when the queue, or the share of the item's group, is full
   */
  submit(item: T): Promise<R>;
  /** Waits until everything submitted is answered; later submissions are refused. */
  drain(): Promise<void>;
  /** Items waiting for a batch. */
  depth(): number;
};

type Options<T, R> = {
  /** Runs a batch as one unit: either it gives one result per item, in order, or it throws and nothing happened. */
  run(items: readonly T[]): Promise<readonly R[]>;
  /** Whether an error is one item's fault. Then the batch is halved until the item stands alone; others succeed. */
  isPoison(error: unknown): boolean;
  /** Items of one group keep their order; groups take turns, so that a flood of one does not starve another. */
  groupOf(item: T): number;
  batchMax: number;
  queueMax: number;
  groupMax: number;
  /** Batches under way at once. */
  inFlightMax: number;
  /** Told of every batch that was run, once; `waitedMs` is how long its oldest item had waited. */
  onBatch?(batch: RunBatch<T>): void;
};

/** `items` gives what was in the batch, to whoever wants to know. */
export type RunBatch<T> = { size: number; waitedMs: number; tookMs: number; items(): readonly T[] };

type Waiting<T, R> = {
  item: T;
  since: number;
  resolve(result: R): void;
  reject(error: unknown): void;
};

/**
 * A micro-batch without a timer: what arrives while batches are in flight is the next batch. A lone item waits for
 * nothing; under load batches grow by themselves, and the cost of a commit is shared.
 */
export const createBatcher = <T, R>(options: Options<T, R>): Batcher<T, R> => {
  const groups = new Map<number, Waiting<T, R>[]>();
  let depth = 0;
  let inFlight = 0;
  let draining = false;
  let onIdle: (() => void) | undefined;

  const pump = (): void => {
    while (depth > 0 && inFlight < options.inFlightMax) {
      const batch = takeTurns(groups, options.batchMax);
      depth -= batch.length;
      inFlight += 1;
      void flush(batch);
    }
    if (depth === 0 && inFlight === 0) onIdle?.();
  };

  const flush = async (batch: readonly Waiting<T, R>[]): Promise<void> => {
    const startedAt = performance.now();
    const settle = await settleBatch(batch, options);
    inFlight -= 1;
    // The next batch leaves before these replies are written: the database works while we do.
    pump();
    options.onBatch?.({
      size: batch.length,
      waitedMs: startedAt - batch.reduce((oldest, { since }) => Math.min(oldest, since), startedAt),
      tookMs: performance.now() - startedAt,
      items: () => batch.map(({ item }) => item),
    });
    settle();
  };

  return {
    submit: (item) =>
      new Promise((resolve, reject) => {
        const group = options.groupOf(item);
        const queue = groups.get(group) ?? [];
        if (draining || depth >= options.queueMax || queue.length >= options.groupMax) {
          reject(
            new AppError('overloaded', 'Too many writes are waiting. Try again shortly.', { retryAfterS: 1 }),
          );
          return;
        }
        queue.push({ item, since: performance.now(), resolve, reject });
        groups.set(group, queue);
        depth += 1;
        pump();
      }),
    drain: () => {
      draining = true;
      return new Promise((resolve) => {
        onIdle = resolve;
        pump();
      });
    },
    depth: () => depth,
  };
};

/**
 * Takes one item of each group in turn until the batch is full. A group that had its turn is deleted and, if it has more,
 * added again: a Map visits it again after the others, also within this loop.
 */
const takeTurns = <T, R>(groups: Map<number, Waiting<T, R>[]>, batchMax: number): Waiting<T, R>[] => {
  const batch: Waiting<T, R>[] = [];
  for (const [group, queue] of groups) {
    const next = queue.shift();
    if (next) batch.push(next);
    groups.delete(group);
    if (queue.length > 0) groups.set(group, queue);
    if (batch.length >= batchMax) break;
  }
  return batch;
};

/** Runs a batch, halving it around poison, and gives the function that answers everybody. */
const settleBatch = async <T, R>(
  batch: readonly Waiting<T, R>[],
  options: Options<T, R>,
): Promise<() => void> => {
  try {
    step('batch.send');
    const results = await options.run(batch.map(({ item }) => item));
    step('batch.committed');
    if (results.length !== batch.length) throw new Error('a batch gave the wrong number of results');
    // As many results as items, checked above.
    return () => batch.forEach(({ resolve }, index) => resolve(results[index] as R));
  } catch (error) {
    if (batch.length === 1 || !options.isPoison(error)) {
      return () => batch.forEach(({ reject }) => reject(error));
    }
    const middle = Math.ceil(batch.length / 2);
    const first = await settleBatch(batch.slice(0, middle), options);
    step('batch.halved');
    const second = await settleBatch(batch.slice(middle), options);
    return () => {
      first();
      second();
    };
  }
};
