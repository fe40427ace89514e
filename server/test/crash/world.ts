import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { platformTenantId, type Context } from '../../src/lib/caller.ts';
import { randomSecret } from '../../src/lib/crypto.ts';
import { inTransaction, openDatabase, type ConnectionOptions, type Db } from '../../src/lib/database.ts';
import { newId } from '../../src/lib/ids.ts';
import { markOf } from '../../src/lib/postgres/processes.ts';
import { Secret } from '../../src/lib/secret.ts';
import { insertApiKey } from '../../src/vendors/api-keys.ts';
import { findVendorRecord } from '../../src/vendors/credentials.ts';
import { insertVendor } from '../../src/vendors/vendors.ts';
import { plantPoison } from '../model/poison.ts';
import type { Vendor } from './calls.ts';
import type { Postgres } from './postgres.ts';

/**
 * A folder for everything of a run. The next run of tests clears away what a killed one left there, unless it is to be
 * kept.
 */
export const openHome = async (keep: boolean): Promise<string> => {
  const home = await mkdtemp(join(tmpdir(), keep ? 'florin-crash-' : 'florin-test-'));
  await chmod(home, 0o711);
  await writeFile(join(home, 'owner.json'), JSON.stringify(markOf(process.pid)));
  return home;
};

const vendors = [
  { slug: 'plain' },
  { slug: 'fees', fee_basis_points: 290, fee_fixed: { USD: '30' } },
  { slug: 'overdraft', fee_basis_points: 150, overdraft_allowed: true },
  // Its money is paid out all the time, so that refunds find too little.
  { slug: 'spent', idempotency_required: true },
] as const;

/** The vendors that the clients are customers of, and the key that they call with. */
export const seedVendors = async (postgres: Postgres, apiKey: string): Promise<Vendor[]> => {
  await using superuser = openDatabase({
    connection: postgres.connectionAs('postgres'),
    poolMax: 1,
    applicationName: 'crash-seed',
  });
  await plantPoison(superuser.db);
  const context: Context = {
    tenantId: platformTenantId,
    actor: 'system:test',
    origin: undefined,
    requestId: undefined,
    now: new Date(),
  };
  const { db } = superuser;
  for (const vendor of vendors) {
    await inTransaction(db, (tx) =>
      insertVendor(tx, context, newId('vendor'), { ...vendor, name: vendor.slug }),
    );
  }
  const key = { tenantId: platformTenantId, defaultVendor: undefined, mode: 'test', role: 'admin' } as const;
  const named = { ...key, id: newId('api_key'), secret: new Secret(apiKey), name: 'crash', expiresAt: null };
  await inTransaction(db, (tx) => insertApiKey(tx, context, named));
  // Awaited here: the connection is closed when this function ends.
  return await Promise.all(vendors.map(({ slug }) => seeded(db, slug)));
};

const seeded = async (db: Db, slug: string): Promise<Vendor> => {
  const record = await findVendorRecord(db, { slug });
  if (!record) throw new Error(`vendor ${slug} was not made`);
  return { slug, tenantId: record.tenants.test };
};

/** How long the simulated backend may take; short, because a killed call blocks its key for as long and two seconds. */
export const connectorTimeoutMs = 200;

export type Ports = { eapi: number; sapi: number };

/** The environment that every service runs in. */
export const serviceEnv = (
  home: string,
  { host, port, database, user, password }: ConnectionOptions,
  ports: Ports,
  serviceSecret: Secret = randomSecret(48),
): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '',
  ENV: 'test',
  NODE_COMPILE_CACHE: join(home, 'compiled'),
  PAYMENTS_SERVER_HOST: '127.0.0.1',
  PAYMENTS_SERVER_PORT: String(ports.eapi),
  PAYMENTS_SERVER_WORKER_PORT: '0',
  PAYMENTS_SERVER_SAPI_PORT: String(ports.sapi),
  PAYMENTS_SERVER_SAPI_URL: `http://127.0.0.1:${ports.sapi}`,
  PAYMENTS_DATABASE_HOST: host,
  PAYMENTS_DATABASE_PORT: String(port),
  PAYMENTS_DATABASE_NAME: database,
  PAYMENTS_DATABASE_USER: user,
  PAYMENTS_DATABASE_PASSWORD: password?.reveal() ?? '',
  PAYMENTS_AUTH_JWT_SECRET: randomBytes(48).toString('base64'),
  PAYMENTS_AUTH_SERVICE_SECRET: serviceSecret.reveal(),
  PAYMENTS_ENCRYPTION_MASTER_KEY: randomBytes(32).toString('base64'),
  PAYMENTS_SECRETS_FILE: join(home, 'client-secrets.json'),
  PAYMENTS_RATE_LIMIT_MAX: '1000000',
  PAYMENTS_PAYMENTS_CONNECTOR_TIMEOUT_MS: String(connectorTimeoutMs),
});

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen({ host: '127.0.0.1', port: 0 }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
