import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { processEnv } from '../lib/config/environment.ts';
import { migrate } from '../lib/migrate.ts';
import { embeddedHolder, startEmbedded, type Embedded } from '../lib/postgres/embedded.ts';
import { LockedError } from '../lib/postgres/lock.ts';
import { startAll } from '../services/all.ts';
import { stopOnSignal } from './signals.ts';
import { stateDirectory, targetOf, usesEmbedded, type Target } from './target.ts';

type Started = Awaited<ReturnType<typeof startAll>>;

/** `florin start`, which `npm start` runs */
export const register = (program: Command): void => {
  program
    .command('start')
    .description('run everything in one process, on an embedded PostgreSQL unless another is configured')
    .addHelpText(
      'after',
      '\nExamples:\n  npm start\n  PORT=8000 florin start\n  DATABASE_URL=postgresql://… florin start',
    )
    .action(start);
};

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const start = async (): Promise<void> => {
  const env = processEnv();
  if (!usesEmbedded(env)) return serve(targetOf('all', env, undefined), undefined);
  const embedded = await startEmbedded({ directory: stateDirectory, log: say }).catch((error: unknown) => {
    if (error instanceof LockedError) return undefined;
    throw error;
  });
  if (embedded === undefined) return sayRunning();
  try {
    await serve(targetOf('all', env, embedded.connections), embedded);
  } catch (error) {
    await embedded.stop();
    throw error;
  }
};

/** Another start was first: that is what was wanted, so nothing is wrong. */
const sayRunning = async (): Promise<void> => {
  const holder = await embeddedHolder(stateDirectory);
  const noted = await readFile(noteFile, 'utf8').then(
    (text) => JSON.parse(text) as Note,
    () => undefined,
  );
  // Before its start is complete, what is noted is of an earlier one.
  const place = noted && noted.pid === holder?.pid ? `: ${noted.url}` : ', and is about to be ready';
  say(`Florin runs already, as process ${String(holder?.pid)}${place}`);
  say(`Stop it with Ctrl-C in its terminal, or: kill ${String(holder?.pid)}`);
};

/** Where the Florin of this folder answers, and which process it is: for whoever starts it a second time. */
const noteFile = join(stateDirectory, 'running.json');
type Note = { pid: number; url: string };

/** What the embedded PostgreSQL may take to write everything out. */
const embeddedStopMs = 30_000;

const serve = async (target: Target, embedded: Embedded | undefined): Promise<void> => {
  const { loaded, connections } = target;
  const { migrations } = await migrate({ connection: connections.migrate });
  if (migrations.length > 0) say(`${String(migrations.length)} migrations run`);
  const started = await startAll({ loaded, connections });
  const stop = async (): Promise<void> => {
    await started.stop();
    await embedded?.stop();
  };
  stopOnSignal(stop, { others: ['SIGHUP'], withinMs: started.stopWithinMs + embeddedStopMs });
  const note: Note = { pid: process.pid, url: loaded.config.server.publicUrl };
  if (embedded) await writeFile(noteFile, `${JSON.stringify(note)}\n`);
  say(screen(target, started));
};

/** What runs where, and three commands to try. */
const screen = ({ loaded: { config }, connections: { service } }: Target, { urls }: Started): string => {
  const { publicUrl } = config.server;
  const database = `PostgreSQL on ${service.host}:${String(service.port)}`;
  const width = Math.max('database'.length, ...Object.keys(urls).map((name) => name.length));
  const places = Object.entries({ ...urls, database }).map(
    ([name, place]) => `  ${name.padEnd(width)}  ${place}`,
  );
  const isDemo = config.env === 'dev' || config.env === 'test';
  return [
    '',
    'Florin is running.',
    '',
    ...places,
    ...(isDemo ? demo(publicUrl) : []),
    '',
    'Ctrl-C stops it.',
    '',
  ].join('\n');
};

const demo = (url: string): string[] => [
  '',
  'Credentials of this demo',
  '  vendor test-vendor  X-Client-ID: test_client_id     X-Client-Secret: test_client_secret',
  '  vendor xyz-vendor   X-Client-ID: vendor_client_id   X-Client-Secret: vendor_client_secret',
  '  platform, admin     X-API-Key: test-key',
  '',
  'Try',
  `  curl -X POST ${url}/api/v1/authenticate -H 'X-Client-ID: test_client_id' -H 'X-Client-Secret: test_client_secret'`,
  `  curl -X POST ${url}/api/v1/payments -H 'X-API-Key: test-key' -H 'Content-Type: application/json' \\`,
  `       -d '{"amount": 100.00, "currency": "USD", "reference": "TEST-12345", "description": "Test payment"}'`,
  `  curl ${url}/api/v1/ledger/accounts -H 'X-API-Key: test-key'`,
];
