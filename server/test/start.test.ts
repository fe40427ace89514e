import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const checkout = fileURLToPath(new URL('../../', import.meta.url));
let root: string;
let env: NodeJS.ProcessEnv;

/** A checkout of its own, so that its `.florin` is its own too. Run without the launcher, which might install. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'florin-start-'));
  await chmod(root, 0o755);
  for (const name of ['config', 'package.json', 'server'])
    await cp(join(checkout, name), join(root, name), { recursive: true });
  await symlink(join(checkout, 'node_modules'), join(root, 'node_modules'));
  const [port, sapiPort] = [await freePort(), await freePort()];
  env = {
    PATH: process.env['PATH'],
    HOME: root,
    PORT: String(port),
    PAYMENTS_SERVER_SAPI_PORT: String(sapiPort),
  };
});
afterAll(() => rm(root, { recursive: true, force: true }));

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });

const main = (): string => join(root, 'server', 'src', 'cli', 'main.ts');

type Running = { child: ChildProcessByStdio<null, Readable, null>; screen: string };

const start = async (): Promise<Running> => {
  const child = spawn(process.execPath, [main(), 'start'], {
    env,
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const running = { child, screen: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (running.screen += text));
  await expect.poll(() => running.screen, { timeout: 30_000 }).toContain('Ctrl-C stops it');
  return running;
};

const stop = async ({ child }: Running, signal: NodeJS.Signals): Promise<unknown> => {
  child.kill(signal);
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
};

const florinAs = (env: NodeJS.ProcessEnv, ...args: string[]) =>
  spawnSync(process.execPath, [main(), ...args], { env, cwd: '/', encoding: 'utf8' });
const florin = (...args: string[]) => florinAs(env, ...args);
const count = (): unknown =>
  JSON.parse(
    florin('db', 'shell', '--json', '-c', 'select count(*)::int as n from payments.payments').stdout,
  );

const pay = (): Promise<Response> =>
  fetch(`http://127.0.0.1:${env['PORT'] ?? ''}/api/v1/payments`, {
    method: 'POST',
    headers: { 'x-api-key': 'test-key', 'content-type': 'application/json' },
    body: JSON.stringify({
      amount: 100.0,
      currency: 'USD',
      reference: 'TEST-12345',
      description: 'Test payment',
    }),
  });

test(
  'one command starts it, a second start says so, Ctrl-C ends it, and what was paid is still there after the next',
  { timeout: 90_000 },
  async () => {
    const first = await start();
    expect(first.screen).toContain('test_client_secret');
    expect((await pay()).status).toBe(201);
    const second = florinAs({ ...env, PORT: '1' }, 'start');
    expect(second.stdout).toContain(
      `Florin runs already, as process ${String(first.child.pid)}: http://localhost:${String(env['PORT'])}\n`,
    );
    expect(second.status).toBe(0);
    expect(count()).toEqual([{ n: 1 }]);
    expect(await stop(first, 'SIGINT')).toBe(0);
    expect(florin('db', 'shell', '-c', 'select 1')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('npm start') as string,
    });

    const next = await start();
    expect((await pay()).status).toBe(201);
    expect(count()).toEqual([{ n: 2 }]);
    expect(await stop(next, 'SIGTERM')).toBe(0);
  },
);
