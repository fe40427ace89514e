import type { ErrorEvent, NodeClient, StackFrame } from '@sentry/node';
import type { Clock } from './clock.ts';
import { isDsn } from './config/dsn.ts';
import type { Log } from './log.ts';
import { redactLine, redactText } from './redact.ts';
import type { Secret } from './secret.ts';

/** Under what circumstances an error came up. Ids and names of ours; nothing that a caller wrote. */
export type About = {
  request_id?: string | undefined;
  /** Method and route template. */
  route?: string | undefined;
  /** The code of the refusal that the caller got. */
  code?: string | undefined;
  trace_id?: string | undefined;
  job?: string | undefined;
};

/** Where errors that nobody expected are told to somebody. */
export type Reports = {
  /** Never throws and never waits. */
  report(error: unknown, about: About): void;
  /** Sends what is left, for two seconds at most. */
  stop(): Promise<void>;
};

/** `Config['sentry']` fits it. */
export type SentrySettings = { dsn?: Secret | undefined; enabled: boolean };

type Options = {
  service: string;
  environment: string;
  release: string;
  log: Log;
  clock: Clock;
  /** Told how many reports nobody took. */
  onLost: (reports: number) => void;
};

/** Reports in a minute, at most; the same error counts once. A failure that repeats itself is for metrics and the log. */
const reportsPerMinute = 20;
const minuteMs = 60_000;
const stopTimeoutMs = 2_000;

/**
 * Reports to Sentry, or a server that speaks its protocol. Without a DSN there is nothing, and Sentry's library is not
 * even loaded. Only errors are reported: no traces, no requests, no users.
 */
export const openReports = (
  { dsn, enabled }: SentrySettings,
  { clock, log, onLost, ...origin }: Options,
): Reports | undefined => {
  // What is not one was warned of at the start.
  if (dsn === undefined || !enabled || !isDsn(dsn.reveal())) return undefined;
  const client = openClient(dsn, onLost);
  client.catch((err: unknown) => log.warn({ err }, 'Sentry could not be loaded: errors are in the log only'));
  const mayReport = oncePerMinute(clock);
  const send = async (error: unknown, about: About): Promise<void> => {
    try {
      const opened = await client;
      opened.client.captureEvent(eventOf(error, about, origin, opened.parseStack));
    } catch {
      onLost(1);
    }
  };
  return {
    report: (error, about) => {
      if (mayReport(error)) void send(error, about);
    },
    stop: async () => {
      const opened = await client.catch(() => undefined);
      await opened?.client.close(stopTimeoutMs);
    },
  };
};

type Opened = { client: NodeClient; parseStack: (stack: string) => StackFrame[] };

/** A client of its own: nothing of the process is instrumented, and nothing is added to what we send but our own. */
const openClient = async (dsn: Secret, onLost: Options['onLost']): Promise<Opened> => {
  const { NodeClient, defaultStackParser, makeNodeTransport } = await import('@sentry/node');
  const client = new NodeClient({
    dsn: dsn.reveal(),
    integrations: [],
    stackParser: defaultStackParser,
    transport: (options) => {
      const transport = makeNodeTransport({ ...options, bufferSize: reportsPerMinute * 2 });
      const send: typeof transport.send = async (envelope) => {
        try {
          const answer = await transport.send(envelope);
          if ((answer.statusCode ?? 200) >= 300) onLost(1);
          return answer;
        } catch {
          onLost(1);
          return {};
        }
      };
      return { ...transport, send };
    },
    includeServerName: false,
    enableRuntimeChannelInjection: false,
    sendClientReports: false,
    traceLifecycle: 'static',
    beforeSend: scrubbed,
  });
  return { client, parseStack: (stack) => defaultStackParser(stack) };
};

const causesMax = 5;

/** What is told: kind, text and stack of the error and its causes, and where it came up. */
const eventOf = (
  error: unknown,
  { request_id, route, code, trace_id, job }: About,
  { service, environment, release }: Pick<Options, 'service' | 'environment' | 'release'>,
  parseStack: Opened['parseStack'],
): ErrorEvent => ({
  type: undefined,
  level: 'error',
  release,
  environment,
  exception: {
    // Sentry wants the innermost cause first.
    values: chainOf(error)
      .map((one) => ({
        type: one.name,
        value: textOf(one),
        stacktrace: { frames: parseStack(one.stack ?? '') },
      }))
      .toReversed(),
  },
  tags: { service, request_id, route, code, trace_id, job },
});

const chainOf = (error: unknown): Error[] => {
  const chain: Error[] = [];
  for (let one = error; one !== undefined && chain.length < causesMax;) {
    const known = one instanceof Error ? one : new Error('something that is no error was thrown');
    chain.push(known);
    one = known.cause;
  }
  return chain;
};

const textMax = 500;

/**
 * The message of an error, without what it may quote. PostgreSQL repeats values in errors about data (SQLSTATE class 22)
 * and V8 the text that it could not parse; both may be somebody's name.
 */
const textOf = (error: Error): string => {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/^2[23]\w{3}$/.test(code)) return `SQLSTATE ${code}`;
  const quotes = error instanceof SyntaxError ? /["'`].*["'`]/gs : /"[^"]*[^"\w.:/-][^"]*"/g;
  return redactText(error.message.replace(quotes, '"…"').replace(addresses, '[REDACTED]')).slice(0, textMax);
};

/** Of people and of machines: e-mail, IPv4, IPv6. */
const addresses =
  /[^\s<>"'=,;:@]+@[^\s<>"'=,;:@]+\.\w+|\b\d{1,3}(?:\.\d{1,3}){3}\b|(?:[\da-f]{1,4}:){4,}[\da-f:.]*/gi;

const knownMembers = [
  'event_id',
  'timestamp',
  'level',
  'platform',
  'release',
  'environment',
  'exception',
  'tags',
  'sdk',
] as const;

/** The last look at an event: only members that we know, and no secret in any of their texts. */
const scrubbed = (event: ErrorEvent): ErrorEvent => {
  const known = Object.fromEntries(knownMembers.map((name) => [name, event[name]]));
  return { ...(JSON.parse(redactLine(JSON.stringify(known))) as ErrorEvent), type: undefined };
};

/** Whether an error may be reported now: the same one once a minute, and no more than a bounded number in all. */
const oncePerMinute = (clock: Clock): ((error: unknown) => boolean) => {
  let minute = 0;
  const seen = new Set<string>();
  return (error) => {
    const now = Math.floor(clock.now().getTime() / minuteMs);
    if (now !== minute) seen.clear();
    minute = now;
    const [innermost = error] = chainOf(error).toReversed();
    const key = innermost instanceof Error ? (innermost.stack ?? innermost.message) : '';
    if (seen.size >= reportsPerMinute || seen.has(key)) return false;
    seen.add(key);
    return true;
  };
};
