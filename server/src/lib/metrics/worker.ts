import { Counter, Gauge, type Registry } from 'prom-client';

/** What workers did and what waits for them. Only a process that runs a worker sets them. */
export const workerMetrics = (registers: Registry[]) => ({
  /** What workers did, by kind of job and result. */
  messages: new Counter({
    name: 'payments_worker_messages_processed_total',
    help: 'Jobs that workers processed, by kind and result.',
    labelNames: ['kind', 'result'],
    registers,
  }),
  jobFailures: new Counter({
    name: 'payments_worker_job_failures_total',
    help: 'How often a job of the worker failed and was started again, by job.',
    labelNames: ['job'],
    registers,
  }),
  unresolvedOperations: new Gauge({
    name: 'payments_unresolved_operations',
    help: 'Calls to payment backends that have ended without a known outcome.',
    registers,
  }),
  unresolvedAge: new Gauge({
    name: 'payments_unresolved_oldest_age_seconds',
    help: 'How long ago the oldest of them began; 0 when there is none.',
    registers,
  }),
});
