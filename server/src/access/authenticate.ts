import { createHash, createHmac, randomBytes } from 'node:crypto';
import { platformTenantId, type Caller } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { digestsEqual } from '../lib/crypto.ts';
import { AppError, notFound } from '../lib/errors.ts';
import type { Secret } from '../lib/secret.ts';
import type { SecretSource } from '../secrets/source.ts';
import type { ApiKeyRecord, ClientRecord, Revocation, VendorRecord } from '../vendors/credentials.ts';
import { clientIdPattern } from '../vendors/schema.ts';
import { agedCache } from './cache.ts';
import type { Credential } from './credential.ts';
import { namesVendor, type Directory } from './directory.ts';
import type { AccessClaims, Tokens } from './tokens.ts';

/** Where a secret lies that belongs to nobody: what an unknown client's attempt is compared with. */
export const decoyPath = 'payment-system/access/decoy-client-secret';

/** How old an answer of the core or the vault may be. What is revoked is forgotten within about a second. */
const maxAgeMs = 60_000;
const maxEntries = 25_000;

/** Proves who is calling. */
export type Authenticator = {
  /**
   * @param vendor whom the request says it acts for, by id or slug (`Florin-Vendor`)
   * @param beforeGuess runs before a credential is looked up that did not prove itself lately; may refuse
   * @throws AppError `invalid_credentials`, `invalid_api_key`, `invalid_token`, `not_found` for a foreign vendor
   */
  prove(
    credential: Credential,
    request: { vendor: string | undefined; beforeGuess: () => void },
  ): Promise<Caller>;
  /** The client that knows this secret. @throws AppError `invalid_credentials` */
  proveClient(client: { clientId: string; secret: Secret }, beforeGuess: () => void): Promise<ClientRecord>;
  /** A valid token of a client that may still call, or undefined. */
  checkToken(token: string): Promise<{ claims: AccessClaims; client: ClientRecord } | undefined>;
  /** A client that exists, for the audit log: to which tenant did a wrong secret belong? */
  findClient(clientId: string): Promise<ClientRecord | undefined>;
  /** Forgets what was kept about these. */
  forget(revocations: readonly Revocation[]): void;
  /** Forgets everything that was kept. */
  forgetAll(): void;
};

type Parts = { directory: Directory; secrets: SecretSource; tokens: Tokens; clock: Clock };

export const authenticator = ({ directory, secrets, tokens, clock }: Parts): Authenticator => {
  const bounds = { clock, maxAgeMs, maxEntries };
  const clients = agedCache<ClientRecord | undefined>(bounds);
  const vendors = agedCache<VendorRecord>(bounds);
  const apiKeys = agedCache<ApiKeyRecord>({
    ...bounds,
    untilOf: ({ expiresAt }) => (expiresAt === null ? undefined : new Date(expiresAt)),
  });
  /** Whose id and secret were found to match, by a keyed digest of both. */
  const proofs = agedCache<ClientRecord>(bounds);
  const proofKey = randomBytes(32);

  // What is no client id is not looked up, but otherwise treated like one that nobody has.
  const findClient = (clientId: string): Promise<ClientRecord | undefined> =>
    clients.through(clientId, async () =>
      new RegExp(clientIdPattern).test(clientId) ? directory.findClient(clientId) : undefined,
    );

  const findVendor = (idOrSlug: string): Promise<VendorRecord> =>
    vendors.through(idOrSlug, async () => {
      const vendor = namesVendor(idOrSlug) ? await directory.findVendor(idOrSlug) : undefined;
      if (!vendor) throw notFound('vendor');
      return vendor;
    });

  const proveClient: Authenticator['proveClient'] = async ({ clientId, secret }, beforeGuess) => {
    const digest = createHmac('sha256', proofKey)
      .update(`${clientId}\n${secret.reveal()}`)
      .digest('base64url');
    if (!proofs.peek(digest)) beforeGuess();
    const client = await findClient(clientId);
    await proofs.through(digest, async () => {
      const isKnown = await knowsSecret(secrets, client, secret);
      if (!isKnown || !client?.enabled) throw invalidCredentials();
      return client;
    });
    if (!client?.enabled) throw invalidCredentials();
    return client;
  };

  const checkToken: Authenticator['checkToken'] = async (token) => {
    const claims = tokens.check(token);
    if (!claims) return undefined;
    const client = await findClient(claims.client_id);
    return client?.enabled && client.tenantId === claims.tenant ? { claims, client } : undefined;
  };

  const proveApiKey = (key: Secret, beforeGuess: () => void): Promise<ApiKeyRecord> => {
    const digest = createHash('sha256').update(key.reveal()).digest('hex');
    if (!apiKeys.peek(digest)) beforeGuess();
    return apiKeys.through(digest, async () => {
      const record = await directory.resolveApiKey(digest);
      const isOver = record?.expiresAt && new Date(record.expiresAt) <= clock.now();
      if (!record || isOver) throw new AppError('invalid_api_key', 'Invalid API key');
      return record;
    });
  };

  const prove: Authenticator['prove'] = async (credential, { vendor, beforeGuess }) => {
    if (credential.kind === 'api_key') {
      const record = await proveApiKey(credential.key, beforeGuess);
      return apiKeyCaller(record, vendor, findVendor);
    }
    if (credential.kind === 'client') {
      return clientCaller(await proveClient(credential, beforeGuess), vendor, findVendor);
    }
    const proven = await checkToken(credential.token);
    if (!proven)
      throw new AppError(
        'invalid_token',
        'The access token is not valid. Get a new one from /api/v1/authenticate.',
      );
    return clientCaller(proven.client, vendor, findVendor);
  };

  const forget = (revocations: readonly Revocation[]): void => {
    for (const { kind, subject } of revocations) {
      if (kind === 'token') tokens.revoke(subject);
      if (kind === 'api_key') apiKeys.drop((_, key) => key.id === subject);
      if (kind === 'client') {
        clients.drop((clientId) => clientId === subject);
        proofs.drop((_, client) => client.clientId === subject);
      }
      if (kind === 'vendor') {
        vendors.drop((_, vendor) => vendor.id === subject);
        clients.drop((_, client) => client?.vendorId === subject);
        proofs.drop((_, client) => client.vendorId === subject);
        apiKeys.drop((_, key) => key.vendorId === subject);
      }
    }
  };

  const forgetAll = (): void => {
    for (const cache of [clients, vendors, apiKeys, proofs]) cache.drop(() => true);
  };

  return { prove, proveClient, checkToken, findClient, forget, forgetAll };
};

