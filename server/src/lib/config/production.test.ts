import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { manualClock } from '../clock.ts';
import { inspectConfig, rootDirectory } from './config.ts';
import type { Inspection, LoadOptions } from './config.ts';
import type { Env } from './environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'florin-production-'));
afterAll(() => rmSync(folder, { recursive: true }));

const script = join(rootDirectory, 'scripts', 'generate-dev-certs.sh');
const certificate = join(folder, 'certs', 'cert.pem');
const key = join(folder, 'certs', 'key.pem');
const other = join(folder, 'other');

beforeAll(() => {
  execFileSync(script, ['--directory', join(folder, 'certs'), '--days', '825']);
  execFileSync(script, ['--directory', other]);
});

const jwtSecret = 'dGhpcyBpcyBub3QgYSBzZWNyZXQsIGJ1dCBsb25nIGVub3VnaCB0byBiZQ==';

/** What guide 004's dry run sets. */
const dryRun = (): Env => ({
  ENV: 'production',
  PAYMENTS_DATABASE_PASSWORD: 'test',
  PAYMENTS_AUTH_JWT_SECRET: jwtSecret,
  PAYMENTS_SERVER_TLS_ENABLED: 'true',
  PAYMENTS_SERVER_TLS_CERT_FILE: certificate,
  PAYMENTS_SERVER_TLS_KEY_FILE: key,
});

/** A configuration about which there is nothing to say. */
const good = (): Env => ({
  ...dryRun(),
  PAYMENTS_DATABASE_PASSWORD: 'n0tGuessed-at-All',
  PAYMENTS_ENCRYPTION_MASTER_KEY: 'MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=',
});

const selfSigned = 'server.tls.cert_file is self-signed: no client outside will trust it';

const inspect = (env: Env, options: Partial<LoadOptions> = {}): Inspection =>
  inspectConfig({ service: 'api', env, directory: rootDirectory, ...options });
const faultsOf = (env: Env, options: Partial<LoadOptions> = {}): string[] => inspect(env, options).faults;
const warningsOf = (env: Env, options: Partial<LoadOptions> = {}): string[] => {
  const { faults, warnings } = inspect(env, options);
  expect(faults).toEqual([]);
  return warnings.filter((warning) => warning !== selfSigned);
};

test("guide 004's dry run passes, with warnings", () => {
  const { config, faults, warnings } = inspect(dryRun());
  expect(faults).toEqual([]);
  expect(warnings).toEqual([
    'database.password is weak: make one with openssl rand -base64 32',
    'encryption.master_key is not set and follows from auth.jwt_secret: when that changes, what is encrypted becomes ' +
      'unreadable; set PAYMENTS_ENCRYPTION_MASTER_KEY',
    selfSigned,
  ]);
  expect(config.server).toMatchObject({
    host: '0.0.0.0',
    port: 443,
    healthPort: 8080,
    publicUrl: 'https://localhost',
  });
  expect(config.database).toMatchObject({ host: 'localhost', sslMode: 'disable' });
});

test("guide 004's minimum production configuration passes and encrypts what leaves the machine", () => {
  const env = {
    ...good(),
    PAYMENTS_SERVER_PORT: '443',
    PAYMENTS_SERVER_TLS_MIN_VERSION: '1.3',
    PAYMENTS_DATABASE_HOST: 'prod-db.internal',
    PAYMENTS_REDIS_HOST: 'prod-redis.internal',
    PAYMENTS_REDIS_PASSWORD: 'n0tGuessed-either',
    PAYMENTS_SERVER_CORS_ALLOWED_ORIGINS: 'https://app.example.com',
    PAYMENTS_SERVER_CORS_ALLOW_CREDENTIALS: 'true',
  };
  expect(warningsOf(env)).toEqual([]);
  const { config } = inspect(env);
  expect(config.database.sslMode).toBe('verify-full');
  expect(config.redis.tls).toBe(true);
  expect(warningsOf({ ...env, PAYMENTS_DATABASE_SSL_MODE: 'require' })).toEqual([
    'database.ssl_mode is require: it encrypts, but trusts whoever answers; verify-full is better',
  ]);
});

