import { sequencerMetrics } from '../journal/sequencer-metrics.ts';
import { createMetrics } from '../lib/metrics.ts';

const preface = `# Metrics

Made from the metrics themselves; a test holds the two equal. After a change:
\`node bin/launch.mjs vitest run server/src/services/metrics-page.test.ts --update\`

Every service offers them in Prometheus' text format: plain on the internal listener
(\`PAYMENTS_SERVER_HEALTH_PORT\`) and on the ports of \`sapi\` and \`worker\`, at \`/metrics\`; and on the public port at \`/metrics\`, \`/internal/metrics\` and
\`/api/metrics\` for whoever sends \`Authorization: Bearer $PAYMENTS_METRICS_TOKEN\`.

Labels have few values, whatever is asked: routes are templates (\`/api/v1/payments/:id\`, or \`unmatched\`), methods that
no route has are \`other\`, reasons and kinds are words of the code. No label holds an id, an address or a path of a
request.

Worth an alert, besides what the guides name:

| expression | says |
|---|---|
| \`payments_certificate_expiry_timestamp_seconds - time() < 30 * 86400\` | the certificate expires within 30 days |
| \`increase(payments_certificate_reloads_total{result="failure"}[1h]) > 0\` | a renewed certificate could not be taken up |
| \`increase(payments_log_lines_lost_total[5m]) > 0\` | \`log.file\` can't be written |
| \`histogram_quantile(0.99, rate(payments_queue_wait_seconds_bucket[5m])) > 0.5\` | payments wait for the database |
| \`payments_database_pool_waiting_requests > 0\` for 5 minutes | too few connections, or transactions that hang |
| \`nodejs_eventloop_utilization > 0.95\` for 5 minutes | the process is at its limit: add another |
| \`max(payments_journal_lag_seconds) > 60\` | nobody orders the journal |
| \`max(payments_connector_circuit_open) by (connector) > 0\` for 5 minutes | a payment backend answers nobody |
| \`increase(payments_payment_errors_total{reason="contradicted"}[1h]) > 0\` | a payment backend contradicts our books |
`;

/** The page that lists every metric, Markdown: Florin's own, then those of Node.js and the process. */
export const metricsPage = (): string => {
  const { registry } = createMetrics();
  sequencerMetrics(registry);
  const rows = registry.getMetricsAsArray().map(rowOf).sort();
  const isOfNode = (row: string): boolean =>
    /^\| `(nodejs|process)_/.test(row) && !row.includes('_utilization`');
  const own = rows.filter((row) => !isOfNode(row));
  return [
    preface,
    `## Florin\n\n${tableOf(own)}\n`,
    `## Node.js and the process (Linux)\n\n${tableOf(rows.filter(isOfNode))}\n`,
  ].join('\n');
};

const tableOf = (rows: readonly string[]): string =>
  ['| name | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n');

type Metric = { name: string; help: string; type: unknown };

const rowOf = (metric: Metric): string => {
  // prom-client keeps them on every metric, and has no function that gives them.
  const labels = Reflect.get(metric, 'labelNames') as readonly string[];
  const { name, help, type } = metric;
  return `| \`${name}\` | ${typeOf(type)} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`;
};

/** prom-client writes the type either as a word or as the place in its list. */
const typeOf = (type: unknown): string =>
  typeof type === 'number' ? (['counter', 'gauge', 'histogram', 'summary'][type] ?? '') : String(type);
