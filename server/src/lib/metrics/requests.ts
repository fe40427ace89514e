import { Counter, Histogram, type Registry } from 'prom-client';
import { errorKinds, type ErrorCode } from '../errors.ts';

/** One answered request, by its route template (`/api/v1/payments/:id`), never by its URL. */
export type AnsweredRequest = { method: string; route: string; status: number; durationMs: number };

const durationBucketsS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Node reads 35 methods and its list grows: those that no route has share one label. */
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** What is told of requests: one observation feeds the names of guides 000, 003 and 004. */
export const requestMetrics = (registers: Registry[]) => {
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

  // A set of labels is looked up once, not at every request.
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
    const { count, time } = seriesOf({
      method: methods.has(method) ? method : 'other',
      route,
      status: String(status),
    });
    count();
    time(durationMs / 1000);
  };
};

/** Requests that were refused, by the code of the refusal. Every code is there from the start, at 0. */
export const rejectMetrics = (registers: Registry[]) => {
  const rejects = new Counter({
    name: 'payments_rejects_total',
    help: 'Requests refused, by the `code` of the refusal.',
    labelNames: ['reason'],
    registers,
  });
  const counters = new Map(Object.keys(errorKinds).map((reason) => [reason, rejects.labels({ reason })]));
  for (const counter of counters.values()) counter.inc(0);
  return (reason: ErrorCode): void => counters.get(reason)?.inc();
};
