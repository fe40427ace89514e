import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { quantile } from '../statistics.ts';
import { openClient } from './client.ts';

/**
 * Payments on a fixed schedule, whether the ones before were answered or not: `open-loop.ts URL TOKENS RATE SECONDS RUN`.
 * A client that waits for each answer sends less while the service is slow and so hides it (coordinated omission); here
 * the latency of a payment counts from the moment it was due, and so includes waiting for a connection.
 */
const [url = '', tokensFile = '', rateText = '1', secondsText = '1', run = ''] = process.argv.slice(2);
const tokens = readFileSync(tokensFile, 'utf8').trim().split('\n');
const rate = Number(rateText);
const total = Math.floor(rate * Number(secondsText));

const client = openClient(url, { connections: 256 });
const latencies = new Float64Array(total);
const underWay = new Set<Promise<void>>();
const failures: string[] = [];
// Connections are opened before the clock runs.
const opening = Array.from({ length: 64 }, (_, index) => client.pay(tokens[0] ?? '', `${run}-open-${index}`));
await Promise.all(opening);

const startedAt = performance.now();
const dueAt = (number: number): number => startedAt + (number / rate) * 1000;

const send = async (number: number): Promise<void> => {
  const token = tokens[Math.floor(Math.random() * tokens.length)] ?? '';
  const failure = await client.pay(token, `${run}-${number}`).then(
    ({ status, text }) => (status >= 200 && status <= 299 ? undefined : `${status} ${text}`),
    (error: unknown) => String(error),
  );
  if (failure !== undefined) failures.push(failure);
  latencies[number] = performance.now() - dueAt(number);
};

for (let next = 0; next < total;) {
  for (; next < total && dueAt(next) <= performance.now(); next += 1) {
    const sent = send(next).finally(() => underWay.delete(sent));
    underWay.add(sent);
  }
  await delay(1);
}
await Promise.all(underWay);
client.close();

/** What `open-loop.ts` prints; latencies in milliseconds. */
export type OpenLoopReport = {
  requests: number;
  failures: number;
  firstFailure: string | undefined;
  p50: number;
  p99: number;
  p999: number;
};
process.stdout.write(
  JSON.stringify({
    requests: opening.length + total,
    failures: failures.length,
    firstFailure: failures[0],
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    p999: quantile(latencies, 0.999),
  } satisfies OpenLoopReport),
);