/** One refusal for an unknown client, a wrong secret and a disabled vendor (RFC 6749 calls it `invalid_client`). */
const invalidCredentials = (): AppError =>
  new AppError('invalid_credentials', 'The client id or the client secret is not valid.');

/** How many secrets every attempt is compared with: as many as count while one replaces another. */
const comparisonsMin = 2;

/**
 * Whether a secret is one that counts for a client now. Every attempt costs the same steps, reads from the vault and
 * comparisons, so that time tells nobody which client ids exist, or whose secret is being replaced: what a client has
 * not, the decoy stands in for.
 */
const knowsSecret = async (
  secrets: SecretSource,
  client: ClientRecord | undefined,
  given: Secret,
): Promise<boolean> => {
  const counting = client
    ? (client.validVersions ?? [undefined]).map((version) => ({
        path: client.secretPath,
        version,
        counts: true,
      }))
    : [];
  const decoys = Array.from({ length: Math.max(0, comparisonsMin - counting.length) }, () => ({
    path: decoyPath,
    version: undefined,
    counts: false,
  }));
  const compared = [...counting, ...decoys];
  const stored = await Promise.all(compared.map(({ path, version }) => secrets.read(path, version))).catch(
    (cause: unknown) => {
      throw new AppError('unavailable', 'Credentials can’t be checked right now. Try again.', {
        cause,
        retryAfterS: 1,
      });
    },
  );
  // Every one is compared, also after one that matches.
  const matching = stored.filter((version, index) => {
    const isEqual = digestsEqual(version?.value.reveal() ?? '', given.reveal());
    return isEqual && version !== undefined && compared[index]?.counts === true;
  });
  return matching.length > 0;
};

type FindVendor = (idOrSlug: string) => Promise<VendorRecord>;

const clientCaller = async (
  client: ClientRecord,
  named: string | undefined,
  findVendor: FindVendor,
): Promise<Caller> => {
  await refuseForeign(client.vendorId, named, findVendor);
  const { role, tenantId, vendorId, mode } = client;
  return { kind: 'vendor', actor: `client:${client.clientId}`, role, tenantId, vendorId, mode };
};

const apiKeyCaller = async (
  key: ApiKeyRecord,
  named: string | undefined,
  findVendor: FindVendor,
): Promise<Caller> => {
  const { role, mode } = key;
  const actor = `api_key:${key.id}`;
  if (key.vendorId !== null) {
    await refuseForeign(key.vendorId, named, findVendor);
    return { kind: 'vendor', actor, role, tenantId: key.tenantId, vendorId: key.vendorId, mode };
  }
  const chosen = named ?? key.defaultVendor ?? undefined;
  const vendor = chosen === undefined ? undefined : await findVendor(chosen);
  return {
    kind: 'platform',
    actor,
    role,
    tenantId: vendor?.tenants[mode] ?? platformTenantId,
    vendorId: vendor?.id,
    mode,
  };
};

/** A vendor may name itself; any other vendor does not exist for it. */
const refuseForeign = async (
  own: string,
  named: string | undefined,
  findVendor: FindVendor,
): Promise<void> => {
  if (named === undefined || named === own) return;
  const { id } = await findVendor(named);
  if (id !== own) throw notFound('vendor');
};
