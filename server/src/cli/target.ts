import { join } from 'node:path';
import { loadConfig, rootDirectory, type LoadedConfig } from '../lib/config/config.ts';
import { ensureDevelopmentSecrets } from '../lib/config/development.ts';
import { processEnv, readEnvironment, type Env, type Service } from '../lib/config/environment.ts';
import type { Overrides } from '../lib/config/resolve.ts';
import { readVariables } from '../lib/config/variables.ts';
import { connectionOf, migrateConnectionOf, type ConnectionOptions } from '../lib/database.ts';
import { findEmbedded, type EmbeddedConnections } from '../lib/postgres/embedded.ts';

/** Everything that `npm start` makes lies here. */
export const stateDirectory = join(rootDirectory, '.florin');

/** The database that a command works on, and the configuration that goes with it. */
export type Target = {
  loaded: LoadedConfig;
  connections: { service: ConnectionOptions; migrate: ConnectionOptions };
  /** Set when it is the embedded database. */
  embedded: EmbeddedConnections | undefined;
};

/**
 * Whether commands use the embedded database: in development, unless variables name another one.
 */
export const usesEmbedded = (env: Env): boolean => {
  const { environment } = readEnvironment(env);
  if (environment !== 'dev' && environment !== 'test') return false;
  if (env['DATABASE_URL'] || env['DATABASE_URL_FILE']) return false;
  const { given, faults } = readVariables(env, 'all');
  return ![...given, ...faults].some(({ path }) => path !== undefined && namesADatabase.test(path));
};

const namesADatabase = /^database\.(host|port|name|user|password)$/;

/**
 * The configured database, or the embedded one that runs.
 * @throws Error when none is configured and the embedded one does not run; ConfigError
 */
export const findTarget = async (service: Service = 'cli', env: Env = processEnv()): Promise<Target> => {
  if (!usesEmbedded(env)) return targetOf(service, env, undefined);
  const embedded = await findEmbedded(stateDirectory);
  if (embedded !== undefined) return targetOf(service, env, embedded);
  throw new Error(
    'The embedded database is not running and no other one is configured. Start it with: npm start',
  );
};

/** Loads the configuration for a database that is known to run. */
export const targetOf = (service: Service, env: Env, embedded: EmbeddedConnections | undefined): Target => {
  const secrets = ensureDevelopmentSecrets(rootDirectory, env);
  const loaded = loadConfig({
    service,
    env,
    overrides: { ...secrets, ...(embedded && overridesOf(embedded)) },
  });
  const { database } = loaded.config;
  const connections = { service: connectionOf(database), migrate: migrateConnectionOf(database) };
  return { loaded, connections, embedded };
};

const overridesOf = ({ service, migrate }: EmbeddedConnections): Overrides => {
  const source = 'embedded database';
  return {
    'database.host': { value: service.host, source },
    'database.port': { value: service.port, source },
    'database.name': { value: service.database, source },
    'database.user': { value: service.user, source },
    'database.ssl_mode': { value: 'disable', source },
    'database.migrate_user': { value: migrate.user, source },
    ...(service.password && { 'database.password': { value: service.password, source } }),
    ...(migrate.password && { 'database.migrate_password': { value: migrate.password, source } }),
  };
};
