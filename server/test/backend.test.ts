import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Movement } from '../../examples/backend/book.ts';
import { systemClock } from '../src/lib/clock.ts';
import { rootDirectory } from '../src/lib/config/config.ts';
import { keyFrom } from '../src/lib/crypto.ts';
import { fromUuid, toUuid, type Id } from '../src/lib/ids.ts';
import { Secret } from '../src/lib/secret.ts';
import { fileSecrets } from '../src/secrets/files.ts';
import { send, testKey, type Answer } from '../src/services/testing.ts';
import { seedDemo } from '../src/vendors/demo.ts';
import { differencesIn } from './setup/api.ts';
import { testDatabase } from './setup/database.ts';

/*
 * The example backend, eapi, sapi and a worker, each a process of its own: whatever the backend does, there is one charge,
 * one payment, and books that agree.
 */

const waitMs = 30_000;
const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'florin-backend-'));
const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await database[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const freePort = async (): Promise<string> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  server.close();
  return String(port);
};

const [port, sapiPort, backendPort] = [await freePort(), await freePort(), await freePort()];
const [url, backendUrl] = [`http://localhost:${port}`, `http://127.0.0.1:${backendPort}`];
const masterKey = randomBytes(32).toString('base64');
const secretsFile = join(folder, 'client-secrets.json');
const backendSecret = randomBytes(32).toString('base64');
const { connection } = database;
const env: NodeJS.ProcessEnv = {
  PATH: process.env['PATH'],
  HOME: folder,
  PORT: port,
  PAYMENTS_SERVER_SAPI_PORT: sapiPort,
  PAYMENTS_SERVER_WORKER_PORT: '0',
  PAYMENTS_DATABASE_HOST: connection.host,
  PAYMENTS_DATABASE_PORT: String(connection.port),
  PAYMENTS_DATABASE_NAME: connection.database,
  PAYMENTS_DATABASE_USER: connection.user,
  PAYMENTS_DATABASE_PASSWORD: connection.password?.reveal(),
  PAYMENTS_AUTH_JWT_SECRET: randomBytes(48).toString('base64'),
  PAYMENTS_ENCRYPTION_MASTER_KEY: masterKey,
  PAYMENTS_SECRETS_FILE: secretsFile,
  PAYMENTS_PAYMENTS_CONNECTOR_TIMEOUT_MS: '1000',
  PAYMENTS_BACKEND_URL: backendUrl,
  PAYMENTS_BACKEND_SECRET: backendSecret,
};

const main = join(rootDirectory, 'server/src/cli/main.ts');

/** Starts a process and waits until it says that it is ready. */
const start = async (script: string, args: string[], variables: NodeJS.ProcessEnv, ready: string) => {
  const child = spawn(process.execPath, [script, ...args], {
    env: variables,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await vi.waitFor(() => expect(said).toContain(ready), { timeout: waitMs });
};

const serve = (service: string): Promise<void> =>
  start(main, ['serve', service], env, 'All services initialized');

beforeAll(async () => {
  const secrets = fileSecrets({
    file: secretsFile,
    master: { current: keyFrom(new Secret(masterKey)) },
    clock: systemClock,
  });
  await seedDemo({ db: database.db, secrets, clock: systemClock }, 'test');
  const own = {
    PATH: process.env['PATH'],
    PORT: backendPort,
    BACKEND_SECRET: backendSecret,
    FLORIN_URL: url,
  };
  await start(join(rootDirectory, 'examples/backend/main.ts'), [], own, 'listens');
  await serve('sapi');
  await serve('eapi');
  await serve('worker');
}, 120_000);

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
  expect(await differencesIn(database.db)).toEqual([]);
}, 60_000);

test('what the backend tells by itself goes through the edge to sapi, and disorder does no harm', async () => {
  const paid = await pay('out_of_order', 'disorder');
  expect(paid).toMatchObject({ status: 201, body: { status: 'succeeded' } });
  const told = async (): Promise<unknown[]> => {
    const { rows } = await sql<{ result: string }>`
      select c.result from payments.callbacks c join payments.operations o on o.id = c.operation_id
      where o.payment_id = ${toUuid(paid.body['id'] as Id<'payment'>)} order by c.received_at
    `.execute(database.db);
    return rows.map(({ result }) => result);
  };
  await expect.poll(told, { timeout: waitMs }).toEqual(['settled', 'pending']);
  expect(await movementsOf(paid)).toHaveLength(1);
  expect(await differencesIn(database.db)).toEqual([]);
}, 60_000);

const florin = (...args: string[]) =>
  spawnSync(process.execPath, [main, ...args], { env, encoding: 'utf8', timeout: 60_000 });

test('what a backend never tells is settled by hand, through sapi, by somebody who says why', async () => {
  const silent = await pay('hang_for_ever', 'silent');
  expect(silent.body).toMatchObject({ status: 'unknown' });
  const { rows } = await sql<{ id: string }>`
    select id from payments.operations where payment_id = ${toUuid(silent.body['id'] as Id<'payment'>)}
  `.execute(database.db);
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
  expect(await differencesIn(database.db)).toEqual([]);
}, 120_000);
