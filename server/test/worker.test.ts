import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { systemClock } from '../src/lib/clock.ts';
import { keyFrom } from '../src/lib/crypto.ts';
import { Secret } from '../src/lib/secret.ts';
import { fileSecrets } from '../src/secrets/files.ts';
import { send, testKey, type Answer } from '../src/services/testing.ts';
import { seedDemo } from '../src/vendors/demo.ts';
import { differencesIn } from './setup/api.ts';
import { testDatabase } from './setup/database.ts';

const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const waitMs = 30_000;

const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'florin-worker-'));
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

const masterKey = randomBytes(32).toString('base64');
const secretsFile = join(folder, 'client-secrets.json');
const { connection } = database;
const [port, sapiPort] = [await freePort(), await freePort()];
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
  PAYMENTS_PAYMENTS_CONNECTOR_TIMEOUT_MS: '2000',
};
const url = `http://localhost:${port}`;

/** A service as a process of its own, once it is ready. */
const serve = async (service: 'eapi' | 'sapi' | 'worker'): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [main, 'serve', service], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect.poll(() => said, { timeout: waitMs }).toContain('All services initialized');
  return child;
};

const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> => {
  const ended = once(child, 'exit');
  child.kill(signal);
  const [code] = (await ended) as [number | null]; // the arguments of 'exit'
  return code;
};

const pay = (key: string): Promise<Answer> =>
  send(`${url}/api/v1/payments`, {
    method: 'POST',
    headers: { ...testKey, 'idempotency-key': key },
    json: { amount: '10.00', currency: 'USD', payment_method: 'sandbox:timeout_after_charging' },
  });

const openOperations = async (): Promise<number> => {
  const { rows } = await sql<{ count: number }>`
    select count(*)::integer as count from payments.operations where state in ('open', 'unknown')
  `.execute(database.db);
  return rows[0]?.count ?? 0;
};

test(
  'a payment whose sapi was killed during the call is resolved, though the first worker was killed too',
  { timeout: 120_000 },
  async () => {
    const secrets = fileSecrets({
      file: secretsFile,
      master: { current: keyFrom(new Secret(masterKey)) },
      clock: systemClock,
    });
    await seedDemo({ db: database.db, secrets, clock: systemClock }, 'test');
    const [sapi, eapi] = [await serve('sapi'), await serve('eapi')];
    const workers = [await serve('worker'), await serve('worker')] as const;

    const first = pay('killed');
    await expect.poll(openOperations, { timeout: waitMs }).toBe(1);
    await end(sapi, 'SIGKILL');
    expect((await first).status).toBe(503);
    await end(workers[0], 'SIGKILL');
    const again = await serve('sapi');

    // 409 while the call might still be answered, 202 until somebody has asked.
    await expect.poll(async () => (await pay('killed')).status, { timeout: waitMs }).toBe(201);
    expect((await pay('killed')).body).toMatchObject({ status: 'succeeded', amount_captured: '10.00' });
    expect(await openOperations()).toBe(0);
    expect(await differencesIn(database.db)).toEqual([]);

    expect(await end(workers[1], 'SIGTERM')).toBe(0);
    await Promise.all([end(eapi, 'SIGTERM'), end(again, 'SIGTERM')]);
  },
);

const validate = (changes: NodeJS.ProcessEnv) =>
  spawnSync(process.execPath, [main, 'serve', 'worker', '--validate-only'], {
    env: { ...env, ...changes },
    encoding: 'utf8',
  });

test('florin serve worker --validate-only checks what a worker reads, and starts nothing', () => {
  expect(validate({})).toMatchObject({
    status: 0,
    stdout: 'The configuration of worker is valid in dev.\n',
  });
  const bare = {
    ENV: 'production',
    PAYMENTS_DATABASE_PASSWORD: '',
    PAYMENTS_AUTH_JWT_SECRET: '',
    PAYMENTS_ENCRYPTION_MASTER_KEY: '',
  };
  const { status, stderr } = validate(bare);
  expect(status).toBe(1);
  // No public port, so no certificate; no access tokens, so no secret of theirs.
  expect(stderr.split('\n').filter((line) => line.startsWith('Error: '))).toEqual([
    'Error: database.password required in production',
    'Error: auth.service_secret required in production',
    'Error: encryption.master_key required in production',
  ]);
  const clash = validate({ PAYMENTS_SERVER_WORKER_PORT: '8080', PAYMENTS_SERVER_HEALTH_PORT: '8080' });
  expect(clash.stderr).toContain('server.health_port and server.worker_port must differ, both are 8080');
});
