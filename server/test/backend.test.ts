import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Movement } from '../../examples/backend/book.ts';
import { rootDirectory } from '../src/lib/config/config.ts';
import { fromUuid, toUuid, type Id } from '../src/lib/ids.ts';
import { send, testKey, type Answer } from '../src/services/testing.ts';
import { freePort } from './crash/world.ts';
import { differencesIn } from './setup/api.ts';
import { preparedForTests } from './setup/prepared.ts';
import { environmentOf, main, startService, type Service, type Variables } from './setup/service.ts';

/*
 * The example backend, eapi, sapi and a worker, each a process of its own: whatever the backend does, there is one charge,
 * one payment, and books that agree.
 */

const waitMs = 30_000;
const prepared = preparedForTests();
const running = new AsyncDisposableStack();
afterAll(() => running.disposeAsync());
let variables: Variables;
let url: string;
let backendUrl: string;

beforeAll(async () => {
  const backendPort = await freePort();
  const backendSecret = randomBytes(32).toString('base64');
  backendUrl = `http://127.0.0.1:${backendPort}`;
  variables = {
    ...prepared.variables,
    PAYMENTS_CONNECTOR_TIMEOUT_MS: '1000',
    BACKEND_URL: backendUrl,
    BACKEND_SECRET: backendSecret,
  };
  const { port: sapiPort } = await serve('sapi');
  variables = { ...variables, SERVER_SAPI_PORT: String(sapiPort) };
  const { port } = await serve('eapi');
  await serve('worker');
  url = `http://127.0.0.1:${port}`;
  await startBackend({ PORT: String(backendPort), BACKEND_SECRET: backendSecret, FLORIN_URL: url });
}, 120_000);

const serve = async (name: 'eapi' | 'sapi' | 'worker'): Promise<Service> =>
  running.use(await startService(name, { ...prepared, variables }));

/** Starts the example backend and waits until it listens. */
const startBackend = async (own: NodeJS.ProcessEnv): Promise<void> => {
  const script = join(rootDirectory, 'examples/backend/main.ts');
  const child = spawn(process.execPath, [script], {
    env: { PATH: process.env['PATH'], ...own },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.defer(() => void child.kill('SIGKILL'));
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await vi.waitFor(() => expect(said).toContain('listens'), { timeout: waitMs });
};

const pay = (detail: string, key: string): Promise<Answer> =>
  send(`${url}/api/v1/payments`, {
    method: 'POST',
    headers: { ...testKey, 'idempotency-key': key },
    json: { amount: '10.00', currency: 'USD', payment_method: `http:${detail}` },
  });

const movementsOf = async (payment: Answer): Promise<Movement[]> => {
  const answer = await fetch(`${backendUrl}/control/movements`);
  const movements = (await answer.json()) as Movement[]; // as the example backend answers
  return movements.filter(({ payment_id: id }) => id === payment.body['id']);
};

test('a backend that charges and then hangs ends with one charge, one payment that succeeded, and books that agree', async () => {
  const first = await pay('hang', 'hangs');
  expect(first).toMatchObject({ status: 202, body: { status: 'unknown' } });
  // The worker asks once the time for an answer is over; sapi settles.
  await expect
    .poll(async () => (await pay('hang', 'hangs')).body['status'], { timeout: waitMs })
    .toBe('succeeded');
  expect(await pay('hang', 'hangs')).toMatchObject({ status: 201, body: { id: first.body['id'] } });
  expect(await movementsOf(first)).toMatchObject([{ kind: 'authorise', amount_minor: '1000' }]);
  expect(await differencesIn(prepared.database.db)).toEqual([]);
}, 60_000);

test('what the backend tells by itself goes through the edge to sapi, and disorder does no harm', async () => {
  const paid = await pay('out_of_order', 'disorder');
  expect(paid).toMatchObject({ status: 201, body: { status: 'succeeded' } });
  const told = async (): Promise<unknown[]> => {
    const { rows } = await sql<{ result: string }>`
      select c.result from payments.callbacks c join payments.operations o on o.id = c.operation_id
      where o.payment_id = ${toUuid(paid.body['id'] as Id<'payment'>)} order by c.received_at
    `.execute(prepared.database.db);
    return rows.map(({ result }) => result);
  };
  await expect.poll(told, { timeout: waitMs }).toEqual(['settled', 'pending']);
  expect(await movementsOf(paid)).toHaveLength(1);
  expect(await differencesIn(prepared.database.db)).toEqual([]);
}, 60_000);

const florin = (...args: string[]) =>
  spawnSync(process.execPath, [main, ...args], {
    env: environmentOf(variables),
    encoding: 'utf8',
    timeout: 60_000,
  });

test('what a backend never tells is settled by hand, through sapi, by somebody who says why', async () => {
  const silent = await pay('hang_for_ever', 'silent');
  expect(silent.body).toMatchObject({ status: 'unknown' });
  const { rows } = await sql<{ id: string }>`
    select id from payments.operations where payment_id = ${toUuid(silent.body['id'] as Id<'payment'>)}
  `.execute(prepared.database.db);
  const operation = fromUuid('operation', rows[0]?.id ?? '');
  const reason = ['--reason', 'Their statement has it'];
  const settle = (...args: string[]) => florin('payments', 'settle', operation, ...args);
  expect(settle('--approved').stderr).toContain("required option '--reason <text>'");
  expect(settle(...reason).stderr).toContain('Say what happened: --approved or --declined.');
  // Listed once the call can't be answered any more.
  await expect.poll(() => florin('payments', 'unresolved').stdout, { timeout: waitMs }).toContain(operation);
  expect(settle('--approved', ...reason)).toMatchObject({ status: 0, stdout: `${operation} is approved.\n` });
  const again = settle('--declined', ...reason);
  expect(again).toMatchObject({ status: 1 });
  expect(again.stderr).toContain('This operation is approved already, and stays so.');
  expect(await pay('hang_for_ever', 'silent')).toMatchObject({ status: 201, body: { status: 'succeeded' } });
  const { body } = await send(
    `${url}/api/v1/audit?object=${String(silent.body['id'])}&action=operation.settled_by_hand`,
    { headers: testKey },
  );
  expect(body['data']).toMatchObject([
    {
      actor: expect.stringMatching(/^cli:/),
      details: { outcome: 'approved', reason: 'Their statement has it' },
    },
  ]);
  expect(await differencesIn(prepared.database.db)).toEqual([]);
}, 120_000);
