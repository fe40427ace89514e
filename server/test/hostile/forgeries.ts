import { createHmac, createSign, generateKeyPairSync, sign as signWith } from 'node:crypto';

/** What a genuine token of one kind says, and the secret that signs it. */
export type Genuine = {
  secret: string;
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
  /** The claims without which it is none. */
  required: readonly string[];
  /** When it is looked at, in seconds. */
  now: number;
};

export type Forgery = { name: string; token: string };

/** A token with these changes, signed with our own secret unless told: what a forger could make who had it. */
export const forge = (
  genuine: Genuine,
  {
    header = {},
    claims = {},
    secret = genuine.secret,
  }: { header?: object; claims?: object; secret?: string } = {},
): string => {
  const signed = `${part({ ...genuine.header, ...header })}.${part({ ...genuine.claims, ...claims })}`;
  return `${signed}.${hmac(secret, signed)}`;
};

/** Every way of RFC 8725 and its relatives to pass off a token as one of ours. */
export const forgeriesOf = (genuine: Genuine): Forgery[] => [
  ...withoutSignature(genuine),
  ...withOtherKeys(genuine),
  ...withOtherHeaders(genuine),
  ...withOtherClaims(genuine),
  ...misshapen(genuine),
];

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const hmac = (secret: string | Buffer, text: string, hash = 'sha256'): string =>
  createHmac(hash, secret).update(text).digest('base64url');

const withoutSignature = (genuine: Genuine): Forgery[] => {
  const [header, claims, signature = ''] = forge(genuine).split('.');
  const algorithms = [
    'none',
    'None',
    'NONE',
    'nOnE',
    '',
    null,
    undefined,
    0,
    [],
    ['HS256'],
    'HS256 ',
    'hs256',
  ];
  return [
    ...algorithms.flatMap((alg) => [
      {
        name: `alg ${JSON.stringify(alg)}, unsigned`,
        token: `${part({ ...genuine.header, alg })}.${claims}.`,
      },
      { name: `alg ${JSON.stringify(alg)}, signed`, token: forge(genuine, { header: { alg } }) },
    ]),
    { name: 'no signature', token: `${header}.${claims}.` },
    { name: 'two parts', token: `${header}.${claims}` },
    { name: 'a signature of zeros', token: `${header}.${claims}.${'A'.repeat(signature.length)}` },
    { name: 'half a signature', token: `${header}.${claims}.${signature.slice(0, 20)}` },
    { name: 'a longer signature', token: `${header}.${claims}.${signature}AAAA` },
    { name: 'another signature', token: `${header}.${claims}.${hmac('x', `${header}.${claims}`)}` },
  ];
};

