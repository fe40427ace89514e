import { createSecureContext } from 'node:tls';
import { systemClock, type Clock } from '../clock.ts';
import { assertReal } from '../dry-run.ts';
import { invalidField } from '../errors.ts';
import { openConnections, type Connection, type Connections } from './connections.ts';
import type { Target } from './dial.ts';
import { OutboundError } from './error.ts';
import { exchange, type Answer } from './exchange.ts';
import { openNames, systemNames, type Lookup, type Names } from './names.ts';
import { hostOf, portOf, rulesOf, type Exceptions, type Rules } from './rules.ts';

export { OutboundError } from './error.ts';

/** `Config['outbound']` fits it. */
export type OutboundSettings = Exceptions & { proxyUrl?: string | undefined };

export type OutboundRequest = {
  url: string;
  method: 'GET' | 'POST';
  headers: Readonly<Record<string, string>>;
  body?: string | Buffer;
  /** For everything, from resolving the name to the last byte of the answer. */
  timeoutMs: number;
  /** How much of the answer's body is read. */
  answerMaxBytes: number;
  signal?: AbortSignal;
};

export type OutboundAnswer = Answer & {
  /** From the beginning of the call to the end of its answer, in whole milliseconds. */
  durationMs: number;
};

/** The one way out for calls to addresses that others choose. */
export type Outbound = {
  /**
   * A URL that may be called, as far as can be told without resolving its name.
   * @throws AppError `invalid_request` naming `field`: no URL, not https, with credentials, with a port of another protocol,
   *   or with an address that is not public
   */
  checkUrl(url: string, field: string): URL;
  /**
   * Calls a URL, and gives its answer whatever the status is: redirects are not followed. The host's addresses are resolved
   * and checked, and the connection goes to one of those that were checked.
   * @throws OutboundError when there is no answer; the signal's reason when it was aborted
   */
  send(request: OutboundRequest): Promise<OutboundAnswer>;
  /** Ends when the calls that are under way did, and their connections are closed. */
  close(): Promise<void>;
};

type Options = {
  /** How names become addresses, if not by the name servers of this machine. */
  lookup?: Lookup;
  clock?: Clock;
  /** Certificates of authorities to trust instead of the public ones, as PEM. */
  ca?: string;
};

/**
 * Opens the way out. It refuses every address that is not public, resolves names itself and connects to nothing but what it
 * resolved and checked (so that a name that changes its mind in between gets no connection), and bounds what an answer may
 * cost: time, bytes, header fields.
 */
export const openOutbound = (settings: OutboundSettings, options: Options = {}): Outbound => {
  const rules = rulesOf(settings);
  const { lookup = systemNames(rules), clock = systemClock, ca } = options;
  const names = openNames({ rules, clock, lookup });
  const secureContext = createSecureContext({ minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) });
  const connections = openConnections({ proxyUrl: settings.proxyUrl, secureContext }, clock);
  const underway = countUnderway();

  return {
    checkUrl: (text, field) => {
      const url = URL.parse(text);
      const fault = url === null ? notUrl : rules.faultOf(url);
      if (url === null || fault !== undefined) throw invalidField(field, fault ?? notUrl);
      return url;
    },
    send: async (request) => {
      assertReal('call a receiver');
      underway.begin();
      try {
        return await call(request, { rules, names, connections });
      } finally {
        underway.end();
      }
    },
    close: async () => {
      await underway.close();
      connections.close();
    },
  };
};

const notUrl = 'must be the whole address, such as https://shop.example/hooks';

type Parts = { rules: Rules; names: Names; connections: Connections };

const call = async (request: OutboundRequest, parts: Parts): Promise<OutboundAnswer> => {
  const startedAtMs = performance.now();
  const durationMs = (): number => Math.round(performance.now() - startedAtMs);
  const limit = limited(request);
  let connection: Connection | undefined;
  try {
    const url = allowedUrl(request.url, parts.rules);
    const target = await limit.within(targetOf(url, parts.names));
    connection = parts.connections.take(target);
    const message = { ...request, body: request.body, path: url.pathname + url.search };
    const answer = await limit.within(exchange(connection, message));
    if (answer.isCut) connection.drop();
    else parts.connections.give(connection);
    return { ...answer, durationMs: durationMs() };
  } catch (error) {
    connection?.drop();
    if (error instanceof OutboundError) throw timed(error, durationMs());
    throw error;
  } finally {
    limit.end();
  }
};

/** A copy, since an answer of names is told to everybody who waits for it. */
const timed = (error: OutboundError, durationMs: number): OutboundError =>
  Object.assign(new OutboundError(error.code, error.message, { cause: error.cause }), { durationMs });

/** What was allowed when it was written down may not be any more. */
const allowedUrl = (text: string, rules: Rules): URL => {
  const url = URL.parse(text);
  const fault = url === null ? notUrl : rules.faultOf(url);
  if (url === null || fault !== undefined) throw new OutboundError('address_refused', fault ?? notUrl);
  return url;
};

const targetOf = async (url: URL, names: Names): Promise<Target> => {
  const host = hostOf(url);
  const { addresses, isLoopback } = await names.addressesOf(host);
  const isSecure = url.protocol === 'https:';
  if (!isSecure && !isLoopback)
    throw new OutboundError('address_refused', 'plain http is for receivers on this machine: use https');
  return { origin: url.origin, isSecure, host, port: portOf(url), addresses, isLoopback };
};

/** The time that a call may take, and the signal that ends it earlier. */
const limited = ({ timeoutMs, signal }: OutboundRequest) => {
  const { promise: over, reject } = Promise.withResolvers<never>();
  // Nobody may be waiting at that moment.
  over.catch(() => undefined);
  const timer = setTimeout(() => {
    reject(new OutboundError('timeout', `the receiver gave no whole answer within ${timeoutMs} ms`));
  }, timeoutMs);
  const onAbort = (): void => reject(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort);
  return {
    /** What a step of the call gives, unless the call ends before. */
    within: <T>(step: Promise<T>): Promise<T> => {
      // A step that comes too late may fail without anybody hearing of it.
      step.catch(() => undefined);
      return Promise.race([over, step]);
    },
    end: (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
};

/** Counts calls, so that closing can wait for them: each is bounded by its own time. */
const countUnderway = () => {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let count = 0;
  let isClosed = false;
  return {
    begin: (): void => {
      if (isClosed) throw new Error('the way out is closed');
      count += 1;
    },
    end: (): void => {
      count -= 1;
      if (isClosed && count === 0) resolve();
    },
    close: (): Promise<void> => {
      isClosed = true;
      if (count === 0) resolve();
      return ended;
    },
  };
};
