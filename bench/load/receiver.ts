import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { quantile } from '../statistics.ts';

/**
 * A receiver of webhooks, in a process of its own that prints its port. A POST to `/fast` is read and answered 200; to any
 * other path it is dealt with as its name says. `GET /count` tells how much came to `/fast`, `GET /report` all about it, and begins
 * anew.
 */
const receiver = createServer((request, response) => {
  const treat = ways[(request.url ?? '').split('/')[1] ?? ''] ?? accept;
  treat(request, response);
});

let firstAt = 0;
let lastAt = 0;
let count = 0;
let bytes = 0;
let latencies: number[] = [];

/** Notes when the event came, and how long that is after it happened: its own time is from before the commit. */
const accept = (request: IncomingMessage, response: ServerResponse): void => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const now = Date.now();
    const body = Buffer.concat(parts).toString();
    lastAt = performance.now();
    if (count === 0) firstAt = lastAt;
    count += 1;
    bytes += body.length;
    const happenedAt = /"created_at":"([^"]+)"/.exec(body)?.[1] ?? '';
    // Payments that open connections come all at once, before the clock runs.
    if (!body.includes('-open-')) latencies.push(now - Date.parse(happenedAt));
    response.end();
  });
};

/** What is told, and what receivers do that are no good. */
const ways: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>> = {
  count: (_, response) => void response.end(String(count)),
  report: (_, response) => void response.end(JSON.stringify(report())),
  hang: (request) => void request.resume(),
  trickle: (_, response) => {
    response.writeHead(200, { 'content-length': '100000' });
    const timer = setInterval(() => response.write('.'), 200);
    response.on('close', () => clearInterval(timer));
  },
  reset: (request) => request.socket.resetAndDestroy(),
  endless: (_, response) => {
    const chunk = Buffer.alloc(1 << 20);
    response.writeHead(200, { 'content-length': String(10 * 1024 * (1 << 20)) });
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
  },
};

/** What came: how much, how fast, how late. */
export type Report = {
  count: number;
  perSecond: number;
  bytesEach: number;
  p50Ms: number;
  p99Ms: number;
};

const report = (): Report => {
  const told = {
    count,
    perSecond: (count - 1) / ((lastAt - firstAt) / 1000),
    bytesEach: bytes / count,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
  latencies = [];
  count = 0;
  bytes = 0;
  return told;
};

receiver.listen(0, '127.0.0.1', () => {
  const { port } = receiver.address() as AddressInfo; // of a TCP server that listens
  process.stdout.write(`${port}\n`);
});
// Whoever started it has gone.
process.stdin.resume().on('end', () => process.exit());