describe('start-up validation fails with', () => {
  test.each<[message: string, changed: () => Env]>([
    ['database.password required in production', () => ({ PAYMENTS_DATABASE_PASSWORD: '' })],
    ['auth.jwt_secret required in production', () => ({ PAYMENTS_AUTH_JWT_SECRET: '' })],
    [
      'auth.jwt_secret must be at least 32 characters',
      () => ({ PAYMENTS_AUTH_JWT_SECRET: 'only-thirty-one-characters-long' }),
    ],
    ['server.tls.enabled must be true in production', () => ({ PAYMENTS_SERVER_TLS_ENABLED: 'false' })],
    ['server.tls.enabled must be true in production', () => ({ PAYMENTS_SERVER_TLS_ENABLED: undefined })],
    [
      'server.tls.cert_file not found: /path/to/cert.pem',
      () => ({ PAYMENTS_SERVER_TLS_CERT_FILE: '/path/to/cert.pem' }),
    ],
    [
      'server.tls.key_file not found: /path/to/key.pem',
      () => ({ PAYMENTS_SERVER_TLS_KEY_FILE: '/path/to/key.pem' }),
    ],
    [
      'server.tls.cert_file required when server.tls.enabled is true',
      () => ({ PAYMENTS_SERVER_TLS_CERT_FILE: '' }),
    ],
    [
      'server.tls.key_file required when server.tls.enabled is true',
      () => ({ PAYMENTS_SERVER_TLS_KEY_FILE: '' }),
    ],
    [
      'server.tls.key_file does not belong to server.tls.cert_file',
      () => ({ PAYMENTS_SERVER_TLS_KEY_FILE: join(other, 'key.pem') }),
    ],
    [
      'server.cors.allowed_origins must not contain * in production',
      () => ({ PAYMENTS_SERVER_CORS_ALLOWED_ORIGINS: 'https://a.example,*' }),
    ],
    [
      'server.cors.allowed_origins must not contain https://*.a.example in production',
      () => ({ PAYMENTS_SERVER_CORS_ALLOWED_ORIGINS: 'https://*.a.example' }),
    ],
    [
      'auth.jwt_secret is a published example: make one with openssl rand -base64 48',
      () => ({ PAYMENTS_AUTH_JWT_SECRET: 'your-32-character-jwt-secret-key' }),
    ],
    [
      'auth.jwt_secret is a published example: make one with openssl rand -base64 48',
      () => ({ PAYMENTS_AUTH_JWT_SECRET: 'a'.repeat(40) }),
    ],
    [
      'encryption.master_key is a published example: make one with openssl rand -base64 32',
      () => ({ PAYMENTS_ENCRYPTION_MASTER_KEY: '', ENCRYPTION_KEY: 'your-32-character-encryption-key' }),
    ],
    [
      'metrics.token is a credential that Florin ships for development',
      () => ({ PAYMENTS_METRICS_TOKEN: 'test-key' }),
    ],
    [
      'auth.jwt_secret is a credential that Florin ships for development',
      () => ({ PAYMENTS_AUTH_JWT_SECRET: `florindev/${'x7'.repeat(20)}` }),
    ],
    [
      'PAYMENT_SYSTEM__VENDORS__XYZ__CLIENT_SECRET is a credential that Florin ships for development',
      () => ({ PAYMENT_SYSTEM__VENDORS__XYZ__CLIENT_SECRET: 'vendor_client_secret' }),
    ],
    [
      'database.ssl_root_cert_file not found: /nowhere/ca.pem',
      () => ({ PAYMENTS_DATABASE_SSL_ROOT_CERT_FILE: '/nowhere/ca.pem' }),
    ],
  ])('%s', (message, changed) => {
    expect(faultsOf({ ...good(), ...changed() })).toEqual([message]);
  });

  test('every reason at once', () => {
    expect(faultsOf({ ENV: 'production' })).toEqual([
      'database.password required in production',
      'auth.jwt_secret required in production',
      'server.tls.enabled must be true in production',
    ]);
  });

  test('files that hold no certificate and no key', () => {
    const text = join(folder, 'text.pem');
    writeFileSync(text, 'hello', { mode: 0o600 });
    expect(
      faultsOf({ ...good(), PAYMENTS_SERVER_TLS_CERT_FILE: text, PAYMENTS_SERVER_TLS_KEY_FILE: text }),
    ).toEqual([
      `server.tls.cert_file is not a PEM certificate: ${text}`,
      `server.tls.key_file is not a PEM private key without a passphrase: ${text}`,
    ]);
    expect(faultsOf({ ...good(), PAYMENTS_SERVER_TLS_CERT_FILE: folder })).toEqual([
      `server.tls.cert_file can't be read: ${folder} (EISDIR)`,
    ]);
  });

  test('a certificate that is not valid now', () => {
    expect(faultsOf(good(), { clock: manualClock('2000-01-01') })[0]).toMatch(
      /^server.tls.cert_file is not valid before 2/,
    );
    expect(faultsOf(good(), { clock: manualClock('2900-01-01') })[0]).toMatch(
      /^server.tls.cert_file expired on 2\d{3}-/,
    );
  });
});

