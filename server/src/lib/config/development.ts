import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '../secret.ts';
import { newDevelopmentSecret } from './credentials.ts';
import { processEnv, readEnvironment } from './environment.ts';
import type { Env } from './environment.ts';
import type { Overrides } from './resolve.ts';
import type { SettingPath } from './settings.ts';
import { readVariables } from './variables.ts';

const made: readonly { path: SettingPath; name: string; bytes: number }[] = [
  { path: 'auth.jwt_secret', name: 'jwt-secret', bytes: 48 },
  { path: 'encryption.master_key', name: 'encryption-master-key', bytes: 32 },
];

/**
 * The secrets that a development machine needs and nobody has given: made once, kept in
 * `<directory>/.florin/secrets` for their owner only, and the same at every start. Production refuses them. Gives
 * nothing in other environments than `dev` and `test`.
 * @param directory the root of the project, see `rootDirectory`
 */
export const ensureDevelopmentSecrets = (directory: string, env: Env = processEnv()): Overrides =>
  overridesFor(env, (name, bytes) => {
    const folder = secretsOf(directory);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return readMade(directory, name) ?? make(folder, name, bytes);
  });

/** As `ensureDevelopmentSecrets`, but writes nothing: what does not exist yet gets a passing value. */
export const previewDevelopmentSecrets = (directory: string, env: Env): Overrides =>
  overridesFor(env, (name, bytes) => readMade(directory, name) ?? newDevelopmentSecret(bytes));

const overridesFor = (env: Env, obtain: (name: string, bytes: number) => string): Overrides => {
  const { environment } = readEnvironment(env);
  if (environment !== 'dev' && environment !== 'test') return {};
  const { given, faults } = readVariables(env, 'all');
  const named = new Set([...given, ...faults].map(({ path }) => path));
  return Object.fromEntries(
    made
      .filter(({ path }) => !named.has(path))
      .map(({ path, name, bytes }) => [
        path,
        { value: new Secret(obtain(name, bytes)), source: `.florin/secrets/${name}` },
      ]),
  );
};

const secretsOf = (directory: string): string => join(directory, '.florin', 'secrets');

const readMade = (directory: string, name: string): string | undefined => {
  try {
    return readFileSync(join(secretsOf(directory), name), 'utf8').trim() || undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/** Two processes that start at once agree on one secret: a link is made completely, or not because it exists. */
const make = (folder: string, name: string, bytes: number): string => {
  const file = join(folder, name);
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${newDevelopmentSecret(bytes)}\n`, { mode: 0o600 });
  try {
    linkSync(draft, file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    rmSync(draft);
  }
  return readFileSync(file, 'utf8').trim();
};
