import { userInfo } from 'node:os';
import { Option } from 'commander';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import type { GivenAnswer } from '../journal/idempotency.ts';
import { platformTenantId, type Context } from '../lib/caller.ts';
import { systemClock } from '../lib/clock.ts';
import { processEnv } from '../lib/config/environment.ts';
import { keyFrom, type Key } from '../lib/crypto.ts';
import { openDatabase, type Db } from '../lib/database.ts';
import { rehearse } from '../lib/dry-run.ts';
import { faultsOf } from '../lib/http/faults.ts';
import { invalid } from '../lib/http/validation.ts';
import { openSecrets } from '../secrets/secrets.ts';
import type { SecretSource } from '../secrets/source.ts';
import { previewOf } from '../services/preview.ts';
import { findTarget } from './target.ts';

/** What a command that changes something works with. */
export type CommandDatabase = AsyncDisposable & {
  db: Db;
  secrets: SecretSource;
  masterKey: Key;
  /** Who did it, for the journal: the user of the operating system who typed the command. */
  context: Context;
};

/** Opens the configured database, or the embedded one that runs, and the secrets. @throws Error, ConfigError */
export const openCommandDatabase = async (): Promise<CommandDatabase> => {
  const { loaded, connections } = await findTarget();
  const { config } = loaded;
  const database = openDatabase({
    connection: connections.service,
    poolMax: 1,
    applicationName: 'florin-cli',
  });
  return {
    db: database.db,
    secrets: openSecrets(config, { env: processEnv(), clock: systemClock }),
    masterKey: keyFrom(config.encryption.masterKey),
    context: commandContext(),
    [Symbol.asyncDispose]: () => database.close(),
  };
};

/** Who types a command, and when; of the platform until it is known whom it is about. */
export const commandContext = (): Context => ({
  tenantId: platformTenantId,
  actor: `cli:${userInfo().username}`,
  origin: undefined,
  requestId: undefined,
  now: systemClock.now(),
});

export const dryRunOption = (): Option =>
  new Option('--dry-run', 'change nothing, and print what it would do as JSON');

/** Prints what a change would do, as the API answers it with `Dry-Run: true`, and takes it back. No secret is in it. */
export const printPreview = async (db: Db, change: () => Promise<GivenAnswer>): Promise<void> => {
  const preview = await rehearse(async (dryRun) => {
    const { status, replayed, entry } = await change();
    dryRun.answer = { status, replayed, body: entry.snapshot };
    return { ...(await previewOf(db, dryRun, 'admin')), result: entry.snapshot };
  });
  printJson(preview);
};

/** Holds the options of a command against the schema of the API's request. @throws AppError that names every fault */
export const checked = <Schema extends TSchema>(schema: Schema, body: unknown): Static<Schema> => {
  if (!Value.Check(schema, body)) throw invalid(faultsOf(schema, Value.Errors(schema, body)));
  return body;
};

/** Leaves out what was not given, so that defaults apply. */
export const given = <Value extends object>(options: Value): Partial<Value> =>
  // Only members go, none changes.
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<Value>;

export const print = (text: string): void => void process.stdout.write(`${text}\n`);

export const printJson = (value: unknown): void => print(JSON.stringify(value, undefined, 2));
