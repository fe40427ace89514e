import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Cache } from './cache.ts';
import { Secret } from './secret.ts';

/** Whether this machine has no redis-server; its tests then say so and are left out. */
export const withoutRedis = spawnSync('redis-server', ['--version']).status !== 0;
if (withoutRedis) process.stderr.write('Tests with Redis are skipped: redis-server is not installed.\n');

const password = 'redis-password-of-a-test';

/** A real Redis on a free port that stores nothing; ends with its scope. */
export const startRedis = async () => {
  const port = await freePort();
  const start = async () => {
    const child = spawn('redis-server', [
      '--port',
      String(port),
      '--save',
      '',
      '--appendonly',
      'no',
      '--requirepass',
      password,
    ]);
    for await (const line of child.stdout) if (String(line).includes('Ready to accept connections')) break;
    return child;
  };
  let server = await start();
  const stop = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    server.kill('SIGKILL');
    await once(server, 'exit');
  };
  return {
    settings: { host: '127.0.0.1', port, password: new Secret(password), tls: false },
    /** Waits until a cache has connected, or has noticed that it is not any more. */
    ready: (cache: Cache, state: 'connected' | 'disconnected' = 'connected') =>
      until(() => cache.state() === state),
    stop,
    restart: async (): Promise<void> => {
      server = await start();
    },
    /** Keeps the connections and answers nothing, until `thaw`. */
    freeze: () => server.kill('SIGSTOP'),
    thaw: () => server.kill('SIGCONT'),
    [Symbol.asyncDispose]: stop,
  };
};

/** Waits for what only another process can bring about; gives up after ten seconds. */
const until = async (holds: () => boolean): Promise<void> => {
  const giveUpAt = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > giveUpAt) throw new Error('it did not happen within ten seconds');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
};
