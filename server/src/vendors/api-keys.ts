import { createHash, randomBytes } from 'node:crypto';
import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append, getEntryOf } from '../journal/journal.ts';
import type { Context, Mode, Role } from '../lib/caller.ts';
import { deriveKey, open, seal, type Key } from '../lib/crypto.ts';
import type { Db, Tx } from '../lib/database.ts';
import { invalidField, notFound } from '../lib/errors.ts';
import { fromUuid, newId, toUuid, type Id } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { parseTime } from '../lib/time.ts';
import * as keyStore from './api-key-store.ts';
import type { ApiKeyJson, CreateApiKey } from './schema.ts';
import { revoke } from './store.ts';
import type { Write } from './vendors.ts';

/** Whose keys: those of one tenant, or those of the platform (tenant 0) of one mode. */
export type KeyOwner = { tenantId: number; mode: Mode };

/** By what an API key is found. Its 192 random bits need no salt and no slow hash. */
export const apiKeyDigest = (key: string): Buffer => createHash('sha256').update(key).digest();

/**
 * Creates an API key. Only its digest is stored; it is shown in this answer and in its replays, for which it is kept
 * sealed as long as the Idempotency-Key is.
 * @throws AppError `invalid_request` for an expiry that has passed
 */
export const createApiKey = async (
  { db, masterKey }: { db: Db; masterKey: Key },
  write: Write,
  {
    owner,
    body,
    defaultVendor,
  }: { owner: KeyOwner; body: CreateApiKey; defaultVendor?: Id<'vendor'> | undefined },
): Promise<GivenAnswer & { secret: Secret }> => {
  const context = { ...write.context, tenantId: owner.tenantId };
  const expiresAt = body.expires_at === undefined ? null : parseTime(body.expires_at, 'expires_at');
  // `!(… > …)` also catches what looks like a time and is none, such as a leap second.
  if (expiresAt && !(expiresAt > context.now))
    throw invalidField('expires_at', 'must be a time in the future');
  const sealingKey = deriveKey(masterKey, 'vendors.new-secrets');
  const sealedFor = (id: string) => `vendors.api_keys:${id}`;
  const request = { ...body, mode: owner.mode, default_vendor: defaultVendor };
  const answer = await answerOnce(
    db,
    { context, operation: 'api_keys.create', key: write.key, request },
    async (tx) => {
      const id = newId('api_key');
      const secret = newApiKey(owner.mode);
      const entry = await insertApiKey(tx, context, {
        id,
        secret,
        tenantId: owner.tenantId,
        defaultVendor,
        mode: owner.mode,
        role: body.role ?? 'developer',
        name: body.name,
        expiresAt,
      });
      return { status: 201, entry, sealed: seal(sealingKey, secret.reveal(), sealedFor(id)) };
    },
  );
  const id = answer.entry.object?.id;
  if (!answer.sealed || !id) throw new Error('the answer of a new API key lost its sealed part');
  return { ...answer, secret: new Secret(open(sealingKey, answer.sealed, sealedFor(id)).toString('utf8')) };
};

type NewApiKey = {
  id: Id<'api_key'>;
  secret: Secret;
  tenantId: number;
  defaultVendor: Id<'vendor'> | undefined;
  mode: Mode;
  role: Role;
  name: string;
  expiresAt: Date | null;
};

/** Inserts a key with its journal entry. */
export const insertApiKey = async (tx: Tx, context: Context, key: NewApiKey) => {
  const row = await keyStore.insertApiKey(tx, {
    id: toUuid(key.id),
    tenant_id: key.tenantId,
    default_vendor: key.defaultVendor === undefined ? null : toUuid(key.defaultVendor),
    mode: key.mode,
    role: key.role,
    digest: apiKeyDigest(key.secret.reveal()),
    prefix: key.secret.reveal().slice(0, prefixLength),
    name: key.name,
    created_at: context.now,
    expires_at: key.expiresAt,
  });
  return append(tx, context, entryOf('api_key.created', row));
};

/** Refuses a key everywhere within about a second. Its row stays. @throws AppError `not_found` for a key of others */
export const revokeApiKey = (
  db: Db,
  write: Write,
  owner: KeyOwner,
  id: Id<'api_key'>,
): Promise<GivenAnswer> => {
  const context = { ...write.context, tenantId: owner.tenantId };
  return answerOnce(
    db,
    { context, operation: 'api_keys.revoke', key: write.key, request: { id } },
    async (tx) => {
      const own = { owner, id: toUuid(id) };
      const row = await keyStore.revokeApiKey(tx, { ...own, at: context.now });
      if (!row) {
        // Revoked before: nothing changes, and the answer is what that told.
        const revoked = await keyStore.findOwnApiKey(tx, own);
        if (!revoked) throw notFound('API key');
        const { tenantId } = context;
        return { status: 200, entry: await getEntryOf(tx, { tenantId, id, version: revoked.version }) };
      }
      await revoke(tx, { kind: 'api_key', subject: id, at: context.now });
      return { status: 200, entry: await append(tx, context, entryOf('api_key.revoked', row)) };
    },
  );
};

/** An API key as the API shows it: never the key itself. */
export const apiKeyJson = (row: keyStore.ApiKeyRow): ApiKeyJson => ({
  id: fromUuid('api_key', row.id),
  name: row.name,
  prefix: row.prefix,
  mode: row.mode,
  role: row.role,
  vendor: vendorIdOf(row.vendor_id),
  default_vendor: vendorIdOf(row.default_vendor),
  created_at: row.created_at.toISOString(),
  expires_at: row.expires_at?.toISOString() ?? null,
  last_used_at: row.last_used_at?.toISOString() ?? null,
  revoked_at: row.revoked_at?.toISOString() ?? null,
});

/** Long enough to tell keys apart, short enough to guess nothing: `fk_test_` and 6 of 48 digits. */
const prefixLength = 14;

const newApiKey = (mode: Mode): Secret => new Secret(`fk_${mode}_${randomBytes(24).toString('hex')}`);

const vendorIdOf = (uuid: string | null): Id<'vendor'> | null =>
  uuid === null ? null : fromUuid('vendor', uuid);

const entryOf = (kind: string, row: keyStore.ApiKeyRow) => ({
  kind,
  object: { type: 'api_key', id: fromUuid('api_key', row.id), version: row.version },
  snapshot: apiKeyJson(row),
});
