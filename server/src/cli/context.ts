import { userInfo } from 'node:os';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { platformTenantId, type Context } from '../lib/caller.ts';
import { systemClock } from '../lib/clock.ts';
import { processEnv } from '../lib/config/environment.ts';
import { keyFrom, type Key } from '../lib/crypto.ts';
import { openDatabase, type Db } from '../lib/database.ts';
import { faultsOf } from '../lib/http/faults.ts';
import { invalid } from '../lib/http/validation.ts';
import { openSecrets } from '../secrets/secrets.ts';
import type { SecretSource } from '../secrets/source.ts';
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
    context: {
      tenantId: platformTenantId,
      actor: `cli:${userInfo().username}`,
      origin: undefined,
      requestId: undefined,
      now: systemClock.now(),
    },
    [Symbol.asyncDispose]: () => database.close(),
  };
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
