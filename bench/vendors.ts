import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { accessTokens, type TokenSubject } from '../server/src/access/tokens.ts';
import { platformTenantId, type Context } from '../server/src/lib/caller.ts';
import { systemClock } from '../server/src/lib/clock.ts';
import { inTransaction, openDatabase, type ConnectionOptions, type Db } from '../server/src/lib/database.ts';
import { fromUuid, newId } from '../server/src/lib/ids.ts';
import { Secret } from '../server/src/lib/secret.ts';
import { insertVendor } from '../server/src/vendors/vendors.ts';
import { auth } from './services.ts';

/** A vendor of the run and the bearer token of its client. */
export type Vendor = { tenantId: number; token: string };

/** Vendors, and the files with their tokens that the load reads: a token is a secret, and no argument of a process. */
export type Vendors = {
  all: readonly Vendor[];
  /** The tokens of all, one a line. */
  allFile: string;
  /** The token of one of them. */
  oneFile: string;
};

const perTransaction = 500;

/**
 * Makes vendors as the API does, but many in a transaction, and a token for each. They pay fees, so that a payment has
 * all three of its ledger entries. Their client secrets are left out: who has a token is not asked for one.
 */
export const createVendors = async (
  connection: ConnectionOptions,
  { count, home }: { count: number; home: string },
): Promise<Vendors> => {
  await using database = openDatabase({ connection, poolMax: 1, applicationName: 'florin-bench' });
  const { db } = database;
  for (let first = 0; first < count; first += perTransaction)
    await inTransaction(db, async (tx) => {
      for (let number = first; number < Math.min(count, first + perTransaction); number += 1)
        await insertVendor(tx, contextNow(), newId('vendor'), vendorBody(number));
    });
  const tokens = accessTokens({ ...auth, jwtSecret: new Secret(auth.jwtSecret) }, systemClock);
  const all: Vendor[] = [];
  for (const subject of await listSubjects(db))
    all.push({ tenantId: subject.tenant, token: tokens.issue(subject).token });
  const files = { allFile: join(home, 'tokens'), oneFile: join(home, 'token') };
  const lines = all.map(({ token }) => `${token}\n`);
  await writeFile(files.allFile, lines.join(''), { mode: 0o600 });
  await writeFile(files.oneFile, lines[0] ?? '', { mode: 0o600 });
  return { all, ...files };
};

const contextNow = (): Context => ({
  tenantId: platformTenantId,
  actor: 'system:bench',
  origin: undefined,
  requestId: undefined,
  now: systemClock.now(),
});

const vendorBody = (number: number) => ({
  slug: `vendor-${number}`,
  name: `Vendor ${number}`,
  client_id: `bench_${number}`,
  role: 'developer' as const,
  fee_basis_points: 250,
  fee_fixed: { USD: '30' },
});

const listSubjects = async (db: Db): Promise<TokenSubject[]> => {
  const { rows } = await sql<{ client_id: string; tenant: number; vendor: string }>`
    select c.client_id, c.tenant_id as tenant, t.vendor_id as vendor
    from vendors.clients c join vendors.tenants t on t.id = c.tenant_id
    where c.client_id like 'bench_%' order by c.tenant_id
  `.execute(db);
  return rows.map(({ vendor, ...client }) => ({
    ...client,
    vendor: fromUuid('vendor', vendor),
    mode: 'test',
    role: 'developer',
  }));
};
