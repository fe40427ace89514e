import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/lib/clock.ts';
import { rootDirectory } from '../../src/lib/config/config.ts';
import { keyFrom } from '../../src/lib/crypto.ts';
import { Secret } from '../../src/lib/secret.ts';
import { fileSecrets } from '../../src/secrets/files.ts';
import { seedDemo } from '../../src/vendors/demo.ts';
import type { TestDatabase } from '../setup/database.ts';

/** Variables of a service, without the prefix `PAYMENTS_`. */
export type Variables = Readonly<Record<string, string>>;

export type Service = AsyncDisposable & {
  port: number;
  /** Sends a signal and waits for the end; gives the exit code, or null when the signal was not caught. */
  end(signal: NodeJS.Signals): Promise<number | null>;
};

const main = join(rootDirectory, 'server/src/cli/main.ts');

/** Starts `florin serve NAME` as a process of its own, on a port that the system chooses, and waits until it listens. */
export const startService = async (name: 'api' | 'eapi' | 'sapi', variables: Variables): Promise<Service> => {
  const prefixed = Object.entries(variables).map(([variable, value]) => [`PAYMENTS_${variable}`, value]);
  const child = spawn(process.execPath, [main, 'serve', name], {
    cwd: rootDirectory,
    env: { PATH: process.env['PATH'], ENV: 'test', ...Object.fromEntries(prefixed) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { message, addr } = JSON.parse(line) as Record<string, unknown>;
    if (message === 'Starting HTTP server') resolve(Number(String(addr).split(':').at(-1)));
  });
  const ended = once(child, 'exit') as Promise<[code: number | null]>; // the arguments of 'exit'
  void ended.then(([code]) => reject(new Error(`${name} ended with ${String(code)}`)));
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    const [code] = await ended;
    return code;
  };
  const port = await promise;
  return { port, end, [Symbol.asyncDispose]: async () => void (await end('SIGKILL')) };
};

/** The variables of services on a database that gets the demo vendors. Disposing removes the file of secrets. */
export const prepareServices = async ({
  db,
  connection,
}: TestDatabase): Promise<AsyncDisposable & { variables: Variables }> => {
  const folder = await mkdtemp(join(tmpdir(), 'florin-rolling-'));
  const file = join(folder, 'secrets');
  const masterKey = new Secret(Buffer.alloc(32, 7).toString('base64'));
  const secrets = fileSecrets({ file, master: { current: keyFrom(masterKey) }, clock: systemClock });
  await seedDemo({ db, secrets, clock: systemClock }, 'test');
  const variables = {
    DATABASE_HOST: connection.host,
    DATABASE_PORT: String(connection.port),
    DATABASE_NAME: connection.database,
    DATABASE_USER: connection.user,
    DATABASE_PASSWORD: connection.password?.reveal() ?? '',
    SERVER_HOST: '127.0.0.1',
    SERVER_PORT: '0',
    SERVER_SAPI_PORT: '0',
    AUTH_JWT_SECRET: 'a secret of tests that signs access tokens',
    ENCRYPTION_MASTER_KEY: masterKey.reveal(),
    SECRETS_FILE: file,
    METRICS_TOKEN: 'a token of tests that reads metrics',
    RATE_LIMIT_MAX: '1000000000',
    LOG_LEVEL: 'info',
  };
  return { variables, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
};
