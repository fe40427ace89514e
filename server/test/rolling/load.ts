import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * Clients in a process of their own, which pay as fast as they are answered and read what they paid, each on one
 * connection that it keeps. Nothing is ever sent twice: what fails, failed.
 *
 * `load.ts OPTIONS`, the options as JSON. Pays until its standard input ends, then prints the `LoadResult` as JSON.
 */
export type LoadOptions = {
  port: number;
  clients: number;
  /** How long a client waits after each payment, so that those who start have something of the machine. */
  pauseMs: number;
};

export type LoadResult = {
  /** The references of payments that were acknowledged with 201. */
  paid: string[];
  reads: number;
  /** Every request that was answered otherwise, or not. */
  failures: string[];
  /** Connections that were refused, so that nothing was sent. */
  refused: number;
};

type Answer = { status: number; body: string };

const ask = (agent: Agent, port: number, method: string, path: string, body?: object): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = body === undefined ? '' : JSON.stringify(body);
    const headers = {
      'x-api-key': 'test-key',
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': sent.length }),
    };
    const asked = request(
      { host: '127.0.0.1', port, agent, method, path, headers, timeout: 20_000 },
      (answer) => {
        text(answer).then((read) => resolve({ status: answer.statusCode ?? 0, body: read }), reject);
      },
    );
    asked.on('timeout', () => asked.destroy(new Error('no answer within 20 seconds')));
    asked.on('error', reject);
    asked.end(sent);
  });

const run = async ({ port, clients, pauseMs }: LoadOptions): Promise<LoadResult> => {
  const result: LoadResult = { paid: [], reads: 0, failures: [], refused: 0 };
  const over = new AbortController();
  process.stdin.resume().once('end', () => over.abort());

  const pay = async (agent: Agent, reference: string): Promise<void> => {
    const payment = { amount: '1.00', currency: 'USD', reference };
    const answer = await ask(agent, port, 'POST', '/api/v1/payments', payment);
    if (answer.status !== 201) throw new Error(`POST ${answer.status} ${answer.body}`);
    result.paid.push(reference);
    const { id } = JSON.parse(answer.body) as { id: string };
    const read = await ask(agent, port, 'GET', `/api/v1/payments/${id}`);
    if (read.status !== 200) throw new Error(`GET ${read.status} ${read.body}`);
    result.reads += 1;
  };

  const client = async (index: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let made = 0; !over.signal.aborted; made += 1) {
      try {
        await pay(agent, `${process.pid}-${index}-${made}`);
      } catch (error) {
        const refused = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
        if (refused) result.refused += 1;
        else result.failures.push(`${new Date().toISOString()} ${String(error)}`);
      }
      await wait(pauseMs);
    }
    agent.destroy();
  };
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  return result;
};

process.stdout.write(JSON.stringify(await run(JSON.parse(process.argv[2] ?? '') as LoadOptions)));
