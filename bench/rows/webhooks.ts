import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { newRun } from '../load/body.ts';
import { runForJson, scriptOf } from '../load/load.ts';
import type { OpenLoopReport } from '../load/open-loop.ts';
import type { PostsReport } from '../load/posts.ts';
import type { Report } from '../load/receiver.ts';
import { residentMb } from '../machine.ts';
import { withClient } from '../postgres.ts';
import { commonDatabase, measured, paymentsPerSecond, tally, type Sample, type Stage } from '../stage.ts';
import type { Vendor } from '../vendors.ts';

/** As many as one worker has under way to the four endpoints. */
const postsAtOnce = 64;
const arrivedWithinMs = 120_000;

/** Deliveries of a backlog per second, to four endpoints of a receiver that answers at once, over a bare loop of posts. */
export const deliveries = async (stage: Stage): Promise<Sample> => {
  const { seconds } = stage.options;
  const api = await stage.api();
  const [vendor] = stage.vendors.all;
  await using receiver = await startReceiver();
  await using _ = await endpointsOf(api.url, vendor, Array<string>(4).fill(`${receiver.url}/fast`));
  const load = { clients: 64, tokensFile: stage.vendors.oneFile, seconds };
  const paid = Math.floor((await paymentsPerSecond(stage, api.url, load)).rate * seconds);
  const sample = await (async () => {
    await using worker = await stage.start('worker');
    return await measured(stage, [worker], async () => {
      await receiver.arrived(4 * paid);
      const { perSecond: value, bytesEach } = await receiver.report();
      return { value, note: `${4 * paid} deliveries of ${Math.round(bytesEach)} bytes`, bytesEach };
    });
  })();
  const bytes = /of (\d+) bytes/.exec(sample.note ?? '')?.[1] ?? '';
  const args = [scriptOf('posts.ts'), `${receiver.url}/fast`, bytes, String(seconds), String(postsAtOnce)];
  const { sent } = (await runForJson(process.execPath, args)) as PostsReport; // what the script prints
  return { ...sample, over: sent / seconds };
};

/** How late events of one vendor are at its receiver, while 200 happen each second. */
export const lateness = async (stage: Stage, which: 'p50Ms' | 'p99Ms'): Promise<Sample> => {
  const api = await stage.api();
  const [vendor] = stage.vendors.all;
  await using receiver = await startReceiver();
  await using _ = await endpointsOf(api.url, vendor, [`${receiver.url}/fast`]);
  await using worker = await startWorker(stage);
  const told = { receiver, rate: 200, vendors: [vendor], each: 1 };
  // Code that has just been loaded is slow: the first seconds are not measured.
  await happen(stage, api.url, told);
  return await measured(stage, [api, worker], async () => {
    const { p50Ms, p99Ms } = await happen(stage, api.url, told);
    return { value: { p50Ms, p99Ms }[which], note: `p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms` };
  });
};

/** The same for 36 receivers beside four that hang, trickle, reset or never end, over the same without those four. */
export const bystanders = async (stage: Stage): Promise<Sample> => {
  const api = await stage.api();
  const vendors = stage.vendors.all.slice(0, 2);
  await using receiver = await startReceiver();
  await using worker = await startWorker(stage);
  const run = async (bad: readonly (readonly string[])[]): Promise<Report> => {
    await using stack = new AsyncDisposableStack();
    for (const [number, vendor] of vendors.entries()) {
      const paths = [...Array<string>(18).fill('fast'), ...(bad[number] ?? [])];
      const urls = paths.map((path) => `${receiver.url}/${path}`);
      stack.use(await endpointsOf(api.url, vendor, urls));
    }
    // Not before it has ended are the endpoints deleted.
    return await happen(stage, api.url, { receiver, rate: 20, vendors, each: 18 });
  };
  const alone = await run([]);
  return await measured(stage, [worker], async () => {
    const { p99Ms } = await run([
      ['hang', 'trickle'],
      ['reset', 'endless'],
    ]);
    return {
      value: p99Ms,
      over: alone.p99Ms,
      note: `p99 ${alone.p99Ms.toFixed(0)} → ${p99Ms.toFixed(0)} ms`,
    };
  });
};

/** Payments per second of one vendor who is told of each, over those of one who is told of none; a worker runs both times. */
export const paymentsTold = async (stage: Stage): Promise<Sample> => {
  const api = await stage.api();
  const [vendor] = stage.vendors.all;
  await using receiver = await startReceiver();
  await using worker = await startWorker(stage);
  const load = { clients: 64, tokensFile: stage.vendors.oneFile };
  const untold = (await paymentsPerSecond(stage, api.url, load)).rate;
  await using _ = await endpointsOf(api.url, vendor, [`${receiver.url}/fast`]);
  return await measured(stage, [api, worker], async () => {
    const { rate } = await paymentsPerSecond(stage, api.url, load);
    const { count } = await receiver.report();
    return { value: rate, over: untold, note: `${count} deliveries had arrived when the load ended` };
  });
};

const backlog = 1_000_000;
const drainS = 60;

