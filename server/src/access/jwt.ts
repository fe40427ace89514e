import { createHash, createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Secret } from '../lib/secret.ts';

/**
 * One kind of tokens of ours: JWTs (RFC 7519) signed with HMAC-SHA-256. Secret, `typ` and `aud` differ between kinds, so
 * that none passes for another. All of a kind have one header.
 */
export type TokenKind = { header: string; key: KeyObject; issuer: string; audience: string };

type KindSettings = { secret: Secret; typ: string; issuer: string; audience: string };

export const tokenKind = ({ secret, typ, issuer, audience }: KindSettings): TokenKind => ({
  header: encoded({ alg: 'HS256', typ, kid: keyIdOf(secret) }),
  key: createSecretKey(Buffer.from(secret.reveal())),
  issuer,
  audience,
});

/** The `kid` of tokens under this secret: the beginning of its digest. */
export const keyIdOf = (secret: Secret): string =>
  createHash('sha256').update(secret.reveal()).digest('hex').slice(0, 8);

type Signed = { claims: object; subject: string; issuedAt: Date; expiresAt: Date };

/** Makes a signed token. Times become whole seconds, as JWTs have them. */
export const sign = (kind: TokenKind, { claims, subject, issuedAt, expiresAt }: Signed): string => {
  const { issuer: iss, audience: aud } = kind;
  const times = { iat: seconds(issuedAt), exp: seconds(expiresAt) };
  const body = `${kind.header}.${encoded({ ...claims, iss, aud, sub: subject, ...times })}`;
  return `${body}.${signatureOf(kind, body)}`;
};

const claimsOfAll = Type.Object({
  iss: Type.String(),
  aud: Type.String(),
  sub: Type.String(),
  iat: Type.Number(),
  exp: Type.Number(),
  nbf: Type.Optional(Type.Number()),
});
/** The claims that every token has; what else there is, the kind's own schema says. */
export type Claims = Static<typeof claimsOfAll>;

const areClaims = Compile(claimsOfAll);

/**
 * The claims of a token of this kind, or undefined when it is anything else: signed otherwise or not at all, of another
 * type, issuer or audience, without a required claim, expired, or not yet valid (RFC 8725). The header is compared, not
 * read, and so is the text of the signature: a token in another spelling is not ours, and nothing in it is believed
 * before its signature is.
 */
export const verify = (kind: TokenKind, token: string, now: Date): Claims | undefined => {
  const end = token.lastIndexOf('.');
  const body = token.slice(0, end);
  if (!textsEqual(token.slice(end + 1), signatureOf(kind, body))) return undefined;
  const [header, payload = ''] = body.split('.');
  if (header !== kind.header) return undefined;
  const claims = readJson(payload);
  if (!areClaims.Check(claims) || claims.iss !== kind.issuer || claims.aud !== kind.audience)
    return undefined;
  const { iat, exp, nbf = 0 } = claims;
  const at = seconds(now);
  return exp <= at || iat > at + skewS || nbf > at ? undefined : claims;
};

/** How far ahead the clock of the process that issued a token may be. */
const skewS = 5;

const seconds = (time: Date): number => Math.floor(time.getTime() / 1000);

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** What is no JSON in UTF-8 is undefined: whoever signed it was not us, but had our secret. */
const readJson = (part: string): unknown => {
  try {
    return JSON.parse(utf8.decode(Buffer.from(part, 'base64url')));
  } catch {
    return undefined;
  }
};

const utf8 = new TextDecoder('utf-8', { fatal: true });

const signatureOf = ({ key }: TokenKind, body: string): string =>
  createHmac('sha256', key).update(body).digest('base64url');

/** In a time that tells only whether the lengths differ; that of a signature is no secret. */
const textsEqual = (given: string, expected: string): boolean => {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
};
