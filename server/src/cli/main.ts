import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ConfigError, errorLines, rootDirectory } from '../lib/config/config.ts';
import { register as apiKey } from './api-key.ts';
import { register as audit } from './audit.ts';
import { register as config } from './config.ts';
import { register as db } from './db.ts';
import { register as doctor } from './doctor.ts';
import { register as events } from './events.ts';
import { register as journal } from './journal.ts';
import { register as ledger } from './ledger.ts';
import { register as migrate } from './migrate.ts';
import { register as payments } from './payments.ts';
import { register as reconcile } from './reconcile.ts';
import { register as queue } from './queue.ts';
import { register as serve } from './serve.ts';
import { register as start } from './start.ts';
import { register as validate } from './validate.ts';
import { register as vendor } from './vendor.ts';
import { register as webhooks } from './webhooks.ts';

const commands = [
  start,
  serve,
  migrate,
  validate,
  doctor,
  vendor,
  apiKey,
  config,
  ledger,
  reconcile,
  payments,
  events,
  webhooks,
  queue,
  audit,
  journal,
  db,
];

/** Exit codes: 0 done, 1 refused or failed, 2 called wrongly. */
const main = async (argv: string[]): Promise<void> => {
  const manifest = JSON.parse(readFileSync(join(rootDirectory, 'package.json'), 'utf8')) as {
    version: string;
  };
  const program = new Command('florin')
    .description('Florin, a self-hosted payments platform')
    .version(manifest.version)
    .exitOverride()
    .showHelpAfterError('(add --help for usage)');
  for (const register of commands) register(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    // What was called wrongly has been said by commander.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else report(error);
  }
};

const report = (error: unknown): void => {
  const lines = error instanceof ConfigError ? errorLines(error.faults) : [`Error: ${messageOf(error)}`];
  process.stderr.write(`${lines.join('\n')}\n`);
  process.exitCode = 1;
};

/** A refusal is a sentence for the operator; a bug needs its stack. */
const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const isBug =
    error instanceof TypeError ||
    error instanceof RangeError ||
    error instanceof ReferenceError ||
    error.name === 'AssertionError';
  // Connecting to several addresses of a host fails with one error for each, and an empty message.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return isBug ? (error.stack ?? error.message) : error.message;
};

// A reader such as `head` may stop listening.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

await main(process.argv);
