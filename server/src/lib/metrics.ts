import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import { connectorMetrics } from './metrics/connectors.ts';
import { processMetrics } from './metrics/process.ts';
import { rejectMetrics, requestMetrics } from './metrics/requests.ts';
import { webhookMetrics } from './metrics/webhooks.ts';
import { workerMetrics } from './metrics/worker.ts';
import { writeMetrics } from './metrics/writes.ts';

/** The label of requests that no route answers, so that a scanner cannot make label values. */
export const unmatchedRoute = 'unmatched';

export type Metrics = ReturnType<typeof createMetrics>;

/**
 * The metrics of one process, under the names that the guides' dashboards and alerts use. Each label has few values.
 * `docs/metrics.md` is made of them.
 * @param options.process whether to add Node's own metrics (memory, event loop, garbage collection)
 */
export const createMetrics = (options: { process: boolean } = { process: true }) => {
  const registry = new Registry();
  const registers = [registry];
  if (options.process) collectDefaultMetrics({ register: registry });
  processMetrics(registers);

  const authentications = new Counter({
    name: 'authentication_requests_total',
    help: 'Attempts to authenticate, by result: `success` or `failure`.',
    labelNames: ['result'],
    registers,
  });
  authentications.inc({ result: 'success' }, 0);
  authentications.inc({ result: 'failure' }, 0);

  return {
    /** Counts one answered request and how long it took. */
    observe: requestMetrics(registers),
    /** Counts one refused request. */
    reject: rejectMetrics(registers),
    /** What was refused for lack of room, by what there was too much of: `requests` or `connections`. */
    refused: new Counter({
      name: 'payments_overload_refusals_total',
      help: 'What was refused for lack of room: `requests` (503) and `connections` (closed).',
      labelNames: ['reason'],
      registers,
    }),
    /** Writes that were only wanted to be shown. */
    dryRuns: new Counter({
      name: 'payments_dry_runs_total',
      help: 'Writes with `Dry-Run: true`, by route template and status.',
      labelNames: ['route', 'status'],
      registers,
    }),
    /** Attempts to authenticate: `authentications.inc({ result: 'failure' })`. */
    authentications,
    /** Payments that did not succeed, by failure code. */
    paymentErrors: new Counter({
      name: 'payments_payment_errors_total',
      help: 'Payments that failed, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    ...connectorMetrics(registers),
    ...workerMetrics(registers),
    /** What is sent to vendors. */
    webhooks: webhookMetrics(registers),
    ...writeMetrics(registers),
    ...certificateMetrics(registers),
    ...observerMetrics(registers),
    /** For modules that bring metrics of their own. */
    registry,
    /** Everything in Prometheus' text format. */
    text: (): Promise<string> => registry.metrics(),
    contentType: registry.contentType,
  };
};

const certificateMetrics = (registers: Registry[]) => ({
  /** When each certificate in use expires, by its file. */
  certificateExpiry: new Gauge({
    name: 'payments_certificate_expiry_timestamp_seconds',
    help: 'When the certificate in use expires, in seconds since 1970, by its file.',
    labelNames: ['file'],
    registers,
  }),
  /** How often a changed certificate was taken up, or could not be. */
  certificateReloads: new Counter({
    name: 'payments_certificate_reloads_total',
    help: 'Changed certificates that were taken up (`success`) or could not be (`failure`: the old one stays).',
    labelNames: ['result'],
    registers,
  }),
});

/** Of those who watch: a log or a collector that is away is told here, since it can't tell itself (PCI DSS 10.7.2). */
const observerMetrics = (registers: Registry[]) => ({
  logLinesLost: new Counter({
    name: 'payments_log_lines_lost_total',
    help: 'Lines that could not be written to `log.file`; they are on the standard output.',
    registers,
  }),
  exportsLost: new Counter({
    name: 'payments_exports_lost_total',
    help: 'Spans (`traces`) and reports (`errors`) that no collector took.',
    labelNames: ['kind'],
    registers,
  }),
});
