import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { ConnectionOptions } from '../lib/database.ts';
import { interact } from './prompt.ts';
import { openShell } from './shell.ts';
import { findTarget } from './target.ts';

type Options = { command?: string; json?: true; superuser?: true };

/** `florin db shell` */
export const register = (program: Command): void => {
  const db = program.command('db').description('look into the database');
  db.command('shell')
    .description('run SQL: on a prompt, from -c, or from standard input')
    .option('-c, --command <sql>', 'run this and leave')
    .option('--json', 'print each answer as a JSON array')
    .option('--superuser', 'sign in as superuser; for the embedded database')
    .addHelpText('after', `\nExamples:\n${examples}`)
    .action(shell);
};

const examples = [
  '  florin db shell',
  "  florin db shell -c 'select * from audit_log order by timestamp desc limit 10'",
  '  florin db shell --json < report.sql',
].join('\n');

const shell = async (options: Options): Promise<void> => {
  const connection = await connectionFor(options);
  await using opened = await openShell({
    connection,
    json: options.json === true,
    output: process.stdout,
    errors: process.stderr,
  });
  if (options.command === undefined && process.stdin.isTTY) {
    await interact(opened, process.stdin, process.stdout);
    return;
  }
  const statements = options.command ?? (await readText(process.stdin));
  if (!(await opened.runAll(statements))) process.exitCode = 1;
};

const connectionFor = async ({ superuser }: Options): Promise<ConnectionOptions> => {
  const { connections, embedded } = await findTarget();
  if (superuser !== true) return { ...connections.service, statementTimeoutMs: undefined };
  if (embedded === undefined)
    throw new Error('--superuser is for the embedded database; sign in to your own as you are used to.');
  return embedded.superuser;
};
