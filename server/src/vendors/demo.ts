import { platformTenantId, type Context } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { inTransaction, type Db } from '../lib/database.ts';
import { fromUuid, newId } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import type { SecretSource } from '../secrets/source.ts';
import { hasApiKey, isApiKeyActive } from './api-key-store.ts';
import { apiKeyDigest, insertApiKey } from './api-keys.ts';
import { findVendor } from './store.ts';
import { clientSecretPath, insertVendor } from './vendors.ts';

/** The credentials of the guides, with which a fresh checkout can be tried. Production refuses them at start-up. */
export const demo = {
  vendors: [
    {
      slug: 'test-vendor',
      name: 'Test vendor',
      client_id: 'test_client_id',
      client_secret: 'test_client_secret',
      role: 'finance',
    },
    {
      slug: 'xyz-vendor',
      name: 'XYZ vendor',
      client_id: 'vendor_client_id',
      client_secret: 'vendor_client_secret',
      role: 'developer',
    },
  ],
  apiKey: { key: 'test-key', role: 'admin', defaultVendor: 'test-vendor' },
} as const;

/**
 * Creates what is missing of the demo vendors, their secrets and the platform key, all of mode `test`. What is there
 * already stays as it is, a changed secret too.
 * @throws Error outside development and test
 */
export const seedDemo = async (
  { db, secrets, clock }: { db: Db; secrets: SecretSource; clock: Clock },
  env: string,
): Promise<void> => {
  if (env !== 'dev' && env !== 'test')
    throw new Error(`The demo credentials are for development, not for ${env}.`);
  const context: Context = {
    tenantId: platformTenantId,
    actor: 'system:demo',
    origin: undefined,
    requestId: undefined,
    now: clock.now(),
  };
  for (const { client_secret: secret, ...vendor } of demo.vendors) {
    if (!(await findVendor(db, { slug: vendor.slug }))) {
      await inTransaction(db, (tx) =>
        insertVendor(tx, context, newId('vendor'), { ...vendor, mode: 'test' }),
      );
    }
    const path = clientSecretPath(vendor.slug);
    if (secrets.writable && !(await secrets.read(path))) await secrets.write(path, new Secret(secret));
  }
  await seedApiKey(db, context);
};

/**
 * Keeps the demo's credentials out of production (PCI DSS 2.2.2): a database or vault that was once a demo still has them.
 * @throws Error that names each and the command that ends it
 */
export const refuseDemo = async (
  { db, secrets, clock }: { db: Db; secrets: SecretSource; clock: Clock },
  env: string,
): Promise<void> => {
  if (env === 'dev' || env === 'test') return;
  const found: string[] = [];
  if (await isApiKeyActive(db, apiKeyDigest(demo.apiKey.key), clock.now())) {
    found.push(`the API key "${demo.apiKey.key}" is valid (florin api-key list, florin api-key revoke)`);
  }
  for (const { slug, client_id: id, client_secret: secret } of demo.vendors) {
    const vendor = await findVendor(db, { slug });
    const stored = vendor?.enabled ? await secrets.read(clientSecretPath(slug)) : undefined;
    if (stored?.value.reveal() === secret)
      found.push(`the client ${id} has its demo secret (florin vendor disable ${slug})`);
  }
  if (found.length > 0) throw new Error(`Demo credentials are refused in ${env}: ${found.join('; ')}.`);
};

const seedApiKey = async (db: Db, context: Context): Promise<void> => {
  const { key, role, defaultVendor } = demo.apiKey;
  const vendor = await findVendor(db, { slug: defaultVendor });
  if (!vendor || (await hasApiKey(db, apiKeyDigest(key)))) return;
  await inTransaction(db, async (tx) => {
    await insertApiKey(tx, context, {
      id: newId('api_key'),
      secret: new Secret(key),
      tenantId: platformTenantId,
      defaultVendor: fromUuid('vendor', vendor.id),
      mode: 'test',
      role,
      name: 'Demo',
      expiresAt: null,
    });
  });
};
