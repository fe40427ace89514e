import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, expectTypeOf, test } from 'vitest';
import type { Secret } from '../secret.ts';
import { ConfigError, fatalConfigLine, loadConfig } from './config.ts';
import type { Config, LoadedConfig, LoadOptions } from './config.ts';
import type { Env } from './environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'florin-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const secrets = {
  PAYMENTS_AUTH_JWT_SECRET: 'S4PVFYkXbAbqxQnIcS8tGkJbXy2b1bG0XoWvQ1Zb',
  PAYMENTS_ENCRYPTION_MASTER_KEY: Buffer.alloc(32, 'abcdefghijk').toString('base64'),
};

/** Loads in an empty folder, with the secrets that every environment needs. */
const load = (env: Env, options: Partial<LoadOptions> = {}): LoadedConfig =>
  loadConfig({ service: 'all', directory: folder, ...options, env: { ...secrets, ...env } });

const faultsOf = (env: Env, options: Partial<LoadOptions> = {}): readonly string[] => {
  try {
    load(env, options);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
};

const write = (name: string, content: string): string => {
  const file = join(folder, name);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, content);
  return file;
};

/** A project folder whose `config/application-<name>.yml` has this content. */
const projectWith = (name: string, content: string): string => {
  const directory = mkdtempSync(join(folder, 'project-'));
  mkdirSync(join(directory, 'config'));
  writeFileSync(join(directory, 'config', `application-${name}.yml`), content);
  return directory;
};

test('the type follows from the table', () => {
  expectTypeOf<Config['service']>().toExtend<string>();
  expectTypeOf<Config['server']['port']>().toEqualTypeOf<number>();
  expectTypeOf<Config['server']['healthPort']>().toEqualTypeOf<number | undefined>();
  expectTypeOf<Config['server']['trustProxy']>().toEqualTypeOf<boolean | string[]>();
  expectTypeOf<Config['server']['cors']>().toEqualTypeOf<{
    allowedOrigins: string[];
    allowCredentials: boolean;
  }>();
  expectTypeOf<Config['server']['tls']>().toEqualTypeOf<{
    enabled: boolean;
    certFile?: string;
    keyFile?: string;
    minVersion: '1.2' | '1.3';
  }>();
  expectTypeOf<Config['redis']>().toEqualTypeOf<{
    host?: string;
    port: number;
    password?: Secret;
    tls: boolean;
  }>();
  expectTypeOf<Config['auth']['jwtSecret']>().toEqualTypeOf<Secret>();
  expectTypeOf<Config['database']['password']>().toEqualTypeOf<Secret | undefined>();
});

