import { Histogram, type Registry } from 'prom-client';
import { askedGauge } from './gauge.ts';

/** One batch that was written: how long its oldest item waited for it, and how long the database took. */
export type WrittenBatch = { size: number; waitedMs: number; tookMs: number };

/** One transaction of its own, from its begin to its end. */
export type EndedTransaction = { committed: boolean; tookMs: number };

/** What a pool of connections tells of itself: `pg.Pool` fits it. */
export type PoolCounts = { totalCount: number; idleCount: number; waitingCount: number };

const secondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The stages of a write: the queue, the batch, the transaction, the pool. */
export const writeMetrics = (registers: Registry[]) => {
  const wait = new Histogram({
    name: 'payments_queue_wait_seconds',
    help: 'Time that the oldest payment of a batch had waited when the batch was sent, in seconds.',
    registers,
    buckets: secondsBuckets,
  });
  const size = new Histogram({
    name: 'payments_batch_size',
    help: 'Payments written by one batch.',
    registers,
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  });
  const transactions = new Histogram({
    name: 'payments_transaction_duration_seconds',
    help:
      'Time of a database transaction in seconds, by kind: `batch` (many payments at once), or one of its own that ' +
      'ended in `commit` or `rollback`.',
    labelNames: ['kind'],
    registers,
    buckets: secondsBuckets,
  });
  const [batch, commit, rollback] = (['batch', 'commit', 'rollback'] as const).map((kind) =>
    transactions.labels({ kind }),
  );
  return {
    onBatch: ({ size: items, waitedMs, tookMs }: WrittenBatch): void => {
      wait.observe(waitedMs / 1000);
      size.observe(items);
      batch?.observe(tookMs / 1000);
    },
    onTransaction: ({ committed, tookMs }: EndedTransaction): void => {
      (committed ? commit : rollback)?.observe(tookMs / 1000);
    },
    watchQueue: watchQueue(registers),
    watchPool: watchPools(registers),
  };
};

/** Shows how many payments wait for a batch, asked at every scrape. */
const watchQueue = (registers: Registry[]): ((depth: () => number) => void) => {
  let ask = (): number => 0;
  const help = 'Payments that wait for a batch.';
  askedGauge(registers, { name: 'payments_queue_depth', help }, (gauge) => gauge.set(ask()));
  return (depth) => {
    ask = depth;
  };
};

/** Shows the connections of a pool under a name from the code, asked at every scrape. */
const watchPools = (registers: Registry[]): ((name: string, counts: PoolCounts) => void) => {
  const pools = new Map<string, PoolCounts>();
  const gauge = (name: string, help: string, read: (counts: PoolCounts) => number): void =>
    askedGauge(registers, { name, help, labelNames: ['pool'] }, (asked) => {
      for (const [pool, counts] of pools) asked.set({ pool }, read(counts));
    });
  gauge('payments_database_pool_connections', 'Open connections of a pool.', (pool) => pool.totalCount);
  gauge('payments_database_pool_idle_connections', 'Connections that nobody uses.', (pool) => pool.idleCount);
  gauge(
    'payments_database_pool_waiting_requests',
    'Statements and transactions that wait for a connection.',
    (pool) => pool.waitingCount,
  );
  return (name, counts) => void pools.set(name, counts);
};