/** The most resident memory of a worker that begins with a million deliveries waiting. */
export const backlogMemory = async (stage: Stage): Promise<Sample[]> => {
  const api = await stage.api();
  const [vendor] = stage.vendors.all;
  await using receiver = await startReceiver();
  await using _ = await endpointsOf(api.url, vendor, [`${receiver.url}/fast`]);
  await happenOnce(stage, api.url, receiver, vendor);
  await withClient(stage.postgres.superuser(commonDatabase), async (client) => {
    await client.query(
      `insert into webhooks.deliveries (tenant_id, id, endpoint_id, event, event_type, object_id, position, replay, state, ordered,
                                        waiting, due_at, created_at)
       select tenant_id, gen_random_uuid(), endpoint_id, event, event_type, object_id, position, n, 'pending', false, false,
              due_at, created_at
       from (select * from webhooks.deliveries order by position desc limit 1) d, generate_series(1, $1::integer) n`,
      [backlog],
    );
  });
  await using worker = await stage.start('worker');
  const whole = await measured(stage, [worker], async () => {
    await delay(drainS * 1000);
    return { value: (await receiver.report()).perSecond };
  });
  const megabytes = residentMb(worker.pid);
  if (megabytes === undefined) throw new Error('resident memory can be read on Linux only');
  return [
    { value: megabytes, cpu: whole.cpu, note: `${Math.round(whole.value)} deliveries/s of ${backlog}` },
  ];
};

/** A worker that has caught up with what happened before. */
const startWorker = async (stage: Stage): Promise<Awaited<ReturnType<Stage['start']>>> => {
  const worker = await stage.start('worker');
  for (let left = 1; left > 0; await delay(100))
    left = await withClient(stage.postgres.superuser(commonDatabase), async (client) => {
      const { rows } = await client.query<{ left: number }>(
        `select ((select count(*) from journal.entries) - (select position from webhooks.progress))::integer as left`,
      );
      return rows[0]?.left ?? 0;
    });
  return worker;
};

type Happening = { receiver: Receiver; rate: number; vendors: readonly (Vendor | undefined)[]; each: number };

/** Payments at a rate; tells how they came to the receiver, `each` times every one. */
const happen = async (
  stage: Stage,
  url: string,
  { receiver, rate, vendors, each }: Happening,
): Promise<Report> => {
  const tokensFile = join(stage.postgres.home, 'tokens-told');
  await writeFile(tokensFile, vendors.map((vendor) => `${vendor?.token}\n`).join(''), { mode: 0o600 });
  await receiver.report();
  const args = [url, tokensFile, String(rate), String(stage.options.seconds), newRun()];
  const report = (await runForJson(process.execPath, [scriptOf('open-loop.ts'), ...args])) as OpenLoopReport; // what the script prints
  if (report.failures > 0) throw new Error(`${report.failures} payments failed: ${report.firstFailure}`);
  tally(stage, { answered: report.requests });
  await receiver.arrived(each * report.requests);
  return receiver.report();
};

const happenOnce = async (stage: Stage, url: string, receiver: Receiver, vendor: Vendor | undefined) => {
  await using _ = await startWorker(stage);
  await happen(stage, url, { receiver, rate: 1, vendors: [vendor], each: 1 });
};

/** Endpoints of a vendor, which are deleted in the end. */
const endpointsOf = async (
  url: string,
  vendor: Vendor | undefined,
  urls: readonly string[],
): Promise<AsyncDisposable> => {
  const headers = { authorization: `Bearer ${vendor?.token}`, 'content-type': 'application/json' };
  const ask = async (method: string, path: string, body?: object): Promise<Record<string, unknown>> => {
    const response = await fetch(`${url}/api/v1/webhook-endpoints${path}`, {
      method,
      headers: body ? headers : { authorization: headers.authorization },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    if (!response.ok)
      throw new Error(`${method} /webhook-endpoints${path} was answered ${response.status}: ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  };
  const made: string[] = [];
  for (const each of urls)
    made.push(String((await ask('POST', '', { url: each, events: ['payment.*'] }))['id']));
  return {
    [Symbol.asyncDispose]: async () => {
      for (const id of made) await ask('DELETE', `/${id}`);
    },
  };
};

type Receiver = AsyncDisposable & {
  url: string;
  report(): Promise<Report>;
  /** Waits until so many have come. @throws Error when they don't */
  arrived(count: number): Promise<void>;
};

const startReceiver = async (): Promise<Receiver> => {
  const child = spawn(process.execPath, [scriptOf('receiver.ts')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [port] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]; // the arguments of 'line'
  const url = `http://127.0.0.1:${port}`;
  const arrived = async (count: number): Promise<void> => {
    for (const startedAt = performance.now(); ; await delay(50)) {
      const come = Number(await (await fetch(`${url}/count`)).text());
      if (come >= count) return;
      if (performance.now() - startedAt > arrivedWithinMs)
        throw new Error(`${come} of ${count} deliveries came within ${arrivedWithinMs / 1000} s`);
    }
  };
  return {
    url,
    report: async () => (await (await fetch(`${url}/report`)).json()) as Report, // what it answers
    arrived,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await once(child, 'exit');
    },
  };
};
