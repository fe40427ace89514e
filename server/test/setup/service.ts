import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import { rootDirectory } from '../../src/lib/config/config.ts';
import { keyFrom } from '../../src/lib/crypto.ts';
import type { ConnectionOptions, Db } from '../../src/lib/database.ts';
import { Secret } from '../../src/lib/secret.ts';
import { fileSecrets } from '../../src/secrets/files.ts';
import { seedDemo } from '../../src/vendors/demo.ts';

/** Variables of a service, without the prefix `PAYMENTS_`. */
export type Variables = Readonly<Record<string, string>>;

/** A service as a process of its own. */
export type Service = AsyncDisposable & {
  port: number;
  /** The lines of its log. */
  lines(): Promise<Record<string, unknown>[]>;
  /** The value of a metric, named by a pattern; 0 when there is none yet. Of a service with a public port. */
  metric(name: string): Promise<number>;
  /** Sends a signal and waits for the end; gives the exit code, or null when the signal was not caught. */
  end(signal: NodeJS.Signals): Promise<number | null>;
};

/** Where services keep their files, and the variables they start with. */
export type Preparation = { folder: string; variables: Variables };

/** The program `florin`, for Node.js. */
export const main = join(rootDirectory, 'server/src/cli/main.ts');
const metricsToken = 'a token of tests that reads metrics';

let started = 0;

/** Starts `florin serve NAME` on a port that the system chooses, and waits until it is ready. */
export const startService = async (
  name: 'api' | 'eapi' | 'sapi' | 'worker',
  { folder, variables }: Preparation,
  changes: Variables = {},
): Promise<Service> => {
  started += 1;
  // Into a file: a pipe would make the service wait for whoever reads it.
  const logFile = join(folder, `${name}-${started}.log`);
  const log = await open(logFile, 'w');
  const child = spawn(process.execPath, [main, 'serve', name], {
    cwd: rootDirectory,
    env: environmentOf({ ...variables, ...changes }),
    stdio: ['ignore', log.fd, 'inherit'],
  });
  await log.close();
  const ended = once(child, 'exit') as Promise<[code: number | null]>; // the arguments of 'exit'
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    const [code] = await ended;
    return code;
  };
  const lines = async (): Promise<Record<string, unknown>[]> => {
    const text = await readFile(logFile, 'utf8');
    // What follows the last line feed is still being written.
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  const port = await portIn(lines, () => {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
  });
  return {
    port,
    lines,
    metric: (metric) => metricOf(port, metric),
    end,
    [Symbol.asyncDispose]: async () => void (await end('SIGKILL')),
  };
};

/** The environment in which `florin` has these variables. */
export const environmentOf = (variables: Variables): NodeJS.ProcessEnv => {
  const prefixed = Object.entries(variables).map(([name, value]) => [`PAYMENTS_${name}`, value]);
  return { PATH: process.env['PATH'], ENV: 'test', ...Object.fromEntries(prefixed) };
};

const portIn = async (lines: Service['lines'], check: () => void): Promise<number> => {
  for (;;) {
    const said = await lines();
    if (said.some(({ message }) => message === 'All services initialized')) return portOf(said);
    check();
    await delay(50);
  }
};

const portOf = (said: Record<string, unknown>[]): number => {
  const listening = said.find(({ message }) => message === 'Starting HTTP server');
  return Number(String(listening?.['addr']).split(':').at(-1));
};

const metricOf = async (port: number, name: string): Promise<number> => {
  const headers = { authorization: `Bearer ${metricsToken}` };
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`, { headers })).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
};

/** Prepares services on a database, which gets the demo vendors. Disposing removes their files. */
export const prepareServices = async ({
  db,
  connection,
}: {
  db: Db;
  connection: ConnectionOptions;
}): Promise<AsyncDisposable & Preparation> => {
  const folder = await mkdtemp(join(tmpdir(), 'florin-services-'));
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
    SERVER_WORKER_PORT: '0',
    AUTH_JWT_SECRET: 'a secret of tests that signs access tokens',
    ENCRYPTION_MASTER_KEY: masterKey.reveal(),
    SECRETS_FILE: file,
    METRICS_TOKEN: metricsToken,
    RATE_LIMIT_MAX: '1000000000',
    LOG_LEVEL: 'info',
  };
  return {
    folder,
    variables,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
};