describe('sources', () => {
  test('defaults are safe on one machine', () => {
    const { config, sources, warnings } = load({});
    expect(config.env).toBe('dev');
    expect(config.service).toBe('all');
    expect(config.server).toMatchObject({
      host: 'localhost',
      port: 3000,
      publicUrl: 'http://localhost:3000',
    });
    expect(config.server.healthPort).toBeUndefined();
    expect(config.database).toMatchObject({ host: 'localhost', port: 5432, sslMode: 'disable' });
    expect(config.rateLimit).toEqual({ max: 100, windowMs: 60_000 });
    expect(config.secrets).toEqual({ source: 'file', file: join(folder, '.florin', 'client-secrets.json') });
    expect(sources['server.port']).toBe('default');
    expect(sources['server.public_url']).toBe('computed');
    expect(warnings).toEqual([]);
  });

  test('a file wins over the default, a variable over the file, an override over all', () => {
    const directory = projectWith(
      'dev',
      'server:\n  port: 4000\n  host: 10.0.0.1\n  tls:\n    min_version: 1.2\n',
    );
    const { config, sources } = load(
      { PAYMENTS_SERVER_PORT: '5000' },
      { directory, overrides: { 'server.keep_alive_timeout_ms': 1 } },
    );
    expect(config.server).toMatchObject({ host: '10.0.0.1', port: 5000, keepAliveTimeoutMs: 1 });
    expect(config.server.tls.minVersion).toBe('1.2');
    expect(sources).toMatchObject({
      'server.host': 'config/application-dev.yml',
      'server.port': 'PAYMENTS_SERVER_PORT',
      'server.keep_alive_timeout_ms': 'override',
      'auth.token_ttl_s': 'default',
    });
    const labelled = { 'server.port': { value: 6000, source: 'embedded' } };
    expect(load({ PORT: '5000' }, { overrides: labelled }).sources['server.port']).toBe('embedded');
  });

  test('an empty variable counts as not set', () => {
    expect(load({ PAYMENTS_SERVER_PORT: '', ENV: '' }).config.server.port).toBe(3000);
  });

  test.each([
    ['ENV', 'production', 'production'],
    ['ENV', 'prod', 'production'],
    ['ENV', 'Staging', 'staging'],
    ['NODE_ENV', 'development', 'dev'],
    ['NODE_ENV', 'test', 'test'],
  ])('%s=%s is the environment %s and chooses its file', (name, text, environment) => {
    const file = environment === 'production' ? 'prod' : environment;
    const directory = projectWith(file, 'log:\n  level: trace\n');
    const certificates = { PAYMENTS_SERVER_TLS_ENABLED: 'true', PAYMENTS_DATABASE_PASSWORD: 'x' };
    const found = faultsOf({ [name]: text, ...certificates }, { directory, service: 'sapi' });
    expect(found).toEqual([]);
    const { config, sources } = load({ [name]: text, ...certificates }, { directory, service: 'sapi' });
    expect([config.env, config.log.level, sources['env']]).toEqual([environment, 'trace', name]);
  });

  test('prod and production are the same; two different environments are a fault', () => {
    expect(faultsOf({ ENV: 'dev', NODE_ENV: 'development' })).toEqual([]);
    expect(faultsOf({ ENV: 'dev', NODE_ENV: 'prod' })).toEqual([
      'ENV and NODE_ENV name different environments: dev and prod',
    ]);
    expect(faultsOf({ ENV: 'live' })).toEqual([
      'ENV must be one of dev, development, test, staging, prod, production, got "live"',
    ]);
  });

  test('a value may come from the file that <NAME>_FILE names, without its last line break', () => {
    const password = write('password', 'p ä\nss\r\n');
    const { config, sources } = load({
      PAYMENTS_DATABASE_PASSWORD_FILE: password,
      PAYMENTS_SERVER_PORT_FILE: write('port', '81\n'),
    });
    expect(config.database.password?.reveal()).toBe('p ä\nss');
    expect(config.server.port).toBe(81);
    expect(sources['database.password']).toBe('PAYMENTS_DATABASE_PASSWORD_FILE');
    expect(load({ DB_PASSWORD_FILE: password }).config.database.password?.reveal()).toBe('p ä\nss');
  });

  test('a file that is missing, empty or a folder is a fault that names it', () => {
    expect(
      faultsOf({
        PAYMENTS_DATABASE_PASSWORD_FILE: '/nowhere/password',
        REDIS_PASSWORD_FILE: write('empty', '\n'),
        PAYMENTS_METRICS_TOKEN_FILE: folder,
      }),
    ).toEqual([
      'database.password: the file of PAYMENTS_DATABASE_PASSWORD_FILE not found: /nowhere/password',
      `redis.password: the file of REDIS_PASSWORD_FILE is empty: ${join(folder, 'empty')}`,
      `metrics.token: the file of PAYMENTS_METRICS_TOKEN_FILE can't be read: ${folder} (EISDIR)`,
    ]);
  });

  test('a secret in an environment file is a fault', () => {
    const directory = projectWith('dev', 'database:\n  password: hunter2\n');
    expect(faultsOf({}, { directory })).toEqual([
      'config/application-dev.yml must not hold database.password: give secrets as variables or files',
    ]);
  });

  test('an environment file that is no YAML or no map is a fault', () => {
    expect(faultsOf({}, { directory: projectWith('dev', 'a: [') })[0]).toMatch(
      /^config\/application-dev.yml is not YAML: /,
    );
    expect(faultsOf({}, { directory: projectWith('dev', '- a') })).toEqual([
      'config/application-dev.yml must be a map of settings',
    ]);
  });
});

