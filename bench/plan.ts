/** A bound that a figure must reach. */
export type Target = { atLeast: number } | { atMost: number };

/** One row of the table: what is measured, what it is compared with, and what it must reach. */
export type Row = {
  name: string;
  what: string;
  unit: 'payments/s' | 'transactions/s' | 'deliveries/s' | 'ms' | 'MB' | 's';
  /** What the figure is divided by; without it the figure itself is held against the target. */
  over?: string;
  /** The row in whose figures `over` is found; without it the row measures both itself. */
  overRow?: 'tpcb' | 'spread';
  target?: Target;
  /** Only with `--full` or by name. */
  long?: true;
};

/** Every row, in the order of the table. */
export const rows: readonly Row[] = [
  { name: 'tpcb', what: 'pgbench TPC-B, 16 clients, scale 10', unit: 'transactions/s' },
  {
    name: 'spread',
    what: 'one process, all vendors, 64 clients',
    unit: 'payments/s',
    over: 'TPC-B',
    overRow: 'tpcb',
    target: { atLeast: 3 },
  },
  {
    name: 'hot_over_spread',
    what: 'one process, one vendor, 64 clients',
    unit: 'payments/s',
    over: 'spread',
    overRow: 'spread',
    target: { atLeast: 0.9 },
  },
  {
    name: 'clients_256',
    what: 'one process, all vendors, 256 clients',
    unit: 'payments/s',
    over: 'TPC-B',
    overRow: 'tpcb',
    target: { atLeast: 4 },
  },
  {
    name: 'two_processes',
    what: 'eapi and sapi, 64 clients',
    unit: 'payments/s',
    over: 'TPC-B',
    overRow: 'tpcb',
    target: { atLeast: 1.5 },
  },
  {
    name: 'two_sapi',
    what: 'two sapi (each with its edge), 2 × 32 clients',
    unit: 'payments/s',
    over: 'spread',
    overRow: 'spread',
    target: { atLeast: 1 },
  },
  {
    name: 'sequencer',
    what: 'with the sequencer of the worker, 64 clients',
    unit: 'payments/s',
    over: 'spread',
    overRow: 'spread',
    target: { atLeast: 0.9 },
  },
  {
    name: 'p99_ms',
    what: 'open loop at half of the top rate, p99',
    unit: 'ms',
    target: { atMost: 25 },
  },
  {
    name: 'lone_client',
    what: 'latency of a lone client, p50',
    unit: 'ms',
    over: 'by hand',
    target: { atMost: 1.3 },
  },
  {
    name: 'second_start_s',
    what: 'second npm start to the first payment',
    unit: 's',
    target: { atMost: 3 },
  },
  {
    name: 'growth',
    what: '64 clients, 5 million payments stored',
    unit: 'payments/s',
    over: '10 thousand',
    target: { atLeast: 0.9 },
    long: true,
  },
  {
    name: 'list_growth',
    what: 'the read that grew most, p95, 5 million stored',
    unit: 'ms',
    over: '10 thousand',
    target: { atMost: 1.5 },
    long: true,
  },
  {
    name: 'rss_mb',
    what: 'resident memory of sapi under load',
    unit: 'MB',
    target: { atMost: 256 },
    long: true,
  },
  {
    name: 'deliveries',
    what: 'webhooks of a backlog to a fast receiver',
    unit: 'deliveries/s',
    over: 'bare posts',
    target: { atLeast: 0.5 },
  },
  {
    name: 'webhook_p50_ms',
    what: 'event to its receiver at 200 a second, p50',
    unit: 'ms',
    target: { atMost: 15 },
  },
  {
    name: 'webhook_p99_ms',
    what: 'event to its receiver at 200 a second, p99',
    unit: 'ms',
    target: { atMost: 100 },
  },
  {
    name: 'bystanders',
    what: 'p99 at receivers beside a tenth of bad ones',
    unit: 'ms',
    over: 'without those',
    target: { atMost: 1.2 },
  },
  {
    name: 'payments_told',
    what: 'one vendor, 64 clients, with a webhook for each payment',
    unit: 'payments/s',
    over: 'without webhooks',
    target: { atLeast: 0.8 },
  },
  {
    name: 'worker_rss_mb',
    what: 'resident memory of a worker with a million deliveries waiting',
    unit: 'MB',
    target: { atMost: 256 },
    long: true,
  },
];
