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
 * The claims of a token of this kind, or undefined when it is anything else: signed otherwise or not at all, with more in
 * its header than ours have, spelt otherwise, of another type, issuer or audience, without a required claim, expired, or
 * not yet valid (RFC 8725).
 */
export const verify = async (kind: TokenKind, token: string, now: Date): Promise<JWTPayload | undefined> => {
  if (!hasOneSpelling(token)) return undefined;
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

/**
 * Whether a token is written as we write them, in base64url without white space, padding or unused bits: the signature
 * does not cover its own spelling, and readers of base64 are lenient.
 */
const hasOneSpelling = (token: string): boolean => {
  const [, signature = ''] = /^[\w-]+\.[\w-]+\.([\w-]+)$/.exec(token) ?? [];
  return signature !== '' && Buffer.from(signature, 'base64url').toString('base64url') === signature;
};

/** A header names our key and has nothing that ours have not, such as a key of its own or an extension (RFC 8725, 3.10). */
const keyFor = (kind: TokenKind, header: object): Uint8Array => {
  const isOurs = Object.keys(header).every((name) => ['alg', 'typ', 'kid'].includes(name));
  if (!isOurs || !('kid' in header) || header.kid !== kind.key.id) {
    throw new errors.JWSInvalid('the header is not one of ours');
  }
  return kind.key.bytes;
};
