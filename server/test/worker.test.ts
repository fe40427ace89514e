import { spawnSync } from 'node:child_process';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { send, testKey, type Answer } from '../src/services/testing.ts';
import { differencesIn } from './setup/api.ts';
import { preparedForTests } from './setup/prepared.ts';
import { environmentOf, main, startService, type Service, type Variables } from './setup/service.ts';

const waitMs = 30_000;
const prepared = preparedForTests();

/** Asks for a payment whose backend charges and does not answer; always the same, by its key. */
const pay = (eapi: Service): Promise<Answer> =>
  send(`http://127.0.0.1:${eapi.port}/api/v1/payments`, {
    method: 'POST',
    headers: { ...testKey, 'idempotency-key': 'killed' },
    json: { amount: '10.00', currency: 'USD', payment_method: 'sandbox:timeout_after_charging' },
  });

const openOperations = async (): Promise<number> => {
  const { rows } = await sql<{ count: number }>`
    select count(*)::integer as count from payments.operations where state in ('open', 'unknown')
  `.execute(prepared.database.db);
  return rows[0]?.count ?? 0;
};

test(
  'a payment whose sapi was killed during the call is resolved, though the first worker was killed too',
  { timeout: 120_000 },
  async () => {
    await using stack = new AsyncDisposableStack();
    const start = async (name: 'eapi' | 'sapi' | 'worker', sapiPort = 0): Promise<Service> => {
      const variables = { SERVER_SAPI_PORT: String(sapiPort), PAYMENTS_CONNECTOR_TIMEOUT_MS: '2000' };
      return stack.use(await startService(name, prepared, variables));
    };
    const sapi = await start('sapi');
    const eapi = await start('eapi', sapi.port);
    const workers = [await start('worker', sapi.port), await start('worker', sapi.port)] as const;

    const first = pay(eapi);
    await expect.poll(openOperations, { timeout: waitMs }).toBe(1);
    await sapi.end('SIGKILL');
    expect((await first).status).toBe(503);
    await workers[0].end('SIGKILL');
    const again = await start('sapi', sapi.port);

    // 409 while the call might still be answered, 202 until somebody has asked.
    await expect.poll(async () => (await pay(eapi)).status, { timeout: waitMs }).toBe(201);
    expect((await pay(eapi)).body).toMatchObject({ status: 'succeeded', amount_captured: '10.00' });
    expect(await openOperations()).toBe(0);
    expect(await differencesIn(prepared.database.db)).toEqual([]);

    expect(await workers[1].end('SIGTERM')).toBe(0);
    await Promise.all([eapi.end('SIGTERM'), again.end('SIGTERM')]);
  },
);

const validate = (changes: Variables, environment = 'test') =>
  spawnSync(process.execPath, [main, 'serve', 'worker', '--validate-only'], {
    env: { ...environmentOf({ ...prepared.variables, ...changes }), ENV: environment },
    encoding: 'utf8',
  });

test('florin serve worker --validate-only checks what a worker reads, and starts nothing', () => {
  expect(validate({})).toMatchObject({
    status: 0,
    stdout: 'The configuration of worker is valid in test.\n',
  });
  const bare = { DATABASE_PASSWORD: '', AUTH_JWT_SECRET: '', ENCRYPTION_MASTER_KEY: '' };
  const { status, stderr } = validate(bare, 'production');
  expect(status).toBe(1);
  // No public port, so no certificate; no access tokens, so no secret of theirs.
  expect(stderr.split('\n').filter((line) => line.startsWith('Error: '))).toEqual([
    'Error: database.password required in production',
    'Error: auth.service_secret required in production',
    'Error: encryption.master_key required in production',
  ]);
  const clash = validate({ SERVER_WORKER_PORT: '8080', SERVER_HEALTH_PORT: '8080' });
  expect(clash.stderr).toContain('server.health_port and server.worker_port must differ, both are 8080');
});
