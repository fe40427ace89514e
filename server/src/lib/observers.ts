import type { Clock } from './clock.ts';
import type { Config } from './config/config.ts';
import { createLog, flushLog, moduleLog, type Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { release } from './release.ts';
import { openReports, type Reports } from './sentry.ts';
import { openTracing, type Tracing } from './tracing.ts';

/** Who is told what a process does. Traces and reports are there only where somebody is configured to take them. */
export type Observers = {
  metrics: Metrics;
  tracing?: Tracing | undefined;
  reports?: Reports | undefined;
};

type Settings = Pick<Config, 'log' | 'telemetry' | 'sentry' | 'env' | 'service'>;

/** Opens log, metrics, traces and reports of a process; `stop` sends and writes what is left, within seconds. */
export const openObservers = (
  config: Settings,
  clock: Clock,
): Observers & { log: Log; stopObservers(): Promise<void> } => {
  const metrics = createMetrics();
  const onLinesLost = (lines: number): void => metrics.logLinesLost.inc(lines);
  const log = createLog(config, { service: config.service, clock, onLinesLost });
  const origin = { environment: config.env, release: release(), log: moduleLog(log, 'telemetry') };
  const onLost = (kind: 'traces' | 'errors') => (count: number) => metrics.exportsLost.inc({ kind }, count);
  const tracing = openTracing(config.telemetry, { ...origin, onLost: onLost('traces') });
  const reports = openReports(config.sentry, {
    ...origin,
    service: config.service,
    clock,
    onLost: onLost('errors'),
  });
  const stopObservers = async (): Promise<void> => {
    await Promise.all([tracing?.stop(), reports?.stop()]);
    await flushLog(log);
  };
  return { log, metrics, tracing, reports, stopObservers };
};
