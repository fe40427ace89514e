import { services as everyone } from './environment.ts';
import { choice, file, flag, integer, level, moduleLevels, ratio, secret, text, url } from './kinds.ts';
import { alias, setting } from './setting.ts';

/** Those that answer on a port. */
export const listening = everyone.filter((service) => service !== 'cli');

/** The settings of what tells of a process: log, metrics, error reports, traces. A part of `settings`. */
export const observerSettings = {
  'log.level': setting(level, {
    doc: 'The least serious level that is logged.',
    services: everyone,
    default: 'info',
    aliases: [alias('001', 'LOG_LEVEL')],
  }),
  'log.levels': setting(moduleLevels, {
    doc: 'Levels of single modules, e.g. `payments=debug,http=warn`; `*` (or `com.payment`) is every module.',
    services: everyone,
    default: {},
  }),
  'log.file': setting(file, {
    doc:
      'A file that gets every line too, as JSON. Each day (UTC) begins a new one; yesterday’s `app.log` becomes ' +
      '`app.<yyyy-MM-dd>.log`. SIGHUP opens it anew.',
    services: everyone,
    aliases: [alias('001', 'LOG_FILE')],
  }),
  'log.files_kept': setting(integer({ min: 1, max: 3650 }), {
    doc: 'How many files of past days are kept beside `log.file`.',
    services: everyone,
    default: 30,
    unit: 'files',
  }),
  'log.format': setting(choice(['json', 'pretty']), {
    doc: 'How the standard output looks: JSON lines, or for a reader.',
    services: everyone,
    default: 'json',
  }),

  'metrics.token': setting(secret, {
    doc: 'Lets a scraper read the metrics on the public port (`Authorization: Bearer …`). Not set: nobody may.',
    services: listening,
    secret: true,
  }),

  'sentry.dsn': setting(secret, {
    doc:
      'Where unexpected errors are reported (Sentry): answers of 5xx and failed jobs, without personal data. Not set: ' +
      'nowhere.',
    services: listening,
    secret: true,
    aliases: [alias('001', 'SENTRY_DSN'), alias('002', 'SENTRY_DSN'), alias('003', 'SENTRY_DSN')],
  }),
  'sentry.enabled': setting(flag, {
    doc: 'Whether `sentry.dsn` is used.',
    services: listening,
    default: true,
    aliases: [alias('003', 'ENABLE_SENTRY')],
  }),

  'telemetry.otlp_endpoint': setting(url, {
    doc: 'The OpenTelemetry collector that gets traces (OTLP over HTTP, JSON). Not set: none are made.',
    services: listening,
    aliases: [alias('OpenTelemetry', 'OTEL_EXPORTER_OTLP_ENDPOINT')],
  }),
  'telemetry.traces_endpoint': setting(url, {
    doc: 'The whole URL that traces are posted to.',
    services: listening,
    computed: '`<telemetry.otlp_endpoint>/v1/traces`',
    optional: true,
    aliases: [alias('OpenTelemetry', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')],
  }),
  'telemetry.otlp_headers': setting(secret, {
    doc: 'Header fields for the collector: `name=value` pairs separated by commas, values percent-encoded.',
    services: listening,
    secret: true,
    aliases: [alias('OpenTelemetry', 'OTEL_EXPORTER_OTLP_HEADERS')],
  }),
  'telemetry.service_name': setting(text, {
    doc: 'The `service.name` of the spans.',
    services: listening,
    computed: '`florin-<service>`',
    aliases: [alias('OpenTelemetry', 'OTEL_SERVICE_NAME')],
  }),
  'telemetry.sample_ratio': setting(ratio, {
    doc: 'The share of traces begun here that are recorded. Whoever calls with a `traceparent` decides for theirs.',
    services: listening,
    default: 1,
    aliases: [alias('OpenTelemetry', 'OTEL_TRACES_SAMPLER_ARG')],
  }),
};
