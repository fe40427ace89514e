import { flood } from './canary.ts';
import type { FloodResult } from './flood.ts';
import type { Service } from '../setup/service.ts';
import { residentMb } from './room.ts';

const seconds = 8;

/** Prints what becomes of accepted payments at the top rate and at five times as much, and how soon all is well again. */
export const measureOverload = async (service: Service, print: (line: string) => void): Promise<void> => {
  const pay = (rate: number, during: number, connectionsMax = 2_000): Promise<FloodResult> =>
    flood({
      port: service.port,
      rate,
      seconds: during,
      connectionsMax,
      isOpen: true,
      method: 'POST',
      path: '/api/v1/payments',
      headers: {
        'x-client-id': 'test_client_id',
        'x-client-secret': 'test_client_secret',
        'idempotency-key': '%id%',
      },
      body: JSON.stringify({ amount: '10.00', currency: 'USD', reference: 'pressure' }),
    });
  const row = async (name: string, rate: number): Promise<void> => {
    const watch = watchMemory(service);
    const result = await pay(rate, seconds);
    print(`${name.padEnd(22)}${describe(result)}, ${await watch()}`);
  };

  await pay(1_000, 3);
  // More than it can do over fewer connections than it has places: each is sent when one before was answered.
  const top = taken(await pay(50_000, seconds, 128)) / seconds;
  print(`Top rate: ${Math.round(top)} payments/s over 128 connections.`);
  const light = await pay(top / 4, 3);
  print(`${'a quarter of it'.padEnd(22)}${describe(light)}`);
  await row('nine tenths of it', top * 0.9);
  await row('five times as much', top * 5);
  const p99Ms = (light.statuses['201']?.p99Ms ?? 0) * 2;
  for (let second = 1; second <= 30; second += 1) {
    const after = await pay(top / 4, 1);
    const isWell = taken(after) === after.sent && (after.statuses['201']?.p99Ms ?? Infinity) <= p99Ms;
    if (!isWell) continue;
    print(`${second} s after it: ${describe(after)}, ${Math.round(await residentMb(service))} MB`);
    return;
  }
  print('30 s after it, it is not as before');
};

const taken = ({ statuses }: FloodResult): number => statuses['201']?.count ?? 0;

const describe = ({ statuses, sent, unsent, broken, unanswered }: FloodResult): string => {
  const share = (count: number): string => `${((count / sent) * 100).toFixed(1)} %`;
  const each = Object.entries(statuses).map(
    ([status, { count, p50Ms, p99Ms }]) => `${status}: ${share(count)}, p50 ${p50Ms} ms, p99 ${p99Ms} ms`,
  );
  const faults = Object.entries({ unsent, broken, unanswered }).filter(([, count]) => count > 0);
  return [`${sent} sent`, ...each, ...faults.map(([fault, count]) => `${fault} ${count}`)].join('; ');
};

/** Reads the memory each second until the function it gives is called. */
const watchMemory = (service: Service): (() => Promise<string>) => {
  const seen: number[] = [];
  const read = (): void =>
    void residentMb(service).then(
      (mb) => seen.push(mb),
      () => undefined,
    );
  read();
  const timer = setInterval(read, 1000);
  return async () => {
    clearInterval(timer);
    const [first = 0, last] = [seen[0], await residentMb(service)];
    return `${Math.round(first)} MB before, ${Math.round(Math.max(...seen))} at most, ${Math.round(last)} after`;
  };
};