describe('what is wrong', () => {
  test('every fault is reported at once', () => {
    const env = {
      PAYMENTS_SERVER_PORT: '70000',
      PAYMENTS_SERVER_TLS_ENABLED: 'maybe',
      PAYMENTS_SERVER_PUBLIC_URL: 'ftp://x',
      PAYMENTS_SERVER_CORS_ALLOWED_ORIGINS: 'example.com',
      PAYMENTS_SERVER_TRUST_PROXY: '10.0.0.0/33',
      PAYMENTS_AUTH_TOKEN_TTL_S: '1.5',
      PAYMENTS_LOG_LEVELS: 'payments:debug',
      PAYMENTS_ENCRYPTION_PREVIOUS_MASTER_KEY: 'c2hvcnQ=',
      PAYMENTS_PAYMENTS_CONNECTOR_TIMEOUT_MS: '0',
    };
    expect(faultsOf(env)).toEqual([
      'server.port must be a port from 0 to 65535, got "70000" (PAYMENTS_SERVER_PORT)',
      'server.public_url must be an http or https URL without user and password, got "ftp://x" (PAYMENTS_SERVER_PUBLIC_URL)',
      'server.trust_proxy must be true, false, or addresses and networks such as 10.0.0.0/8, separated by commas, ' +
        'got "10.0.0.0/33" (PAYMENTS_SERVER_TRUST_PROXY)',
      'server.tls.enabled must be true or false, got "maybe" (PAYMENTS_SERVER_TLS_ENABLED)',
      'server.cors.allowed_origins must be origins such as https://app.example.com, separated by commas, ' +
        'got "example.com" (PAYMENTS_SERVER_CORS_ALLOWED_ORIGINS)',
      'auth.token_ttl_s must be an integer from 60 to 86400, got "1.5" (PAYMENTS_AUTH_TOKEN_TTL_S)',
      'log.levels must be module=level pairs such as payments=debug,ledger=warn, each level one of trace, debug, info, ' +
        'warn, error, fatal, silent, got "payments:debug" (PAYMENTS_LOG_LEVELS)',
      'encryption.previous_master_key must be base64 of 32 bytes (openssl rand -base64 32) (PAYMENTS_ENCRYPTION_PREVIOUS_MASTER_KEY)',
      'payments.connector_timeout_ms must be an integer from 1 to 3600000, got "0" (PAYMENTS_PAYMENTS_CONNECTOR_TIMEOUT_MS)',
    ]);
    expect(new ConfigError(faultsOf(env)).message).toMatch(
      /^invalid config: server.port must be .*; server.public_url/,
    );
  });

  test('an unknown variable or file setting warns with the nearest known name', () => {
    const directory = projectWith('dev', 'server:\n  prot: 1\nnonsense_of_another_kind: 2\n');
    const env = {
      PAYMENTS_DATABASE_PASWORD_FILE: 'x',
      PAYMENTS_SERVRE_PORT: '1',
      PAYMENTS_COMPLETELY_SOMETHING_ELSE_XYZ: '1',
      PAYMENTS_API_SERVICE_HOST: '10.0.0.1',
      PAYMENTS_API_PORT_443_TCP_ADDR: '10.0.0.1',
      PAYMENTS_API_PORT: 'tcp://10.0.0.1:443',
    };
    expect(load(env, { directory }).warnings).toEqual([
      'config/application-dev.yml: server.prot is not a setting; did you mean server.port?',
      'config/application-dev.yml: nonsense_of_another_kind is not a setting',
      'PAYMENTS_DATABASE_PASWORD_FILE is not a setting; did you mean PAYMENTS_DATABASE_PASSWORD?',
      'PAYMENTS_SERVRE_PORT is not a setting; did you mean PAYMENTS_SERVER_PORT?',
      'PAYMENTS_COMPLETELY_SOMETHING_ELSE_XYZ is not a setting',
    ]);
  });

  test('listeners of one process need ports of their own', () => {
    expect(faultsOf({ PAYMENTS_SERVER_HEALTH_PORT: '3000', PAYMENTS_SERVER_REDIRECT_PORT: '3100' })).toEqual([
      'server.port and server.health_port must differ, both are 3000',
      'server.redirect_port and server.sapi_port must differ, both are 3100',
    ]);
    expect(faultsOf({ PAYMENTS_SERVER_PORT: '0', PAYMENTS_SERVER_HEALTH_PORT: '0' })).toEqual([]);
    expect(faultsOf({ PAYMENTS_SERVER_PORT: '3100' }, { service: 'eapi' })).toEqual([]);
  });

  test('a failed start logs the line of guide 004', () => {
    const error = new ConfigError(['database.password required in production']);
    expect(fatalConfigLine(error, new Date('2025-01-15T10:00:00.123Z'))).toBe(
      '{"level":"fatal","time":"2025-01-15T10:00:00Z","error":"invalid config: database.password required in production"}',
    );
  });
});

