import { AsyncLocalStorage } from 'node:async_hooks';
import type { Logger } from 'pino';
import { openCollector } from './otlp.ts';
import type { Secret } from './secret.ts';
import { childOf, type Trace } from './http/trace.ts';

/** A piece of work in a trace; times in milliseconds since 1970. */
export type Span = {
  name: string;
  kind: 'server' | 'client' | 'internal';
  traceId: string;
  spanId: string;
  parentId: string | undefined;
  startedAtMs: number;
  endedAtMs: number;
  attributes: Readonly<Record<string, string | number>>;
  failed: boolean;
};

type Work = Pick<Span, 'name' | 'startedAtMs' | 'endedAtMs'> & Partial<Pick<Span, 'attributes' | 'kind'>>;

/** What makes the traces of one process; there is none where no collector is configured. */
export type Tracing = {
  /** Of the traces that begin here, the share that is recorded. */
  sampleRatio: number;
  /** Takes a span that has ended. Never waits. */
  record(span: Span): void;
  /** Records work that was done for a trace, as a child of its span. */
  recordWork(trace: Trace, work: Work): void;
  /** Runs something in a trace, so that `active` gives it to whatever follows from it. */
  run<Result>(trace: Trace, work: () => Result): Result;
  /** The trace in which the caller runs, if it is recorded. */
  active(): Trace | undefined;
  /** Sends what is left, for two seconds at most. */
  stop(): Promise<void>;
};

/** `Config['telemetry']` fits it. */
export type TelemetrySettings = {
  tracesEndpoint?: string | undefined;
  otlpHeaders?: Secret | undefined;
  serviceName: string;
  sampleRatio: number;
};

type Options = {
  environment: string;
  release: string;
  log: Logger;
  /** Told how many spans no collector took. */
  onLost: (spans: number) => void;
};

/**
 * Traces for an OpenTelemetry collector (OTLP over HTTP). Without an endpoint there is nothing: no timer, no context.
 * A collector that is away costs spans, and a bounded piece of memory.
 */
export const openTracing = (telemetry: TelemetrySettings, options: Options): Tracing | undefined => {
  const { tracesEndpoint: url, otlpHeaders, serviceName, sampleRatio } = telemetry;
  if (url === undefined) return undefined;
  const { environment, release, log, onLost } = options;
  const resource = {
    'service.name': serviceName,
    'service.version': release,
    'deployment.environment.name': environment,
    'process.pid': process.pid,
  };
  const collector = openCollector({ url, headers: otlpHeaders, resource, log, onLost });
  const storage = new AsyncLocalStorage<Trace>();
  return {
    sampleRatio,
    record: collector.record,
    recordWork: (trace, { attributes = {}, kind = 'internal', ...work }) => {
      const { traceId, spanId, parentId } = childOf(trace);
      collector.record({ ...work, kind, attributes, traceId, spanId, parentId, failed: false });
    },
    run: (trace, work) => (trace.sampled ? storage.run(trace, work) : work()),
    active: () => storage.getStore(),
    stop: collector.stop,
  };
};

/** Now, in milliseconds since 1970 with fractions: spans of less than a millisecond have a length too. */
export const spanTimeMs = (): number => performance.timeOrigin + performance.now();