describe('start-up validation warns about', () => {
  test('nothing but the self-signed certificate when all is well', () => {
    expect(inspect(good()).warnings).toEqual([selfSigned]);
    expect(warningsOf(good())).toEqual([]);
  });

  test.each<[message: string, changed: Env]>([
    [
      'database.password is weak: make one with openssl rand -base64 32',
      { PAYMENTS_DATABASE_PASSWORD: 'password1234' },
    ],
    ['redis.password is weak: make one with openssl rand -base64 32', { PAYMENTS_REDIS_PASSWORD: 'short' }],
    [
      'auth.jwt_secret has fewer than 48 characters: make one with openssl rand -base64 48',
      { PAYMENTS_AUTH_JWT_SECRET: 'exactly-32-characters-of-randoms' },
    ],
    ['server.tls.min_version is below 1.3', { PAYMENTS_SERVER_TLS_MIN_VERSION: '1.2' }],
    [
      'server.trust_proxy is true: any client can pretend any address; name your proxies',
      { PAYMENTS_SERVER_TRUST_PROXY: 'true' },
    ],
    [
      'database.ssl_mode is disable: passwords and payments travel to db.internal unencrypted',
      { PAYMENTS_DATABASE_HOST: 'db.internal', PAYMENTS_DATABASE_SSL_MODE: 'disable' },
    ],
    [
      'redis.tls is false: passwords and tokens travel to redis.internal unencrypted',
      { REDIS_HOST: 'redis.internal', PAYMENTS_REDIS_TLS: 'false', REDIS_PASSWORD: 'n0tGuessed-either' },
    ],
    [
      'redis.password is not set: whoever reaches redis.internal can read and write it',
      { REDIS_HOST: 'redis.internal' },
    ],
  ])('%s', (message, changed) => {
    expect(warningsOf({ ...good(), ...changed })).toEqual([message]);
  });

  test('a key file that others may read', () => {
    const loose = join(folder, 'loose');
    mkdirSync(loose);
    execFileSync(script, ['--directory', loose]);
    const keyFile = join(loose, 'key.pem');
    chmodSync(keyFile, 0o604);
    const env = {
      ...good(),
      PAYMENTS_SERVER_TLS_CERT_FILE: join(loose, 'cert.pem'),
      PAYMENTS_SERVER_TLS_KEY_FILE: keyFile,
    };
    expect(warningsOf(env)).toEqual([
      `server.tls.key_file may be read by everyone on this machine: chmod 600 ${keyFile}`,
    ]);
    chmodSync(keyFile, 0o640);
    expect(warningsOf(env)).toEqual([]);
  });

  test('a certificate that expires in less than 30 days', () => {
    const clock = manualClock(new Date());
    clock.advance((825 - 29) * 86_400_000);
    expect(warningsOf(good(), { clock })).toEqual([
      expect.stringMatching(/^server.tls.cert_file expires in (28|29) days, on 2\d{3}-/),
    ]);
    clock.advance(-2 * 86_400_000);
    expect(warningsOf(good(), { clock })).toEqual([]);
  });
});