const withOtherKeys = (genuine: Genuine): Forgery[] => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const edwards = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const jwk = publicKey.export({ format: 'jwk' });
  const rs256 = (header: object): string => {
    const signed = `${part({ ...genuine.header, alg: 'RS256', ...header })}.${part(genuine.claims)}`;
    return `${signed}.${createSign('sha256').update(signed).sign(privateKey, 'base64url')}`;
  };
  const edDsa = (): string => {
    const own = edwards.publicKey.export({ format: 'jwk' });
    const signed = `${part({ ...genuine.header, alg: 'EdDSA', jwk: own })}.${part(genuine.claims)}`;
    return `${signed}.${signWith(null, Buffer.from(signed), edwards.privateKey).toString('base64url')}`;
  };
  const longer = (alg: string, hash: string): string => {
    const signed = `${part({ ...genuine.header, alg })}.${part(genuine.claims)}`;
    return `${signed}.${hmac(genuine.secret, signed, hash)}`;
  };
  const symmetric = { kty: 'oct', k: Buffer.from('mine').toString('base64url'), alg: 'HS256' };
  const brought: Record<string, object> = {
    jwk: { jwk: symmetric },
    'jwk without a key id': { jwk: symmetric, kid: undefined },
    jku: { jku: 'https://evil.example/jwks.json' },
    'jku of this machine': { jku: 'http://127.0.0.1:1/jwks.json' },
    x5u: { x5u: 'https://evil.example/chain.pem' },
    x5c: { x5c: [Buffer.from('MIIB').toString('base64')] },
    x5t: { x5t: 'AAAA', x5c: [] },
  };
  return [
    ...Object.entries(brought).flatMap(([name, header]) => [
      { name: `${name}, with that key`, token: forge(genuine, { header, secret: 'mine' }) },
      { name: `${name}, with our key`, token: forge(genuine, { header }) },
    ]),
    { name: 'RS256', token: rs256({}) },
    { name: 'RS256 with its jwk', token: rs256({ jwk }) },
    { name: 'RS256 with its jwk and its own kid', token: rs256({ jwk, kid: 'mine' }) },
    { name: 'HS256 with a public key for a secret', token: forge(genuine, { secret: pem }) },
    {
      name: 'HS256 with a public key, brought along',
      token: forge(genuine, { secret: pem, header: { jwk } }),
    },
    { name: 'EdDSA with its jwk', token: edDsa() },
    { name: 'HS384 with our key', token: longer('HS384', 'sha384') },
    { name: 'HS512 with our key', token: longer('HS512', 'sha512') },
    ...['', ' ', 'secret', String(genuine.header['kid']), 'undefined', 'null', 'changeme'].map((secret) => ({
      name: `signed with "${secret}"`,
      token: forge(genuine, { secret }),
    })),
  ];
};

const withOtherHeaders = (genuine: Genuine): Forgery[] => {
  const kid = genuine.header['kid'];
  const kids = [
    '../../../dev/null',
    '/dev/null',
    '| id',
    '$(id)',
    "' or 1=1 --",
    "x' union select 'mine",
    '%00',
    '',
    ' ',
    `${String(kid)} `,
    `${String(kid)}\u0000`,
    `x${String(kid)}`,
    null,
    0,
    true,
    [kid],
    { kid },
    undefined,
    'https://evil.example/key',
  ];
  const types = [
    'JWT',
    'jwt',
    'at+JWTx',
    '',
    null,
    1,
    [],
    undefined,
    'dpop+jwt',
    'application/at+jwt+x',
    'logout+jwt',
  ];
  const headers: Record<string, object> = {
    'crit of an extension': { crit: ['exp'], exp: genuine.now + 900 },
    'an unknown crit': { crit: ['policy'], policy: 1 },
    'an empty crit': { crit: [] },
    'a crit that is no list': { crit: 'exp' },
    'b64 that is false': { b64: false, crit: ['b64'] },
    'b64 that is false and not critical': { b64: false },
    'a compression': { zip: 'DEF', crit: ['zip'] },
    'an encryption': { enc: 'A256GCM', crit: ['enc'] },
  };
  return [
    ...kids.flatMap((each) => [
      { name: `kid ${JSON.stringify(each)}`, token: forge(genuine, { header: { kid: each } }) },
      {
        name: `kid ${JSON.stringify(each)}, empty key`,
        token: forge(genuine, { header: { kid: each }, secret: '' }),
      },
    ]),
    ...types.map((typ) => ({
      name: `typ ${JSON.stringify(typ)}`,
      token: forge(genuine, { header: { typ } }),
    })),
    ...Object.entries(headers).map(([name, header]) => ({ name, token: forge(genuine, { header }) })),
    { name: 'b64 that is false, with a plain payload', token: unencoded(genuine) },
  ];
};

/** A token whose payload is not base64url (RFC 7797), signed as that says. */
const unencoded = (genuine: Genuine): string => {
  const header = part({ ...genuine.header, b64: false, crit: ['b64'] });
  const payload = JSON.stringify(genuine.claims).replaceAll('.', '');
  return `${header}.${payload}.${hmac(genuine.secret, `${header}.${payload}`)}`;
};

