import type { Command } from 'commander';
import { processEnv } from '../lib/config/environment.ts';
import type { ConnectionOptions } from '../lib/database.ts';
import { migrate } from '../lib/migrate.ts';
import { findEmbedded, startEmbedded } from '../lib/postgres/embedded.ts';
import { findTarget, stateDirectory, usesEmbedded } from './target.ts';

/** `florin migrate` */
export const register = (program: Command): void => {
  program
    .command('migrate')
    .description(
      'bring the database to the state of this release: run its migrations, re-apply its functions',
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  florin migrate\n  DATABASE_URL=postgresql://florin_migrate@db/florin florin migrate --json',
    )
    .action(run);
};

const run = async ({ json }: { json?: true }): Promise<void> => {
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const migrateOn = async (connection: ConnectionOptions): Promise<void> => {
    const done = await migrate({ connection, log });
    if (json) process.stdout.write(`${JSON.stringify(done)}\n`);
  };
  const isStopped = usesEmbedded(processEnv()) && (await findEmbedded(stateDirectory)) === undefined;
  if (!isStopped) return migrateOn((await findTarget()).connections.migrate);
  await using embedded = await startEmbedded({ directory: stateDirectory, log });
  await migrateOn(embedded.connections.migrate);
};