describe('validation is per service', () => {
  test('eapi is not asked for a database', () => {
    expect(faultsOf({ ...good(), PAYMENTS_DATABASE_PASSWORD: '' }, { service: 'eapi' })).toEqual([]);
  });

  test('sapi is not asked for a public certificate', () => {
    const { PAYMENTS_SERVER_TLS_ENABLED: _, ...env } = good();
    expect(faultsOf(env, { service: 'sapi' })).toEqual([]);
  });

  test('a migration needs the database only', () => {
    const env = { ENV: 'prod', PAYMENTS_DATABASE_PASSWORD: 'n0tGuessed-at-All' };
    expect(faultsOf(env, { service: 'cli' })).toEqual([]);
    expect(faultsOf({ ENV: 'prod' }, { service: 'cli' })).toEqual([
      'database.password required in production',
    ]);
  });
});

describe('other environments', () => {
  test('need neither TLS nor a password, and forgive example secrets', () => {
    const env = {
      ENV: 'dev',
      JWT_SECRET: 'your-32-character-jwt-secret-key',
      PAYMENTS_METRICS_TOKEN: 'test-key',
    };
    expect(inspect(env)).toMatchObject({ faults: [], warnings: [] });
  });

  test('need a JWT secret of 32 characters too', () => {
    expect(faultsOf({ ENV: 'staging' })).toEqual(['auth.jwt_secret required in staging']);
    expect(faultsOf({ ENV: 'dev', JWT_SECRET: 'short' })).toEqual([
      'auth.jwt_secret must be at least 32 characters',
    ]);
  });

  test('refuse a wildcard origin beside credentials', () => {
    const env = { ENV: 'dev', JWT_SECRET: jwtSecret, PAYMENTS_SERVER_CORS_ALLOWED_ORIGINS: '*' };
    expect(faultsOf(env)).toEqual([]);
    expect(faultsOf({ ...env, PAYMENTS_SERVER_CORS_ALLOW_CREDENTIALS: 'true' })).toEqual([
      'server.cors.allowed_origins must not contain * while server.cors.allow_credentials is true',
    ]);
  });

  test('staging encrypts what leaves the machine, too', () => {
    const { config } = inspect({
      ENV: 'staging',
      JWT_SECRET: jwtSecret,
      DB_HOST: '10.0.0.5',
      REDIS_HOST: '127.0.0.1',
    });
    expect([config.database.sslMode, config.redis.tls]).toEqual(['verify-full', false]);
  });
});

describe('scripts/generate-dev-certs.sh', () => {
  test('writes a certificate for this machine and a key that only its owner reads', () => {
    const mode = (file: string): string => (statSync(file).mode & 0o777).toString(8);
    expect([mode(certificate), mode(key)]).toEqual(['644', '600']);
  });

  test('keeps what exists unless --force is given', () => {
    const written = (): number => statSync(key).ino;
    const first = written();
    expect(execFileSync(script, ['--directory', join(folder, 'certs')], { encoding: 'utf8' })).toMatch(
      /^Kept .* --force/,
    );
    expect(written()).toBe(first);
    const told = execFileSync(script, ['--directory', join(folder, 'certs'), '--force'], {
      encoding: 'utf8',
    });
    expect(told).toContain(`export PAYMENTS_SERVER_TLS_CERT_FILE=${certificate}`);
    expect(written()).not.toBe(first);
  });
});
