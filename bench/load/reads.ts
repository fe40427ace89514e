import { readFileSync } from 'node:fs';
import { quantile } from '../statistics.ts';
import { openClient } from './client.ts';

/** One read and whose token it takes. */
export type Read = { kind: string; path: string; token: string };

/** What `reads.ts` prints: the p95 in milliseconds of each kind. */
export type ReadsReport = { failures: number; p95: Record<string, number> };

/**
 * Reads one after the other on one connection: `reads.ts URL FILE SECONDS`. FILE holds the reads as JSON, all kinds in
 * turn, and is begun again until the time is over or each kind was read a thousand times.
 */
const main = async (url: string, file: string, seconds: number): Promise<ReadsReport> => {
  const reads = JSON.parse(readFileSync(file, 'utf8')) as Read[];
  const client = openClient(url, { connections: 1 });
  const latencies = new Map<string, number[]>();
  let failures = 0;
  const endsAt = performance.now() + seconds * 1000;
  for (let next = 0; next < 1000 * reads.length && performance.now() < endsAt; next += 1) {
    const { kind, path, token } = reads[next % reads.length] ?? { kind: '', path: '', token: '' };
    const startedAt = performance.now();
    const { status } = await client.get(path, token);
    const ofKind = latencies.get(kind) ?? [];
    latencies.set(kind, ofKind);
    ofKind.push(performance.now() - startedAt);
    if (status !== 200) failures += 1;
  }
  client.close();
  const p95 = [...latencies].map(([kind, values]) => [kind, quantile(values, 0.95)] as const);
  return { failures, p95: Object.fromEntries(p95) };
};

const [url = '', file = '', seconds = '1'] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await main(url, file, Number(seconds))));
