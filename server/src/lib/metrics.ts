import { cpus } from 'node:os';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** The label of requests that no route answers, so that a scanner cannot make label values. */
export const unmatchedRoute = 'unmatched';

/** One answered request, by its route template (`/api/v1/payments/:id`), never by its URL. */
type AnsweredRequest = { method: string; route: string; status: number; durationMs: number };

export type Metrics = ReturnType<typeof createMetrics>;

/**
 * The metrics of one process, under the names that the guides' dashboards and alerts use. Each label has few values.
 * @param options.process whether to add Node's own metrics (memory, event loop, garbage collection)
 */
export const createMetrics = (options: { process: boolean } = { process: true }) => {
  const registry = new Registry();
  const registers = [registry];
  if (options.process) collectDefaultMetrics({ register: registry });
  systemCpu(registers);
  const observe = requestMetrics(registers);

  const authentications = new Counter({
    name: 'authentication_requests_total',
    help: 'Attempts to authenticate, by result: success or failure.',
    labelNames: ['result'],
    registers,
  });
  authentications.inc({ result: 'success' }, 0);
  authentications.inc({ result: 'failure' }, 0);

  return {
    /** Counts one answered request and how long it took. */
    observe,
    /** Attempts to authenticate: `authentications.inc({ result: 'failure' })`. */
    authentications,
    /** Payments that did not succeed, by failure code. */
    paymentErrors: new Counter({
      name: 'payments_payment_errors_total',
      help: 'Payments that failed, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    /** What workers did, by kind of job and result. */
    messages: new Counter({
      name: 'payments_worker_messages_processed_total',
      help: 'Jobs that workers processed, by kind and result.',
      labelNames: ['kind', 'result'],
      registers,
    }),
    /** For modules that bring metrics of their own. */
    registry,
    /** Everything in Prometheus' text format. */
    text: (): Promise<string> => registry.metrics(),
    contentType: registry.contentType,
  };
};

const durationBucketsS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** One observation feeds the names of guides 000, 003 and 004; their label sets are looked up once a combination. */
const requestMetrics = (registers: Registry[]) => {
  const labelNames = ['method', 'route', 'status'] as const;
  const counted = { help: 'Requests answered, by method, route template and status.', labelNames, registers };
  const timed = {
    help: 'Time to answer a request, in seconds.',
    labelNames,
    registers,
    buckets: durationBucketsS,
  };
  const payments = new Counter({ name: 'payments_http_requests_total', ...counted });
  const requests = new Counter({ name: 'http_requests_total', ...counted });
  const durations = new Histogram({ name: 'payments_http_request_duration_seconds', ...timed });
  const server = new Histogram({ name: 'http_server_requests_seconds', ...timed });

  const series = new Map<string, { count: () => void; time: (seconds: number) => void }>();
  const seriesOf = (labels: { method: string; route: string; status: string }) => {
    const key = `${labels.method} ${labels.status} ${labels.route}`;
    const known = series.get(key);
    if (known) return known;
    const counters = [payments.labels(labels), requests.labels(labels)];
    const timers = [durations.labels(labels), server.labels(labels)];
    const made = {
      count: () => counters.forEach((counter) => counter.inc()),
      time: (seconds: number) => timers.forEach((timer) => timer.observe(seconds)),
    };
    series.set(key, made);
    return made;
  };

  return ({ method, route, status, durationMs }: AnsweredRequest): void => {
    const { count, time } = seriesOf({ method, route, status: String(status) });
    count();
    time(durationMs / 1000);
  };
};

const systemCpu = (registers: Registry[]): void => {
  let before = cpuTimes();
  const gauge = new Gauge({
    name: 'system_cpu_usage',
    help: 'Share of the machine that was busy since the last scrape, 0 to 1.',
    registers: [],
    collect() {
      const now = cpuTimes();
      const total = now.total - before.total;
      this.set(total === 0 ? 0 : (now.busy - before.busy) / total);
      before = now;
    },
  });
  for (const registry of registers) registry.registerMetric(gauge);
};

const cpuTimes = (): { busy: number; total: number } => {
  const times = cpus().map((cpu) => cpu.times);
  const total = times.reduce(
    (sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq,
    0,
  );
  return { busy: total - times.reduce((sum, { idle }) => sum + idle, 0), total };
};