const withOtherClaims = (genuine: Genuine): Forgery[] => {
  const { now, required } = genuine;
  const changes: Record<string, object> = {
    'another audience': { aud: 'somebody else' },
    'an empty audience': { aud: '' },
    'no audience in a list': { aud: [] },
    'another audience in a list': { aud: ['somebody else'] },
    'an audience that is a number': { aud: 1 },
    'another issuer': { iss: 'https://evil.example' },
    'an issuer in a list': { iss: [genuine.claims['iss']] },
    'an issuer that begins like ours': { iss: `${String(genuine.claims['iss'])}.evil.example` },
    'an expiry now': { exp: now },
    'an expiry long ago': { exp: 1 },
    'an expiry before time': { exp: -1 },
    'an expiry in a text': { exp: String(now + 900) },
    'an expiry that is null': { exp: null },
    'an expiry in a list': { exp: [now + 900] },
    'a beginning ahead': { nbf: now + 60 },
    'a beginning in a text': { nbf: String(now - 60) },
    'an issue time ahead': { iat: now + 60 },
    'an issue time in a text': { iat: String(now) },
    'a subject that is a number': { sub: 1 },
    'an empty subject': { sub: '' },
  };
  return [
    ...Object.entries(changes).map(([name, claims]) => ({ name, token: forge(genuine, { claims }) })),
    ...required.map((claim) => ({
      name: `no ${claim}`,
      token: forge(genuine, { claims: { [claim]: undefined } }),
    })),
    ...required.map((claim) => ({
      name: `${claim} null`,
      token: forge(genuine, { claims: { [claim]: null } }),
    })),
    { name: 'every claim twice removed', token: forge({ ...genuine, claims: {} }) },
  ];
};

const misshapen = (genuine: Genuine): Forgery[] => {
  const token = forge(genuine);
  const [header = '', claims = '', signature = ''] = token.split('.');
  const signedAs = (payload: string): string =>
    `${header}.${payload}.${hmac(genuine.secret, `${header}.${payload}`)}`;
  const plain = (text: string): string => signedAs(Buffer.from(text).toString('base64url'));
  return [
    { name: 'a token in a token', token: plain(token) },
    {
      name: 'a token in a token, said so',
      token: forge(genuine, { header: { cty: 'JWT' }, claims: { jwt: token, exp: 1 } }),
    },
    { name: 'a list of claims', token: plain(JSON.stringify([genuine.claims])) },
    { name: 'a text of claims', token: plain(JSON.stringify('claims')) },
    { name: 'claims that are null', token: plain('null') },
    { name: 'claims that are no JSON', token: plain('{"sub":') },
    {
      name: 'claims that are no UTF-8',
      token: signedAs(Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')),
    },
    { name: 'five parts, as of an encrypted token', token: `${token}.AAAA.AAAA` },
    { name: 'five empty parts', token: '....' },
    { name: 'a flattened token', token: part({ payload: claims, protected: header, signature }) },
    ...['=', '.', '.x', ',', '\u00e4', '%00', '==', '/', `,${token}`].map((junk) => ({
      name: `junk ${junk} behind`,
      token: token + junk,
    })),
    ...['.', '=', 'x', 'Bearer'].map((junk) => ({ name: `junk ${junk} before`, token: junk + token })),
    { name: 'padding', token: [header, claims, signature].map((each) => `${each}=`).join('.') },
    {
      name: 'the alphabet of base64',
      token: `${header}.${claims}.${signature}`.replaceAll('_', '/').replaceAll('-', '+') + '+',
    },
    { name: 'another spelling of the signature', token: `${header}.${claims}.${respelt(signature)}` },
    { name: 'a very long one', token: `${header}.${'A'.repeat(7_000)}.${signature}` },
    { name: 'many parts', token: 'a.'.repeat(3_000) },
    { name: 'deep claims', token: plain(`${'['.repeat(3_000)}${']'.repeat(3_000)}`) },
  ];
};

/** The last character of 32 bytes in base64url has two bits that say nothing: four spellings of one signature. */
const respelt = (signature: string): string => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(signature.at(-1) ?? 'A');
  return signature.slice(0, -1) + (alphabet[last ^ 1] ?? '');
};
