import { systemClock } from '../lib/clock.ts';
import type { LoadedConfig } from '../lib/config/config.ts';
import { processEnv } from '../lib/config/environment.ts';
import { openDatabase, type ConnectionOptions } from '../lib/database.ts';
import { openSecrets } from '../secrets/secrets.ts';
import { seedDemo } from '../vendors/demo.ts';
import { runApi, type Running } from './run.ts';

/** Everything in one process, the worker too; in development with the demo vendors and keys. */
export const startAll = async ({
  loaded,
  connections,
}: {
  loaded: LoadedConfig;
  connections: { service: ConnectionOptions };
}): Promise<Running> => {
  const { env } = loaded.config;
  if (env === 'dev' || env === 'test') await prepareDemo(loaded, connections.service);
  return runApi(loaded, connections.service, { withWorker: true });
};

const prepareDemo = async ({ config }: LoadedConfig, connection: ConnectionOptions): Promise<void> => {
  const clock = systemClock;
  await using database = openDatabase({ connection, poolMax: 1, applicationName: 'florin-demo' });
  const secrets = openSecrets(config, { env: processEnv(), clock });
  await seedDemo({ db: database.db, secrets, clock }, config.env);
};
