import { randomUUID } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { roles, type Role } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { idOf } from '../lib/http/schemas.ts';
import type { Secret } from '../lib/secret.ts';
import { agedCache } from './cache.ts';
import { sign, tokenKind, verify } from './jwt.ts';

/** What an access token says besides the times: the claims of RFC 9068 and Florin's own. */
const accessClaims = Type.Object({
  jti: Type.String({ minLength: 1, maxLength: 64 }),
  sub: Type.String({ minLength: 1, maxLength: 64 }),
  client_id: Type.String({ minLength: 1, maxLength: 64 }),
  role: Type.Enum([...roles]),
  tenant: Type.Integer({ minimum: 1 }),
  vendor: idOf('vendor'),
  mode: Type.Enum(['test', 'live']),
  iat: Type.Number(),
  exp: Type.Number(),
});
export type AccessClaims = Static<typeof accessClaims>;

const areClaims = Compile(accessClaims);

/** Whom a token is made for: a client that has just proven its secret. */
export type TokenSubject = Pick<AccessClaims, 'client_id' | 'tenant' | 'vendor' | 'mode'> & { role: Role };

export type AccessToken = { token: string; expiresAt: Date };

/** Issues and checks access tokens (JWT, RFC 9068). */
export type Tokens = {
  /** How long a new token lives, in seconds. */
  ttlS: number;
  issue(subject: TokenSubject): AccessToken;
  /** The claims of a valid token, or undefined; never says what is wrong with one. */
  check(token: string): AccessClaims | undefined;
  /** Refuses a token from now on; kept as long as it could still have been valid. */
  revoke(jti: string): void;
};

type TokenSettings = { jwtSecret: Secret; tokenTtlS: number; issuer: string; audience: string };

/** A clock that is put back lets tokens live so much longer, and what was revoked has to stay so. */
const clockErrorMs = 2 * 3_600_000;

export const accessTokens = (settings: TokenSettings, clock: Clock): Tokens => {
  const { tokenTtlS: ttlS, issuer, audience } = settings;
  const kind = tokenKind({ secret: settings.jwtSecret, typ: 'at+jwt', issuer, audience });
  const revoked = agedCache<true>({
    clock,
    maxAgeMs: (ttlS + 60) * 1000 + clockErrorMs,
    maxEntries: 100_000,
  });

  const issue = (subject: TokenSubject): AccessToken => {
    const issuedAt = clock.now();
    const expiresAt = new Date((Math.floor(issuedAt.getTime() / 1000) + ttlS) * 1000);
    const claims = { ...subject, jti: randomUUID() };
    return { token: sign(kind, { claims, subject: subject.client_id, issuedAt, expiresAt }), expiresAt };
  };

  const check = (token: string): AccessClaims | undefined => {
    const claims = verify(kind, token, clock.now());
    if (!areClaims.Check(claims) || claims.sub !== claims.client_id) return undefined;
    return revoked.peek(claims.jti) ? undefined : claims;
  };

  return { ttlS, issue, check, revoke: (jti) => revoked.keep(jti, true) };
};
