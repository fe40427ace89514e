import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rootDirectory } from '../src/lib/config/config.ts';
import { testDatabase, type TestDatabase } from './setup/database.ts';

const tourTimeoutMs = 120_000;
/** What a step waits for may never come. */
const stepsTimeoutMs = 90_000;
/** The silent backend of the tour is waited for as long as this. */
const backendTimeoutMs = 500;

test(
  'the commands of the README’s tour give the answers that it shows',
  async ({ skip }) => {
    if (spawnSync('curl', ['--version']).error) skip('curl is not installed');
    const [start, ...steps] = stepsOf(await readFile(join(rootDirectory, 'README.md'), 'utf8'));
    expect(start?.command).toBe('npm start');
    expect(steps.length).toBeGreaterThan(10);
    await using database = await testDatabase();
    await using florin = await startFlorin(database);
    const outputs = runSteps(steps, florin);
    for (const [index, { command, shown }] of steps.entries()) {
      if (shown) expectShown(outputs[index] ?? '', shown, command);
    }
  },
  tourTimeoutMs,
);

/** A command of the tour, and what the README shows of its answer. */
type Step = { command: string; shown: { language: 'json' | 'text'; text: string } | undefined };

/** The blocks of the tour: `sh` is a command, a `json` or `text` block right behind it is its answer. */
const stepsOf = (readme: string): Step[] => {
  const tour = /^## Five-minute tour\n(.*?)^## /ms.exec(readme)?.[1] ?? '';
  const blocks = [...tour.matchAll(/^```(\w+)\n(.*?)\n```$/gms)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
  return blocks.flatMap(({ language, text }, index): Step[] => {
    if (language !== 'sh') return [];
    const next = blocks[index + 1];
    const isAnswer = next?.language === 'json' || next?.language === 'text';
    return [
      {
        command: text,
        shown: isAnswer ? { language: next.language as 'json' | 'text', text: next.text } : undefined,
      },
    ];
  });
};

type Florin = AsyncDisposable & { port: number; receiverPort: number; env: NodeJS.ProcessEnv };

/** `npm start` on a free port, with a database and secrets of its own instead of those in `.florin/`. */
const startFlorin = async ({ connection, connectionAs }: TestDatabase): Promise<Florin> => {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'florin-tour-'));
  const migrate = connectionAs('florin_migrate');
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    PORT: String(port),
    PAYMENTS_DATABASE_HOST: connection.host,
    PAYMENTS_DATABASE_PORT: String(connection.port),
    PAYMENTS_DATABASE_NAME: connection.database,
    PAYMENTS_DATABASE_USER: connection.user,
    PAYMENTS_DATABASE_PASSWORD: connection.password?.reveal(),
    PAYMENTS_DATABASE_MIGRATE_USER: migrate.user,
    PAYMENTS_DATABASE_MIGRATE_PASSWORD: migrate.password?.reveal(),
    PAYMENTS_AUTH_JWT_SECRET: randomBytes(48).toString('base64'),
    PAYMENTS_ENCRYPTION_MASTER_KEY: randomBytes(32).toString('base64'),
    PAYMENTS_SECRETS_FILE: join(folder, 'client-secrets.json'),
    PAYMENTS_PAYMENTS_CONNECTOR_TIMEOUT_MS: String(backendTimeoutMs),
  };
  // A group of its own, so that npm, its shell and Florin all hear the signal that ends them.
  const child = spawn('npm', ['start'], {
    cwd: rootDirectory,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = async (): Promise<void> => {
    const isRunning = child.pid !== undefined && child.exitCode === null && child.signalCode === null;
    if (isRunning && child.pid !== undefined) {
      const ended = once(child, 'exit');
      process.kill(-child.pid, 'SIGTERM');
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await saysRunning(child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, receiverPort: await freePort(), env, [Symbol.asyncDispose]: stop };
};

/** Resolves when the start-up screen appeared. @throws Error with everything it said when it ended before */
const saysRunning = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    let said = '';
    const hear = (chunk: Buffer): void => {
      said += chunk.toString('utf8');
      if (said.includes('Florin is running.')) resolve();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`npm start ended with ${String(code)}:\n${said}`)));
  });

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  server.close();
  await once(server, 'close');
  return port;
};

const mark = (index: number): string => `=== step ${String(index)} ===`;

/** Runs all steps in one shell, since later ones use the variables of earlier ones, and gives each one's output. */
const runSteps = (steps: readonly Step[], { port, receiverPort, env }: Florin): string[] => {
  // What a step leaves running ends with the shell, also when a later step fails.
  const script = ["trap 'kill $(jobs -p) 2> /dev/null || :' EXIT\n"]
    .concat(steps.map(({ command }, index) => `printf '\\n%s\\n' '${mark(index)}'\n${command}\n`))
    .join('')
    .replaceAll('localhost:3000', `localhost:${String(port)}`)
    .replaceAll(/(localhost:|PORT=)4000/g, `$1${String(receiverPort)}`);
  const { stdout, stderr, status } = spawnSync('sh', ['-eu'], {
    cwd: rootDirectory,
    env,
    input: script,
    encoding: 'utf8',
    timeout: stepsTimeoutMs,
  });
  expect(status, `${stdout}\n${stderr}`).toBe(0);
  return steps.map((_, index) => stdout.split(mark(index))[1]?.split('\n=== step ')[0]?.trim() ?? '');
};

/** Everything that is shown has to be there; the command goes along, so that a failure names it. */
const expectShown = (output: string, shown: NonNullable<Step['shown']>, command: string): void => {
  if (shown.language === 'json') {
    const answer: unknown = withGaps(JSON.parse(shown.text));
    expect({ command, answer: JSON.parse(output) }).toMatchObject({ command, answer });
    return;
  }
  // Names of header fields are written in either case.
  for (const line of shown.text.toLowerCase().split('\n')) {
    expect({ command, said: output.toLowerCase() }).toMatchObject({
      command,
      said: expect.stringMatching(gapPattern(line)),
    });
  }
};

/** What the README shows, where a text with `…` stands for every text that fits. */
const withGaps = (value: unknown): unknown => {
  if (typeof value === 'string')
    return value.includes('…') ? expect.stringMatching(`^${gapPattern(value).source}$`) : value;
  if (Array.isArray(value)) return value.map(withGaps);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withGaps(member)]));
};

const gapPattern = (text: string): RegExp =>
  new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('…', '.+'));
