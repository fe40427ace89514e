import { connect, type Socket } from 'node:net';

/**
 * An open-loop load in a process of its own: requests leave at a given rate, whether or not earlier ones were answered,
 * and their time counts from when they should have left, so that a server that stalls does not hide it.
 *
 * `flood.ts OPTIONS`, the options as JSON; prints the `FloodResult` as JSON.
 */
export type FloodOptions = {
  port: number;
  /** Requests per second. */
  rate: number;
  seconds: number;
  /** Connections at most; what would need more is counted as `unsent`. */
  connectionsMax: number;
  /** Opens all connections before the first request, as clients have them who are there already. */
  isOpen?: boolean;
  /** How long to wait for answers after the last request. */
  patienceMs?: number;
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string;
};

/** How many answers there were of one status, and how long they took. */
export type Answered = { count: number; p50Ms: number; p99Ms: number };

export type FloodResult = {
  sent: number;
  /** What found no free connection. */
  unsent: number;
  /** Connections that broke before their answer. */
  broken: number;
  /** Sent, and not answered in time. */
  unanswered: number;
  /** 503s and 429s that did not say when to come back. */
  withoutRetryAfter: number;
  statuses: Record<string, Answered>;
};

const tickMs = 2;

const flood = async (options: FloodOptions): Promise<FloodResult> => {
  const result = { sent: 0, unsent: 0, broken: 0, unanswered: 0, withoutRetryAfter: 0 };
  const timesMs: Record<string, number[]> = {};
  const makeRequest = requests(options);
  let waiting = 0;
  const lines = openLines(options, {
    answered({ status, text, tookMs }) {
      waiting -= 1;
      (timesMs[status] ??= []).push(tookMs);
      if (/^(503|429)$/.test(status) && !/^retry-after: \d/im.test(text)) result.withoutRetryAfter += 1;
    },
    broke() {
      waiting -= 1;
      result.broken += 1;
    },
  });
  if (options.isOpen) await lines.openAll();

  const send = (dueMs: number): void => {
    const line = lines.take();
    if (line === undefined) {
      result.unsent += 1;
      return;
    }
    waiting += 1;
    result.sent += 1;
    line.send(makeRequest(), dueMs);
  };
  await paced(options, send, () => waiting === 0);
  const statuses = Object.fromEntries(
    Object.entries(timesMs).map(([status, times]) => [status, summary(times)]),
  );
  return { ...result, unanswered: waiting, statuses };
};

/** Calls `send` at the rate, with the time at which each call was due; then waits until all is answered. */
const paced = async (
  { rate, seconds, patienceMs = 5_000 }: FloodOptions,
  send: (dueMs: number) => void,
  isAnswered: () => boolean,
): Promise<void> => {
  const total = rate * seconds;
  const startMs = performance.now();
  const lastMs = startMs + seconds * 1000 + patienceMs;
  let due = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const until = Math.min(total, ((nowMs - startMs) / 1000) * rate);
    for (; due < until; due += 1) send(startMs + (due / rate) * 1000);
    if (due >= total && (isAnswered() || nowMs > lastMs)) resolve();
  }, tickMs);
  await promise;
  clearInterval(timer);
};

type Lines = {
  /** A connection that waits for no answer; undefined when there are too many that do. */
  take(): Line | undefined;
  openAll(): Promise<void>;
};

const openLines = (
  { port, connectionsMax }: FloodOptions,
  on: { answered(answer: Answer): void; broke(): void },
): Lines => {
  const idle: Line[] = [];
  let count = 0;
  let isOpening = false;
  let opened = (): void => undefined;
  const open = (): Line => {
    count += 1;
    return openLine(port, {
      answered(line, answer) {
        idle.push(line);
        if (isOpening) opened();
        else on.answered(answer);
      },
      closed(wasWaiting) {
        count -= 1;
        if (wasWaiting) on.broke();
      },
    });
  };
  return {
    take() {
      let line = idle.pop();
      while (line?.isClosed) line = idle.pop();
      return line ?? (count < connectionsMax ? open() : undefined);
    },
    async openAll() {
      isOpening = true;
      const { promise, resolve } = Promise.withResolvers<void>();
      opened = () => {
        if (idle.length === connectionsMax) resolve();
      };
      for (let index = 0; index < connectionsMax; index += 1)
        open().send('GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n', 0);
      await promise;
      isOpening = false;
    },
  };
};

/** Makes the bytes of the next request; `%id%` in its header fields becomes a number of its own. */
const requests = ({ method, path, headers, body = '' }: FloodOptions): (() => string) => {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === '' ? '' : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`;
  const text = `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${fields.join('')}${length}\r\n${body}`;
  const [before = '', after] = text.split('%id%');
  const run = `${process.pid}-${Date.now()}`;
  let made = 0;
  return () => (after === undefined ? before : `${before}${run}-${(made += 1)}${after}`);
};

type Answer = { status: string; text: string; tookMs: number };

/** One connection, with one request at a time. */
type Line = { isClosed: boolean; send(bytes: string, dueMs: number): void };

const openLine = (
  port: number,
  on: { answered(line: Line, answer: Answer): void; closed(wasWaiting: boolean): void },
): Line => {
  let text = '';
  let dueMs: number | undefined;
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.setEncoding('latin1');
  const line: Line = {
    isClosed: false,
    send(bytes, at) {
      dueMs = at;
      socket.write(bytes, 'latin1');
    },
  };
  socket.on('data', (chunk: string) => {
    text += chunk;
    const headEnd = text.indexOf('\r\n\r\n');
    if (headEnd === -1 || dueMs === undefined) return;
    const length = Number(/^content-length: (\d+)/im.exec(text)?.[1] ?? 0);
    if (text.length < headEnd + 4 + length) return;
    const answer = { status: text.slice(9, 12), text, tookMs: performance.now() - dueMs };
    text = '';
    dueMs = undefined;
    on.answered(line, answer);
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    line.isClosed = true;
    on.closed(dueMs !== undefined);
  });
  return line;
};

const summary = (times: readonly number[]): Answered => {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 100) / 100;
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99) };
};

const result = await flood(JSON.parse(process.argv[2] ?? '{}') as FloodOptions);
process.stdout.write(JSON.stringify(result), () => process.exit(0));
