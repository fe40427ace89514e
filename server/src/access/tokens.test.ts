import { createHmac } from 'node:crypto';
import { jwtVerify, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { manualClock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { keyIdOf } from './jwt.ts';
import { serviceTokens } from './service-token.ts';
import { accessTokens } from './tokens.ts';

const secret = new Secret('a secret of tests with more than 32 characters');
const settings = { jwtSecret: secret, tokenTtlS: 900, issuer: 'https://florin.test', audience: 'florin' };
const keyBytes = Buffer.from(secret.reveal());
const start = new Date('2026-11-22T08:00:00Z');
const now = start.getTime() / 1000;
const subject = {
  client_id: 'shop',
  tenant: 1,
  vendor: newId('vendor'),
  mode: 'test',
  role: 'finance',
} as const;

const genuine = {
  header: { alg: 'HS256', typ: 'at+jwt', kid: keyIdOf(secret) },
  claims: {
    ...subject,
    iss: settings.issuer,
    aud: 'florin',
    sub: 'shop',
    jti: 'one',
    iat: now,
    exp: now + 900,
  },
};

/** Signs any header and claims with our own secret, as `jose` would refuse to. */
const forge = (changes: { header?: object; claims?: object; secret?: string }): string => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ ...genuine.header, ...changes.header })}.${part({ ...genuine.claims, ...changes.claims })}`;
  return `${body}.${createHmac('sha256', changes.secret ?? secret.reveal())
    .update(body)
    .digest('base64url')}`;
};

const tokensAt = (clock = manualClock(start)) => ({ tokens: accessTokens(settings, clock), clock });

describe('access tokens', () => {
  test('a token has every claim and header of RFC 9068', () => {
    const { tokens } = tokensAt();
    const { token, expiresAt } = tokens.issue(subject);
    const parts = token.split('.').slice(0, 2);
    const [header, claims] = parts.map(
      (part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object,
    );
    expect(header).toEqual(genuine.header);
    expect(claims).toEqual({ ...genuine.claims, jti: expect.stringMatching(/^[0-9a-f-]{36}$/) });
    expect(expiresAt).toEqual(new Date('2026-11-22T08:15:00Z'));
    expect(tokens.check(token)).toMatchObject(subject);
  });

  test('a token is a JWT that another implementation reads, and reads as we do', async () => {
    const { tokens } = tokensAt();
    const { token } = tokens.issue(subject);
    const { payload } = await jwtVerify(token, keyBytes, {
      algorithms: ['HS256'],
      typ: 'at+jwt',
      issuer: settings.issuer,
      audience: settings.audience,
      currentDate: start,
    });
    expect(payload).toEqual(tokens.check(token));
  });

  test('the genuine forgery is accepted, so that the refusals below are for what they change', () => {
    expect(tokensAt().tokens.check(forge({}))).toMatchObject(subject);
  });

  test.each([
    ['another algorithm', { header: { alg: 'HS512' } }],
    ['no algorithm', { header: { alg: 'none' } }],
    ['another typ', { header: { typ: 'JWT' } }],
    ['no typ', { header: { typ: undefined } }],
    ['another key id', { header: { kid: '00000000' } }],
    ['no key id', { header: { kid: undefined } }],
    ['a jwk in the header', { header: { jwk: { kty: 'oct', k: 'AAAA' } } }],
    ['a jku in the header', { header: { jku: 'https://evil.example' } }],
    ['an x5u in the header', { header: { x5u: 'https://evil.example' } }],
    ['an x5c in the header', { header: { x5c: ['MIIB'] } }],
    ['an unknown critical header', { header: { crit: ['policy'], policy: 1 } }],
    ['another secret', { secret: 'another secret of tests with 32 characters' }],
    ['another issuer', { claims: { iss: 'https://evil.example' } }],
    ['another audience', { claims: { aud: 'somebody else' } }],
    ['an expiry that has passed', { claims: { exp: now } }],
    ['an issue time ahead', { claims: { iat: now + 60 } }],
    ['a beginning ahead', { claims: { nbf: now + 60 } }],
    ['an unknown role', { claims: { role: 'owner' } }],
    ['the tenant of the platform', { claims: { tenant: 0 } }],
    ['another subject than its client', { claims: { sub: 'other' } }],
  ])('%s is refused', (_, changes) => {
    expect(tokensAt().tokens.check(forge(changes))).toBeUndefined();
  });

  test.each(['iss', 'aud', 'exp', 'iat', 'sub', 'jti', 'client_id', 'role', 'tenant', 'vendor', 'mode'])(
    'a token without %s is refused',
    (claim) => {
      expect(tokensAt().tokens.check(forge({ claims: { [claim]: undefined } }))).toBeUndefined();
    },
  );

  test('an unsigned, cut off or altered token is refused, and so is what is no token', () => {
    const { tokens } = tokensAt();
    const { token } = tokens.issue(subject);
    const unsigned = new UnsecuredJWT(genuine.claims).encode();
    const [header, , signature] = token.split('.');
    const altered = [
      header,
      Buffer.from(JSON.stringify({ ...genuine.claims, role: 'admin' })).toString('base64url'),
      signature,
    ];
    for (const bad of [unsigned, token.slice(0, -2), altered.join('.'), '', '..', 'ü.ü.ü', `${token}.x`]) {
      expect(tokens.check(bad)).toBeUndefined();
    }
  });

  test('a token that was checked before is refused from the second on in which it expires', () => {
    const { tokens, clock } = tokensAt();
    const { token } = tokens.issue(subject);
    expect(tokens.check(token)).toBeDefined();
    clock.advance(899_999);
    expect(tokens.check(token)).toBeDefined();
    clock.advance(1);
    expect(tokens.check(token)).toBeUndefined();
  });

  test('a revoked token is refused, also one that was checked before', () => {
    const { tokens } = tokensAt();
    const { token } = tokens.issue(subject);
    const claims = tokens.check(token);
    tokens.revoke(claims?.jti ?? '');
    expect(tokens.check(token)).toBeUndefined();
    expect(tokens.check(tokens.issue(subject).token)).toBeDefined();
  });

  test('a token that was revoked while the clock was an hour behind stays so when it is right again', () => {
    const { tokens, clock } = tokensAt();
    const { token } = tokens.issue(subject);
    const claims = tokens.check(token);
    clock.set(new Date(start.getTime() - 3_600_000));
    tokens.revoke(claims?.jti ?? '');
    clock.set(start);
    expect(tokens.check(token)).toBeUndefined();
  });
});

describe('service tokens', () => {
  const caller = {
    kind: 'vendor',
    actor: 'client:shop',
    role: 'finance',
    tenantId: 1,
    vendorId: newId('vendor'),
    mode: 'test',
  } as const;

  test('a service token carries the caller as it is', () => {
    const clock = manualClock(start);
    const [edge, core] = [serviceTokens(secret, clock), serviceTokens(secret, clock)];
    expect(core.check(edge.issue({ service: 'eapi', caller }))).toEqual({
      service: 'eapi',
      caller,
    });
    const platform = { ...caller, kind: 'platform' as const, tenantId: 0, vendorId: undefined };
    expect(core.check(edge.issue({ service: 'eapi', caller: platform }))).toEqual({
      service: 'eapi',
      caller: platform,
    });
    expect(core.check(edge.issue({ service: 'eapi', caller: undefined }))).toEqual({
      service: 'eapi',
      caller: undefined,
    });
  });

  test('it is refused after a minute', () => {
    const clock = manualClock(start);
    const tokens = serviceTokens(secret, clock);
    const token = tokens.issue({ service: 'eapi', caller });
    clock.advance(59_999);
    expect(tokens.check(token)).toBeDefined();
    clock.advance(1);
    expect(tokens.check(token)).toBeUndefined();
  });

  test.each([
    ['ahead', 3_600_000],
    ['behind', -3_600_000],
  ])('when a clock that was an hour %s is set right, a new one is made that counts', (_, offMs) => {
    const clock = manualClock(start);
    const [edge, core] = [serviceTokens(secret, clock), serviceTokens(secret, manualClock(start))];
    clock.set(new Date(start.getTime() + offMs));
    expect(core.check(edge.issue({ service: 'eapi', caller }))).toBeUndefined();
    clock.set(start);
    expect(core.check(edge.issue({ service: 'eapi', caller }))).toBeDefined();
  });

  test('an access token is no service token and a service token no access token, under one secret too', () => {
    const { tokens, clock } = tokensAt();
    const services = serviceTokens(secret, clock);
    expect(services.check(tokens.issue(subject).token)).toBeUndefined();
    expect(tokens.check(services.issue({ service: 'eapi', caller }))).toBeUndefined();
  });

  test('a caller with an unknown role or more members than it should have is refused', async () => {
    const clock = manualClock(start);
    for (const bad of [
      { ...caller, role: 'root' },
      { ...caller, superuser: true },
      { ...caller, tenantId: -1 },
    ]) {
      const token = await new SignJWT({ caller: bad })
        .setProtectedHeader({ alg: 'HS256', typ: 'florin-service+jwt', kid: keyIdOf(secret) })
        .setIssuer('florin')
        .setAudience('florin:services')
        .setSubject('eapi')
        .setIssuedAt(now)
        .setExpirationTime(now + 60)
        .sign(keyBytes);
      expect(serviceTokens(secret, clock).check(token)).toBeUndefined();
    }
  });
});
