import { randomBytes } from 'node:crypto';
import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append } from '../journal/journal.ts';
import { platformTenantId, type Context, type Mode, type Role } from '../lib/caller.ts';
import type { Json } from '../lib/canonical.ts';
import { deriveKey, open, randomSecret, seal, type Key } from '../lib/crypto.ts';
import type { Db, Tx } from '../lib/database.ts';
import { currentDryRun } from '../lib/dry-run.ts';
import { AppError, notFound } from '../lib/errors.ts';
import { fromUuid, isId, newId, toUuid, type Id } from '../lib/ids.ts';
import { exponentOf } from '../lib/money.ts';
import { Secret } from '../lib/secret.ts';
import type { SecretSource } from '../secrets/source.ts';
import type { CreateVendor, UpdateVendor, VendorJson } from './schema.ts';
import * as store from './store.ts';

export type VendorDeps = { db: Db; secrets: SecretSource; masterKey: Key };

/** The circumstances of one write: who, and under which Idempotency-Key. */
export type Write = { context: Context; key: string | undefined };

/** Where the vault keeps the secret of a vendor's first client, as the guides write it. */
export const clientSecretPath = (slug: string): string => `payment-system/vendors/${slug}/client-secret`;

/**
 * Creates a vendor with both its tenants and a first client, and puts the client's new secret into the vault, which
 * is the only place that keeps it. The secret is shown in this answer and in its replays.
 * @throws AppError `already_exists` for a slug or client id that is taken
 */
export const createVendor = async (
  deps: VendorDeps,
  write: Write,
  body: CreateVendor,
): Promise<GivenAnswer & { clientSecret: Secret }> => {
  checkFees(body.fee_fixed);
  const context = ofPlatform(write.context);
  const key = deriveKey(deps.masterKey, 'vendors.new-secrets');
  const answer = await answerOnce(
    deps.db,
    { context, operation: 'vendors.create', key: write.key, request: body },
    async (tx) => {
      const entry = await insertVendor(tx, context, newId('vendor'), body);
      return {
        status: 201,
        entry,
        sealed: seal(key, randomSecret(32).reveal(), `vendors.create:${body.slug}`),
      };
    },
  );
  if (!answer.sealed) throw new Error(`the answer of vendor ${body.slug} lost its sealed part`);
  const clientSecret = new Secret(open(key, answer.sealed, `vendors.create:${body.slug}`).toString('utf8'));
  if (currentDryRun()) return { ...answer, clientSecret };
  // The vendor is committed. If this fails or the process ends here, a retry with the same key comes by again; it
  // must not bring back a first secret that has been replaced since.
  const path = clientSecretPath(body.slug);
  if (!answer.replayed || !(await deps.secrets.read(path))) await deps.secrets.write(path, clientSecret);
  return { ...answer, clientSecret };
};

/** Inserts a vendor with tenants, first client and journal entry. */
export const insertVendor = async (tx: Tx, context: Context, id: Id<'vendor'>, body: CreateVendor) => {
  const row = {
    id: toUuid(id),
    slug: body.slug,
    name: body.name,
    fee_basis_points: body.fee_basis_points ?? 0,
    fee_fixed: body.fee_fixed ?? {},
    idempotency_required: body.idempotency_required ?? false,
    overdraft_allowed: body.overdraft_allowed ?? false,
    created_at: context.now,
    updated_at: context.now,
  };
  const client = {
    client_id: body.client_id ?? `client_${randomBytes(12).toString('hex')}`,
    mode: body.mode ?? 'test',
    role: body.role ?? 'developer',
  };
  const tenants = await store.insertVendor(tx, row);
  if (!tenants)
    throw new AppError('already_exists', `There is a vendor with the slug "${body.slug}" already.`);
  await insertClient(tx, context, { ...client, tenantId: tenants[client.mode], slug: body.slug });
  const vendor = { ...row, enabled: true, version: 1, clients: [client] };
  return append(tx, context, entryOf('vendor.created', vendor));
};

/** @throws AppError `not_found` */
export const getVendor = async (db: Db, id: Id<'vendor'>): Promise<VendorJson> => {
  const row = await store.findVendor(db, { id: toUuid(id) });
  if (!row) throw notFound('vendor');
  return vendorJson(row);
};

/** A vendor by its public id or its slug, as people name it. */
export const findVendor = async (db: Db, idOrSlug: string): Promise<VendorJson | undefined> => {
  const by = isId('vendor', idOrSlug) ? { id: toUuid(idOrSlug) } : { slug: idOrSlug };
  const row = await store.findVendor(db, by);
  return row && vendorJson(row);
};

