import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { forAllTests } from '../../test/setup/for-all-tests.ts';

const here = fileURLToPath(new URL('.', import.meta.url));

/** The arguments by which Node.js runs `florin`. */
export const wholeProgram: readonly string[] = [join(here, 'main.ts')];

/** The same with the commands of these files alone, which starts in half the time. */
export const programOf = (...files: string[]): readonly string[] => {
  const program = `
    import { Command } from 'commander';
    const program = new Command('florin').exitOverride();
    for (const file of ${JSON.stringify(files)}) (await import('${here}' + file)).register(program);
    await program.parseAsync(process.argv.slice(1), { from: 'user' });
  `;
  return ['--input-type=module', '--eval', program, '--'];
};

export type Output = { stdout: string; stderr: string };

/** Runs a program to its end. @throws what `execFile` rejects with, if its exit code is not 0 */
export const run = (program: readonly string[], argv: string[], env: NodeJS.ProcessEnv): Promise<Output> =>
  promisify(execFile)(process.execPath, ['--no-warnings', ...program, ...argv], { env });

export type Ending = Output & { code: number };

/** What a program printed, and its exit code, whichever that was. */
export const ending = async (running: Promise<Output>): Promise<Ending> => {
  try {
    return { code: 0, ...(await running) };
  } catch (error) {
    const { code, stdout, stderr } = error as Ending; // so `execFile` rejects
    return { code, stdout, stderr };
  }
};

/** The environment of an operator of a database, whose client secrets are in a folder. */
export const operatorEnv = (
  { connection }: Pick<TestDatabase, 'connection'>,
  folder: string,
): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  ENV: 'test',
  PAYMENTS_DATABASE_HOST: connection.host,
  PAYMENTS_DATABASE_PORT: String(connection.port),
  PAYMENTS_DATABASE_NAME: connection.database,
  PAYMENTS_DATABASE_USER: connection.user,
  PAYMENTS_DATABASE_PASSWORD: connection.password?.reveal(),
  PAYMENTS_AUTH_JWT_SECRET: 'a secret that only this test has, long enough',
  PAYMENTS_ENCRYPTION_MASTER_KEY: masterKey,
  PAYMENTS_SECRETS_FILE: join(folder, 'secrets'),
});

/** What the client secrets of an operator are encrypted with. */
export const masterKey = Buffer.alloc(32, 7).toString('base64');

/** A database and a folder of an operator, for all tests of a file. */
export const operatorForTests = (): { database: TestDatabase; folder: string } =>
  forAllTests(async (stack) => {
    const database = stack.use(await testDatabase());
    const folder = await mkdtemp(join(tmpdir(), 'florin-cli-'));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    return { database, folder };
  });
