import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { roles, type Caller } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { idOf } from '../lib/http/schemas.ts';
import type { Secret } from '../lib/secret.ts';
import { sign, tokenKind, verify } from './jwt.ts';

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
  caller: Type.Optional(callerClaim),
});

const areClaims = Compile(serviceClaims);

/** Which service is asking, and for whom; without a caller it asks for itself (`/internal`). */
export type ServiceCall = { service: string; caller: Caller | undefined };

/** Makes and checks the tokens by which services trust each other. */
export type ServiceTokens = {
  issue(call: ServiceCall): string;
  /** What a valid token says, or undefined. */
  check(token: string): ServiceCall | undefined;
};

const lifetimeMs = 60_000;

/** Tokens of a minute, signed with `auth.service_secret`, which only services know. */
export const serviceTokens = (secret: Secret, clock: Clock): ServiceTokens => {
  const kind = tokenKind({
    secret,
    typ: 'florin-service+jwt',
    issuer: 'florin',
    audience: 'florin:services',
  });
  return {
    issue: ({ service, caller }) => {
      const issuedAt = clock.now();
      const expiresAt = new Date(issuedAt.getTime() + lifetimeMs);
      return sign(kind, { claims: caller ? { caller } : {}, subject: service, issuedAt, expiresAt });
    },
    check: (token) => {
      const claims = verify(kind, token, clock.now());
      if (!areClaims.Check(claims)) return undefined;
      return { service: claims.sub, caller: claims.caller && callerOf(claims.caller) };
    },
  };
};

/** JSON has no undefined: a platform caller without a vendor lost the member on the way. */
const callerOf = (claim: Static<typeof callerClaim>): Caller => ({ ...claim, vendorId: claim.vendorId });
