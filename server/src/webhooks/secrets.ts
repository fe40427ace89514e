import { append } from '../journal/journal.ts';
import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import type { Context } from '../lib/caller.ts';
import { deriveKey, keyFrom, open, seal, type Key } from '../lib/crypto.ts';
import { inTransaction, type Db, type Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import {
  getEndpoint,
  listEndpointsById,
  lockEndpoint,
  updateEndpoint,
  type Endpoint,
} from './endpoint-store.ts';
import { endpointEntry, type Write } from './endpoint.ts';
import { overlapHours, type EndpointSecret, type RotateSecretBody } from './schema.ts';
import { endSecrets, insertSecret, listSigning, newestNumber, type StoredSecret } from './secret-store.ts';
import { newSigningSecret } from './signature.ts';

/** What secrets are sealed with; while a master key is being replaced, what the one before sealed opens too. */
export type EndpointKeys = { sealing: Key; opening: readonly Key[] };

/** The keys of endpoints' secrets under the configured master key; `Config['encryption']` fits. */
export const openEndpointKeys = (encryption: {
  masterKey: Secret;
  previousMasterKey?: Secret | undefined;
}): EndpointKeys => {
  const derived = (master: Secret): Key => deriveKey(keyFrom(master), 'webhooks.secrets');
  const sealing = derived(encryption.masterKey);
  const { previousMasterKey: previous } = encryption;
  return { sealing, opening: previous ? [sealing, derived(previous)] : [sealing] };
};

/** More secrets than this never sign at once: a message has a signature for each. */
const signingMax = 5;

const hourMs = 3_600_000;

/**
 * Gives an endpoint a new secret. Those before it sign too until the overlap ends, each until its own end if that is sooner; so
 * whoever rotates again within an overlap shortens it for all of them, or leaves it, and never makes it longer.
 * @throws AppError `not_found`, `limit_reached` when too many would sign at once
 */
export const rotateSecret = async (
  { db, endpointKeys: keys }: { db: Db; endpointKeys: EndpointKeys },
  write: Write,
  id: Id<'webhook_endpoint'>,
  { overlap_hours: hours = overlapHours.default }: RotateSecretBody,
): Promise<GivenAnswer & { secret: Secret; earlierUntil: Date }> => {
  const { context, key } = write;
  const { tenantId } = context;
  const untilFrom = (now: Date): Date => new Date(now.getTime() + hours * hourMs);
  const answer = await answerOnce(
    db,
    { context, operation: 'webhook_endpoints.rotate_secret', key, request: { id, overlap_hours: hours } },
    async (tx) => {
      const endpoint = await lockEndpoint(tx, { tenantId, id });
      await endSecrets(tx, id, untilFrom(context.now));
      const signing = await listSigning(tx, [id], context.now);
      if (signing.length >= signingMax) throw tooMany(signing);
      const secret = await addSecret(tx, keys, context, id);
      const changed = await updateEndpoint(tx, { ...endpoint, updatedAt: context.now });
      const entry = await append(tx, context, endpointEntry('webhook_endpoint.secret_rotated', changed));
      return { status: 200, entry, sealed: sealShown(keys, id, secret) };
    },
  );
  return {
    ...answer,
    secret: openShown(keys, id, answer.sealed),
    earlierUntil: untilFrom(answer.entry.timestamp),
  };
};

/** Makes and stores a secret of an endpoint, which is to sign from now on. */
export const addSecret = async (
  tx: Tx,
  keys: EndpointKeys,
  context: Context,
  id: Id<'webhook_endpoint'>,
): Promise<Secret> => {
  const secret = newSigningSecret();
  const number = (await newestNumber(tx, id)) + 1;
  const sealed = seal(keys.sealing, secret.reveal(), sealedFor(id, number));
  const row = { endpointId: id, number, sealed, createdAt: context.now, expiresAt: null };
  await insertSecret(tx, context.tenantId, row);
  return secret;
};

/**
 * The secret that signs now, for somebody who may see it. That it was shown is in the journal before it is.
 * @throws AppError `not_found`
 */
export const showSecret = async (
  { db, endpointKeys: keys }: { db: Db; endpointKeys: EndpointKeys },
  context: Context,
  id: Id<'webhook_endpoint'>,
): Promise<EndpointSecret> => {
  const { tenantId } = context;
  const [newest, ...earlier] = await inTransaction(db, async (tx) => {
    await getEndpoint(tx, { tenantId, id });
    const object = { type: 'webhook_endpoint', id };
    await append(tx, context, { kind: 'webhook_secret.shown', object, snapshot: { endpoint_id: id } });
    return listSigning(tx, [id], context.now);
  });
  if (!newest) throw new Error(`${id} has no secret`);
  return {
    id,
    secret: opened(keys, newest).reveal(),
    created_at: newest.createdAt.toISOString(),
    earlier_secrets_until: latestEnd(earlier)?.toISOString() ?? null,
  };
};

/** An endpoint with everything that it takes to send to it: the secrets that sign, the newest first. */
export type SendingEndpoint = { endpoint: Endpoint; secrets: Secret[] };

/** Those of these endpoints that exist, in whatever state. */
export const listEndpointsForSending = async (
  db: Db | Tx,
  keys: EndpointKeys,
  { ids, now }: { ids: readonly Id<'webhook_endpoint'>[]; now: Date },
): Promise<Map<Id<'webhook_endpoint'>, SendingEndpoint>> => {
  if (ids.length === 0) return new Map();
  const endpoints = await listEndpointsById(db, ids);
  const secrets = Map.groupBy(await listSigning(db, ids, now), ({ endpointId }) => endpointId);
  return new Map(
    endpoints.map((endpoint) => {
      const signing = (secrets.get(endpoint.id) ?? []).map((stored) => opened(keys, stored));
      return [endpoint.id, { endpoint, secrets: signing }];
    }),
  );
};

/** Seals a new secret for the answer that shows it, which is kept as long as its Idempotency-Key. */
export const sealShown = (keys: EndpointKeys, id: Id<'webhook_endpoint'>, secret: Secret): Buffer =>
  seal(keys.sealing, secret.reveal(), `webhooks.shown-secrets:${id}`);

/** @throws Error when an answer has lost it */
export const openShown = (
  keys: EndpointKeys,
  id: Id<'webhook_endpoint'>,
  sealed: Buffer | undefined,
): Secret => {
  if (!sealed) throw new Error(`the answer about the secret of ${id} lost its sealed part`);
  return new Secret(open(keys.opening, sealed, `webhooks.shown-secrets:${id}`).toString('utf8'));
};

const sealedFor = (id: Id<'webhook_endpoint'>, number: number): string => `webhooks.secrets:${id}:${number}`;

const opened = (keys: EndpointKeys, { endpointId, number, sealed }: StoredSecret): Secret =>
  new Secret(open(keys.opening, sealed, sealedFor(endpointId, number)).toString('utf8'));

const latestEnd = (secrets: readonly StoredSecret[]): Date | undefined => {
  const ends = secrets.flatMap(({ expiresAt }) => (expiresAt ? [expiresAt.getTime()] : []));
  return ends.length === 0 ? undefined : new Date(Math.max(...ends));
};

const tooMany = (signing: readonly StoredSecret[]): AppError => {
  const ends = signing.flatMap(({ expiresAt }) => (expiresAt ? [expiresAt.getTime()] : []));
  const next = new Date(Math.min(...ends)).toISOString();
  return new AppError(
    'limit_reached',
    `${signing.length} secrets of this endpoint sign already. Rotate again after ${next}, when one of them ends, or with overlap_hours 0.`,
  );
};
