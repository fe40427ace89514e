import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keyIdOf } from '../../src/access/jwt.ts';
import { buildSapi } from '../../src/services/sapi.ts';
import {
  listen,
  oneProcess,
  send,
  testClient,
  testConfig,
  testParts,
  twoProcesses,
  type Answer,
  type TestApi,
  type TestParts,
} from '../../src/services/testing.ts';
import { plain } from '../../src/lib/openapi/example.ts';
import { testDatabase, type TestDatabase } from '../setup/database.ts';
import { forge, forgeriesOf, type Genuine } from './forgeries.ts';

/** What an answer says, without the id of its request. */
const said = ({ status, body, headers }: Answer) => ({
  status,
  body: { ...body, request_id: 'its own' },
  challenge: headers.get('www-authenticate'),
});

const { auth } = testConfig();
const now = Date.parse('2026-11-22T08:00:00Z') / 1000;
const claimsOf = (token: unknown): Record<string, unknown> =>
  plain(JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()));

/** One answer for all: each that differs is named. */
const oddOnes = (answers: Map<string, unknown>): string[] => {
  const [first] = answers.values();
  return [...answers]
    .filter(([, answer]) => JSON.stringify(answer) !== JSON.stringify(first))
    .map(([name]) => name);
};

describe.each([
  { name: 'one process', start: oneProcess },
  { name: 'two processes', start: twoProcesses },
])('forged access tokens, $name', ({ start }) => {
  let database: TestDatabase;
  let parts: TestParts;
  let api: TestApi;
  let genuine: Genuine;

  beforeAll(async () => {
    database = await testDatabase();
    parts = await testParts(database);
    api = await start(parts);
    const { body } = await send(`${api.url}/api/v1/authenticate`, { method: 'POST', headers: testClient });
    genuine = {
      secret: auth.jwtSecret.reveal(),
      header: { alg: 'HS256', typ: 'at+jwt', kid: keyIdOf(auth.jwtSecret) },
      claims: claimsOf(body['token']),
      required: ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti', 'role', 'tenant', 'vendor', 'mode'],
      now,
    };
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  const call = (token: string) =>
    send(`${api.url}/api/v1/customers`, { headers: { authorization: `Bearer ${token}` } });
  const validate = (token: string) =>
    send(`${api.url}/api/v1/validate-token`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
    });
  const validateJson = (token: string) =>
    send(`${api.url}/api/v1/validate-token`, { method: 'POST', json: { token } });

  /** What only the claims of an access token can get wrong. */
  const ofAccess = () =>
    Object.entries({
      'an unknown role': { role: 'owner' },
      'a list of roles': { role: ['admin'] },
      'the tenant of the platform': { tenant: 0 },
      'a tenant below zero': { tenant: -1 },
      'a tenant in a text': { tenant: '1' },
      'a tenant that is not its client’s': { tenant: 2 },
      'another mode': { mode: 'both' },
      'no vendor id': { vendor: 'test-vendor' },
      'another subject than its client': { sub: 'vendor_client_id' },
      'a client that nobody has': { sub: 'nobody', client_id: 'nobody' },
    }).map(([name, claims]) => ({ name, token: forge(genuine, { claims }) }));

  test('what these forgeries change is why they are refused: the same without a change is taken', async () => {
    expect((await call(forge(genuine))).status).toBe(200);
    expect((await validate(forge(genuine))).body).toMatchObject({ active: true });
  });

  test('a caller with any of them is 401, and the answers do not differ', async () => {
    const forgeries = [...forgeriesOf(genuine), ...ofAccess()];
    expect(forgeries.length).toBeGreaterThan(150);
    const answers = new Map<string, unknown>();
    for (const { name, token } of forgeries) answers.set(name, said(await call(token)));
    expect([...answers.values()][0]).toMatchObject({ status: 401, body: { code: 'invalid_token' } });
    expect(oddOnes(answers)).toEqual([]);
  });

  test('RFC 7662: validate-token says exactly {"active":false} of any of them, in a header field and in JSON', async () => {
    for (const { name, token } of [...forgeriesOf(genuine), ...ofAccess()]) {
      const { status, body } = await validate(token);
      expect({ name, status, body }).toEqual({ name, status: 200, body: { active: false } });
      // The document bounds the text.
      if (token.length > 4096) continue;
      expect({ name, body: (await validateJson(token)).body }).toEqual({ name, body: { active: false } });
    }
  });

  test.each(['\n', '\t', ' '])('white space in a token makes another text of it: %j', async (space) => {
    const [header, claims, signature] = forge(genuine).split('.');
    const spaced = [`${header}.${claims}.${signature}${space}`, `${header}${space}.${claims}.${signature}`];
    for (const token of spaced) expect((await validateJson(token)).body).toEqual({ active: false });
  });
});

describe('forged service tokens', () => {
  const genuine: Genuine = {
    secret: auth.serviceSecret.reveal(),
    header: { alg: 'HS256', typ: 'florin-service+jwt', kid: keyIdOf(auth.serviceSecret) },
    claims: { iss: 'florin', aud: 'florin:services', sub: 'eapi', iat: now, exp: now + 60 },
    required: ['iss', 'exp', 'aud', 'sub', 'iat'],
    now,
  };
  const caller = { kind: 'platform', actor: 'api_key:x', role: 'admin', tenantId: 0, mode: 'test' };
  const forCaller: Genuine = { ...genuine, claims: { ...genuine.claims, caller } };

  test('sapi answers all of them alike, on the API and between services, and takes a genuine one', async () => {
    await using database = await testDatabase();
    await using parts = await testParts(database);
    const sapi = buildSapi({ ...parts, config: testConfig() });
    await using _ = { [Symbol.asyncDispose]: () => sapi.close() };
    const url = await listen(sapi);
    const ask = (path: string, token: string) =>
      send(url + path, { headers: { 'florin-service-token': token } });

    expect((await ask('/internal/v1/health', forge(genuine))).status).toBe(200);
    expect((await ask('/api/v1/vendors', forge(forCaller))).status).toBe(200);
    const ofServices = Object.entries({
      'an unknown role': { role: 'root' },
      'one member more': { superuser: true },
      'a tenant below zero': { tenantId: -1 },
      'no actor': { actor: '' },
      'another kind': { kind: 'service' },
      'another mode': { mode: 'both' },
    }).map(([name, change]) => ({
      name,
      token: forge(forCaller, { claims: { caller: { ...caller, ...change } } }),
    }));
    const others = [
      {
        name: 'a token for a caller, between services',
        path: '/internal/v1/health',
        token: forge(forCaller),
      },
      { name: 'a token without a caller, on the API', path: '/api/v1/vendors', token: forge(genuine) },
    ];
    const cases = [
      ...forgeriesOf(genuine).map((each) => ({ ...each, path: '/internal/v1/health' })),
      ...[...forgeriesOf(forCaller), ...ofServices].map((each) => ({ ...each, path: '/api/v1/vendors' })),
      ...others,
    ];
    const answers = new Map<string, unknown>();
    for (const { name, token, path } of cases) answers.set(`${path}: ${name}`, said(await ask(path, token)));
    expect([...answers.values()][0]).toMatchObject({
      status: 401,
      body: { code: 'authentication_required' },
    });
    expect(oddOnes(answers)).toEqual([]);
  });
});