describe('secrets', () => {
  test('the service secret follows from the JWT secret unless it is given', () => {
    const one = load({}).config.auth.serviceSecret.reveal();
    expect(one).toHaveLength(43);
    expect(load({}, { service: 'eapi' }).config.auth.serviceSecret.reveal()).toBe(one);
    expect(
      load({ PAYMENTS_AUTH_JWT_SECRET: 'x1y2z3'.repeat(8) }).config.auth.serviceSecret.reveal(),
    ).not.toBe(one);
    const given = 'G6'.repeat(20);
    expect(load({ PAYMENTS_AUTH_SERVICE_SECRET: given }).config.auth.serviceSecret.reveal()).toBe(given);
  });

  test('a service sees no secret that it does not read', () => {
    const { config, sources } = load({ PAYMENTS_DATABASE_PASSWORD: 'pw' }, { service: 'eapi' });
    expect(config.database.password).toBeUndefined();
    expect(sources).not.toHaveProperty('database.password');
    const overrides = { 'database.password': 'pw', 'server.port': 81 };
    const overridden = load({}, { service: 'eapi', overrides });
    expect(overridden.config.database.password).toBeUndefined();
    expect(overridden.config.server.port).toBe(81);
    expect(overridden.sources).not.toHaveProperty('database.host');
    expect(() => load({}, { service: 'vault' }).config.auth.jwtSecret.reveal()).toThrow(
      'auth.jwt_secret is not configured for the service vault',
    );
  });

  test('a configuration prints no secret', () => {
    const shown = JSON.stringify(load({ PAYMENTS_DATABASE_PASSWORD: 'hunter2' }));
    for (const value of ['hunter2', ...Object.values(secrets)]) expect(shown).not.toContain(value);
  });

  test('sapi runs with the service secret and the master key alone', () => {
    const env = { ...secrets, PAYMENTS_AUTH_JWT_SECRET: '', PAYMENTS_AUTH_SERVICE_SECRET: 'G6'.repeat(20) };
    expect(faultsOf(env, { service: 'sapi' })).toEqual([]);
    expect(
      faultsOf({ PAYMENTS_AUTH_JWT_SECRET: '', PAYMENTS_ENCRYPTION_MASTER_KEY: '' }, { service: 'sapi' }),
    ).toEqual(['auth.service_secret required in dev', 'encryption.master_key required in dev']);
  });
});
