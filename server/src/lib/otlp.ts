import type { Logger } from 'pino';
import type { Secret } from './secret.ts';
import type { Span } from './tracing.ts';

export type Collector = {
  /** Keeps a span until it is sent. Never waits. */
  record(span: Span): void;
  /** Sends what is left, for two seconds at most. */
  stop(): Promise<void>;
};

type Attributes = Readonly<Record<string, string | number>>;

type Options = {
  /** Where traces are posted, e.g. `http://collector:4318/v1/traces`. */
  url: string;
  /** `name=value,name=value`, values percent-encoded. */
  headers: Secret | undefined;
  /** Who makes the spans. */
  resource: Attributes;
  log: Logger;
  onLost(spans: number): void;
};

/** Spans that wait to be sent, at most; about 2 MB. */
const waitingMax = 4096;
/** Spans in one request, at most; that many are sent at once. */
const batchMax = 512;
const sendEveryMs = 5_000;
const timeoutMs = 10_000;
const stopTimeoutMs = 2_000;

/**
 * Sends spans to an OpenTelemetry collector: OTLP 1.x over HTTP, JSON encoding. What a collector does not take is sent
 * again with the next ones as long as there is room, then it is lost and counted.
 */
export const openCollector = (options: Options): Collector => {
  const { log, onLost } = options;
  const waiting: Span[] = [];
  let sending: Promise<void> | undefined;
  let isAway = false;

  const lose = (spans: number): void => {
    if (spans > 0) onLost(spans);
  };

  /** Whether the collector took them. */
  const send = async (limitMs: number): Promise<boolean> => {
    const spans = waiting.splice(0, batchMax);
    const outcome = await post(options, spans, limitMs);
    if (outcome.taken) {
      if (isAway) log.info('The trace collector takes spans again');
      isAway = false;
      return true;
    }
    if (!isAway) log.warn({ err: outcome.error }, 'The trace collector takes no spans');
    isAway = true;
    const kept = outcome.retry ? spans.slice(0, Math.max(0, waitingMax - waiting.length)) : [];
    waiting.unshift(...kept);
    lose(spans.length - kept.length);
    return false;
  };

  const sendWhile = async (hasMore: () => boolean, limitMs: number): Promise<void> => {
    while (hasMore() && (await send(limitMs)));
  };

  const start = (): void => {
    sending ??= send(timeoutMs)
      .then((taken) => (taken ? sendWhile(() => waiting.length >= batchMax, timeoutMs) : undefined))
      .finally(() => {
        sending = undefined;
      });
  };

  const timer = setInterval(() => {
    if (waiting.length > 0) start();
  }, sendEveryMs).unref();

  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await within(stopTimeoutMs, async () => {
      await sending;
      await sendWhile(() => waiting.length > 0, stopTimeoutMs);
    });
    lose(waiting.splice(0).length);
  };

  return {
    record: (span) => {
      if (waiting.length >= waitingMax) return lose(1);
      waiting.push(span);
      // A collector that is away is asked by the timer only.
      if (waiting.length >= batchMax && !isAway) start();
    },
    stop,
  };
};

type Outcome = { taken: true } | { taken: false; retry: boolean; error: unknown };

const post = async (
  { url, headers, resource }: Options,
  spans: Span[],
  limitMs: number,
): Promise<Outcome> => {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headersOf(headers), 'content-type': 'application/json' },
      body: JSON.stringify(requestOf(resource, spans)),
      redirect: 'error',
      signal: AbortSignal.timeout(limitMs),
    });
    await response.body?.cancel();
    if (response.ok) return { taken: true };
    // As OTLP has it: these say that the same request may be taken later.
    const retry = [429, 502, 503, 504].includes(response.status);
    return { taken: false, retry, error: new Error(`it answered ${response.status}`) };
  } catch (error) {
    return { taken: false, retry: true, error };
  }
};

/** As `OTEL_EXPORTER_OTLP_HEADERS` is written: W3C Baggage without properties. */
const headersOf = (headers: Secret | undefined): Record<string, string> =>
  Object.fromEntries(
    (headers?.reveal() ?? '').split(',').flatMap((pair) => {
      const [, name, value] = /^\s*([\w.-]+)=([^\r\n]*?)\s*$/.exec(pair) ?? [];
      return name === undefined || value === undefined ? [] : [[name, decoded(value)]];
    }),
  );

const decoded = (value: string): string => {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
};

/** An `ExportTraceServiceRequest` in OTLP's JSON: ids in hexadecimal, 64-bit numbers as texts. */
const requestOf = (resource: Attributes, spans: readonly Span[]) => ({
  resourceSpans: [
    {
      resource: { attributes: attributesOf(resource) },
      scopeSpans: [{ scope: { name: 'florin' }, spans: spans.map(spanOf) }],
    },
  ],
});

const kinds = { internal: 1, server: 2, client: 3 } as const;
const statusError = 2;
const sampledFlag = 1;

const spanOf = (span: Span) => ({
  traceId: span.traceId,
  spanId: span.spanId,
  ...(span.parentId === undefined ? {} : { parentSpanId: span.parentId }),
  flags: sampledFlag,
  name: span.name,
  kind: kinds[span.kind],
  startTimeUnixNano: nanoseconds(span.startedAtMs),
  endTimeUnixNano: nanoseconds(span.endedAtMs),
  attributes: attributesOf(span.attributes),
  status: span.failed ? { code: statusError } : {},
});

const attributesOf = (attributes: Attributes) =>
  Object.entries(attributes).map(([key, value]) => ({ key, value: valueOf(value) }));

const valueOf = (value: string | number) => {
  if (typeof value === 'string') return { stringValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
};

/** In whole microseconds, behind which a double of this size has nothing true to say. */
const nanoseconds = (timeMs: number): string => String(BigInt(Math.round(timeMs * 1000)) * 1000n);

/** Waits for something, but no longer than this. */
const within = async (limitMs: number, work: () => Promise<void>): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  await Promise.race([work(), promise]);
  clearTimeout(timer);
};
