import { createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { roles, type Caller } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { idOf } from '../lib/http/schemas.ts';
import type { Secret } from '../lib/secret.ts';
import { agedCache } from './cache.ts';
import { sign, signingKey, verify, type TokenKind } from './jwt.ts';

/** The header in which one service tells another who is calling; taken from nobody else. */
export const serviceTokenHeader = 'florin-service-token';

const callerClaim = Type.Object(
  {
    kind: Type.Enum(['vendor', 'platform']),
    actor: Type.String({ minLength: 1, maxLength: 128 }),
    role: Type.Enum([...roles]),
    tenantId: Type.Integer({ minimum: 0 }),
    vendorId: Type.Optional(idOf('vendor')),
    mode: Type.Enum(['test', 'live']),
  },
  { additionalProperties: false },
);

const serviceClaims = Type.Object({
  sub: Type.String({ minLength: 1, maxLength: 32 }),
  exp: Type.Number(),
  caller: Type.Optional(callerClaim),
});

/** Which service is asking, and for whom; without a caller it asks for itself (`/internal`). */
export type ServiceCall = { service: string; caller: Caller | undefined };

/** Makes and checks the tokens by which services trust each other. */
export type ServiceTokens = {
  issue(call: ServiceCall): Promise<string>;
  /** What a valid token says, or undefined. */
  check(token: string): Promise<ServiceCall | undefined>;
};

const lifetimeMs = 60_000;
// A token taken from the cache still has time to travel and to wait.
const reuseMs = 30_000;

/** Tokens of a minute, signed with `auth.service_secret`, which only services know. */
export const serviceTokens = (secret: Secret, clock: Clock): ServiceTokens => {
  const kind: TokenKind = {
    key: signingKey(secret),
    typ: 'florin-service+jwt',
    issuer: 'florin',
    audience: 'florin:services',
  };
  // By the time that is in it: one of a clock that has been set since would be refused.
  const issued = agedCache<{ token: string; issuedAt: Date }>({
    clock,
    maxAgeMs: reuseMs,
    maxEntries: 25_000,
    sinceOf: ({ issuedAt }) => issuedAt,
    untilOf: ({ issuedAt }) => new Date(issuedAt.getTime() + reuseMs),
  });
  const checked = agedCache<{ call: ServiceCall; exp: number }>({
    clock,
    maxAgeMs: lifetimeMs,
    maxEntries: 25_000,
    untilOf: ({ exp }) => new Date(exp * 1000),
  });

  const issue = async (call: ServiceCall): Promise<string> => {
    const { token } = await issued.through(JSON.stringify(call), async () => {
      const issuedAt = clock.now();
      const expiresAt = new Date(issuedAt.getTime() + lifetimeMs);
      const claims = call.caller ? { caller: call.caller } : {};
      return { token: await sign(kind, { claims, subject: call.service, issuedAt, expiresAt }), issuedAt };
    });
    return token;
  };

  const check = async (token: string): Promise<ServiceCall | undefined> => {
    const key = createHash('sha256').update(token).digest('base64url');
    const known = checked.peek(key);
    if (known) return known.call;
    const claims = await verify(kind, token, clock.now());
    if (!Value.Check(serviceClaims, claims)) return undefined;
    const call = { service: claims.sub, caller: claims.caller && callerOf(claims.caller) };
    checked.keep(key, { call, exp: claims.exp });
    return call;
  };

  return { issue, check };
};

/** JSON has no undefined: a platform caller without a vendor lost the member on the way. */
const callerOf = (claim: Static<typeof callerClaim>): Caller => ({ ...claim, vendorId: claim.vendorId });
