import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, truncateSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { rootDirectory } from '../server/src/lib/config/config.ts';
import type { ConnectionOptions } from '../server/src/lib/database.ts';

/** A running service of the product, as a process of its own. */
export type Service = AsyncDisposable & {
  name: ServiceName;
  pid: number;
  url: string;
  /** Empties its log, so that ten minutes of requests don't fill the disk. */
  forgetLog(): void;
  /** The last lines of its log that are not about success. */
  complaints(): string[];
};

export type ServiceName = 'api' | 'eapi' | 'sapi' | 'worker';

/** What signs the tokens of a run; every service of it is given the same. */
export const auth = {
  jwtSecret: randomBytes(48).toString('base64url'),
  issuer: 'florin-bench',
  audience: 'florin',
  tokenTtlS: 86_400,
} as const;

const masterKey = randomBytes(32).toString('base64');
const readyWithinMs = 30_000;

type StartOptions = {
  /** Where its log and its secrets lie. */
  home: string;
  cleanup: AsyncDisposableStack;
  /** Not for `eapi`, which has no database. */
  connection?: ConnectionOptions;
  /** Where `eapi` finds `sapi`. */
  sapiUrl?: string;
};

let started = 0;

/**
 * Starts `florin serve NAME` as in staging: plain HTTP, JSON logs at level info into a file, and rate limits that nobody
 * meets. Ready once its health says so.
 */
export const startService = async (name: ServiceName, options: StartOptions): Promise<Service> => {
  started += 1;
  const port = await freePort();
  const logFile = join(options.home, `${name}-${started}.log`);
  const log = openSync(logFile, 'a', 0o600);
  const main = join(rootDirectory, 'server', 'src', 'cli', 'main.ts');
  // Whoever pressed Ctrl-C meanwhile wants no further process.
  if (options.cleanup.disposed) throw new Error('the run is ending');
  const child = spawn(process.execPath, [main, 'serve', name], {
    env: environment(name, port, options),
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  options.cleanup.defer(stop);
  await ready(child, `${url}/health/ready`).catch(async (error: unknown) => {
    await stop();
    throw new Error(`${name} did not start:\n${readFileSync(logFile, 'utf8').slice(-2000)}`, {
      cause: error,
    });
  });
  return {
    name,
    pid: child.pid ?? 0,
    url,
    forgetLog: () => truncateSync(logFile),
    complaints: () => complaintsIn(readFileSync(logFile, 'utf8')),
    [Symbol.asyncDispose]: stop,
  };
};

/** A port that nobody listens on. */
export const freePort = async (): Promise<number> => {
  const probe = createServer().listen({ host: '127.0.0.1', port: 0 });
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return address.port;
};

/** Nothing is taken over from whoever runs the bench: a Redis or a log level of theirs would be in the figures. */
const environment = (
  name: ServiceName,
  port: number,
  { home, connection, sapiUrl }: StartOptions,
): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '',
  ENV: 'staging',
  PAYMENTS_SERVER_HOST: '127.0.0.1',
  ...(name === 'sapi' ? { PAYMENTS_SERVER_SAPI_PORT: String(port) } : {}),
  ...(name === 'api' || name === 'eapi' ? { PAYMENTS_SERVER_PORT: String(port) } : {}),
  ...(name === 'worker' ? { PAYMENTS_SERVER_WORKER_PORT: String(port) } : {}),
  ...(sapiUrl === undefined ? {} : { PAYMENTS_SERVER_SAPI_URL: sapiUrl }),
  ...(connection === undefined
    ? {}
    : {
        PAYMENTS_DATABASE_HOST: connection.host,
        PAYMENTS_DATABASE_PORT: String(connection.port),
        PAYMENTS_DATABASE_NAME: connection.database,
        PAYMENTS_DATABASE_USER: connection.user,
        PAYMENTS_DATABASE_PASSWORD: connection.password?.reveal() ?? '',
      }),
  PAYMENTS_AUTH_JWT_SECRET: auth.jwtSecret,
  PAYMENTS_AUTH_ISSUER: auth.issuer,
  PAYMENTS_AUTH_AUDIENCE: auth.audience,
  PAYMENTS_AUTH_TOKEN_TTL_S: String(auth.tokenTtlS),
  PAYMENTS_ENCRYPTION_MASTER_KEY: masterKey,
  PAYMENTS_SECRETS_FILE: join(home, 'client-secrets'),
  PAYMENTS_RATE_LIMIT_MAX: '1000000000',
  // Receivers of webhooks are on this machine.
  PAYMENTS_OUTBOUND_ALLOW_LOOPBACK: 'true',
  PAYMENTS_LOG_LEVEL: 'info',
  PAYMENTS_LOG_FORMAT: 'json',
});

const ready = async (child: ChildProcess, url: string): Promise<void> => {
  const deadline = performance.now() + readyWithinMs;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    const isReady = await fetch(url).then(
      async (response) => (await response.arrayBuffer(), response.ok),
      () => false,
    );
    if (isReady) return;
    await delay(20);
  }
  throw new Error(`it was not ready within ${readyWithinMs / 1000} s`);
};

const complaintsIn = (log: string): string[] =>
  log
    .split('\n')
    .filter((line) => /"level":"?(warn|error|fatal|[456]0)|"status(Code)?":[3-5]\d\d/.test(line))
    .slice(-3);