/** Changes name, fees or flags. @throws AppError `not_found` */
export const updateVendor = async (
  db: Db,
  write: Write,
  id: Id<'vendor'>,
  changes: UpdateVendor,
): Promise<GivenAnswer> => {
  checkFees(changes.fee_fixed);
  return change(
    db,
    write,
    { id, operation: 'vendors.update', kind: 'vendor.updated', request: { id, ...changes } },
    changes,
  );
};

/** Refuses every credential of a vendor, everywhere within about a second. @throws AppError `not_found` */
export const disableVendor = (db: Db, write: Write, id: Id<'vendor'>): Promise<GivenAnswer> =>
  change(
    db,
    write,
    { id, operation: 'vendors.disable', kind: 'vendor.disabled', request: { id } },
    { enabled: false },
  );

/** Lets a disabled vendor's credentials in again. @throws AppError `not_found` */
export const enableVendor = (db: Db, write: Write, id: Id<'vendor'>): Promise<GivenAnswer> =>
  change(
    db,
    write,
    { id, operation: 'vendors.enable', kind: 'vendor.enabled', request: { id } },
    { enabled: true },
  );

/** The terms on which a tenant's payments are taken. */
export type TenantSettings = {
  tenantId: number;
  vendorId: Id<'vendor'>;
  mode: Mode;
  enabled: boolean;
  feeBasisPoints: number;
  /** Minor units per currency; a currency that is missing has no fixed fee. */
  feeFixedMinor: ReadonlyMap<string, bigint>;
  idempotencyRequired: boolean;
  overdraftAllowed: boolean;
};

/** What a payment has to know of its tenant; undefined for the platform and for numbers that are no tenant. */
export const findTenantSettings = async (
  db: Db | Tx,
  tenantId: number,
): Promise<TenantSettings | undefined> => {
  const row = await store.findTenant(db, tenantId);
  return (
    row && {
      tenantId: row.tenant_id,
      vendorId: fromUuid('vendor', row.vendor_id),
      mode: row.mode,
      enabled: row.enabled,
      feeBasisPoints: row.fee_basis_points,
      feeFixedMinor: new Map(
        Object.entries(row.fee_fixed).map(([currency, minor]) => [currency, BigInt(minor)]),
      ),
      idempotencyRequired: row.idempotency_required,
      overdraftAllowed: row.overdraft_allowed,
    }
  );
};

/** A vendor as the API shows it. */
export const vendorJson = (row: store.VendorRow): VendorJson => ({
  id: fromUuid('vendor', row.id),
  slug: row.slug,
  name: row.name,
  enabled: row.enabled,
  version: row.version,
  fee_basis_points: row.fee_basis_points,
  fee_fixed: row.fee_fixed,
  idempotency_required: row.idempotency_required,
  overdraft_allowed: row.overdraft_allowed,
  clients: row.clients,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
});

/** Vendors belong to the platform, whichever vendor its key acts for. */
const ofPlatform = (context: Context): Context => ({ ...context, tenantId: platformTenantId });

type VendorChange = {
  id: Id<'vendor'>;
  operation: string;
  kind: 'vendor.updated' | 'vendor.disabled' | 'vendor.enabled';
  request: Json;
};

const change = (
  db: Db,
  write: Write,
  { id, operation, kind, request }: VendorChange,
  changes: Partial<store.VendorRow>,
): Promise<GivenAnswer> => {
  const context = ofPlatform(write.context);
  return answerOnce(db, { context, operation, key: write.key, request }, async (tx) => {
    const before = await store.lockVendor(tx, toUuid(id));
    if (!before) throw notFound('vendor');
    const vendor = { ...before, ...changes, version: before.version + 1, updated_at: context.now };
    await store.updateVendor(tx, vendor);
    // Whoever keeps the vendor's record or terms forgets them.
    await store.revoke(tx, { kind: 'vendor', subject: id, at: context.now });
    return { status: 200, entry: await append(tx, context, entryOf(kind, vendor)) };
  });
};

const insertClient = async (
  tx: Tx,
  context: Context,
  client: { client_id: string; role: Role; tenantId: number; slug: string },
): Promise<void> => {
  const inserted = await store.insertClient(tx, {
    clientId: client.client_id,
    tenantId: client.tenantId,
    role: client.role,
    secretPath: clientSecretPath(client.slug),
    createdAt: context.now,
  });
  if (!inserted)
    throw new AppError('already_exists', `There is a client with the id "${client.client_id}" already.`);
  // An edge may have been asked for this id before and remember that it is unknown.
  await store.revoke(tx, { kind: 'client', subject: client.client_id, at: context.now });
};

const entryOf = (kind: string, row: store.VendorRow) => ({
  kind,
  object: { type: 'vendor', id: fromUuid('vendor', row.id), version: row.version },
  snapshot: vendorJson(row),
});

const checkFees = (feeFixed: Record<string, string> | undefined): void => {
  for (const currency of Object.keys(feeFixed ?? {})) exponentOf(currency, `fee_fixed.${currency}`);
};
