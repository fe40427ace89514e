import { createHash } from 'node:crypto';
import { errors, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import type { Secret } from '../lib/secret.ts';

/** A key that signs and checks tokens with HMAC-SHA-256. `id` is the `kid` of its tokens. */
export type SigningKey = { id: string; bytes: Uint8Array };

/** Which tokens these are. Both secrets, `typ` and `aud` differ between kinds, so that none passes for another. */
export type TokenKind = { key: SigningKey; typ: string; issuer: string; audience: string };

/** The signing key of a configured secret, named by the beginning of its digest. */
export const signingKey = (secret: Secret): SigningKey => {
  const bytes = Buffer.from(secret.reveal(), 'utf8');
  return { id: createHash('sha256').update(bytes).digest('hex').slice(0, 8), bytes };
};

type Signed = { claims: JWTPayload; subject: string; issuedAt: Date; expiresAt: Date };

/** Makes a signed token. Times become whole seconds, as JWTs have them. */
export const sign = (kind: TokenKind, { claims, subject, issuedAt, expiresAt }: Signed): Promise<string> =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: algorithm, typ: kind.typ, kid: kind.key.id })
    .setIssuer(kind.issuer)
    .setAudience(kind.audience)
    .setSubject(subject)
    .setIssuedAt(seconds(issuedAt))
    .setExpirationTime(seconds(expiresAt))
    .sign(kind.key.bytes);

/**
 * The claims of a token of this kind, or undefined when it is anything else: signed otherwise or not at all, bringing
 * its own key, of another type, issuer or audience, without a required claim, expired, or not yet valid (RFC 8725).
 */
export const verify = async (kind: TokenKind, token: string, now: Date): Promise<JWTPayload | undefined> => {
  try {
    const { payload } = await jwtVerify(token, (header) => keyFor(kind, header), {
      algorithms: [algorithm],
      typ: kind.typ,
      issuer: kind.issuer,
      audience: kind.audience,
      requiredClaims: ['exp', 'iat', 'sub'],
      currentDate: now,
    });
    const notYetIssued = (payload.iat ?? Infinity) > seconds(now) + skewS;
    return notYetIssued ? undefined : payload;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined;
    throw error;
  }
};

const algorithm = 'HS256';

/** How far ahead the clock of the process that issued a token may be. */
const skewS = 5;

const seconds = (time: Date): number => Math.floor(time.getTime() / 1000);

/** The header may name our key; it must not bring or point to one (RFC 8725, 3.10). */
const keyFor = (kind: TokenKind, header: object): Uint8Array => {
  const bringsKey = ['jwk', 'jku', 'x5c', 'x5u'].some((name) => name in header);
  const namesKey = 'kid' in header && header.kid === kind.key.id;
  if (bringsKey || !namesKey) throw new errors.JWSInvalid('the header does not name our key');
  return kind.key.bytes;
};
