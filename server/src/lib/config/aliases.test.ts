import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { inspectConfig, loadConfig } from './config.ts';
import type { LoadedConfig, LoadOptions } from './config.ts';
import type { Env } from './environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'florin-aliases-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** These names in an empty folder, beside the secret that every environment needs. */
const optionsFor = (env: Env, options: Partial<LoadOptions> = {}): LoadOptions => {
  const secret = { PAYMENTS_AUTH_JWT_SECRET: 'S4PVFYkXbAbqxQnIcS8tGkJbXy2b1bG0XoWvQ1Zb' };
  return { service: 'all', directory: folder, ...options, env: { ...secret, ...env } };
};
const load = (env: Env, options?: Partial<LoadOptions>): LoadedConfig => loadConfig(optionsFor(env, options));
const faultsOf = (env: Env): string[] => inspectConfig(optionsFor(env)).faults;

const write = (name: string, content: string): string => {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
};

describe('other names', () => {
  test("guide 001's variables are read", () => {
    const { config } = load({
      DB_HOST: 'localhost',
      DB_PORT: '5433',
      DB_NAME: 'payment_gateway_prod',
      DB_USER: 'pg_user',
      DB_PASSWORD: 'pw',
      REDIS_HOST: 'redis.internal',
      REDIS_PORT: '6380',
      REDIS_PASSWORD: 'rpw',
      PORT: '3001',
      API_URL: 'https://api.payment-gateway.com/',
      LOG_LEVEL: 'WARN',
      LOG_FILE: '/var/log/app.log',
      CORS_ORIGINS: 'https://yourdomain.com, https://two.example:8443/',
      RATIONALE_LIMIT: '7',
      RATIONALE_WINDOW: '60000',
    });
    expect(config.database).toMatchObject({ port: 5433, name: 'payment_gateway_prod', user: 'pg_user' });
    expect(config.database.password?.reveal()).toBe('pw');
    expect(config.redis).toMatchObject({ host: 'redis.internal', port: 6380 });
    expect(config.server).toMatchObject({ port: 3001, publicUrl: 'https://api.payment-gateway.com' });
    expect(config.server.cors.allowedOrigins).toEqual(['https://yourdomain.com', 'https://two.example:8443']);
    expect(config.log).toMatchObject({ level: 'warn', file: '/var/log/app.log' });
    expect(config.rateLimit).toEqual({ max: 7, windowMs: 60_000 });
  });

  test('RATE is accepted in every spelling', () => {
    expect(load({ RATE_LIMIT: '8', RATE_WINDOW: '2000' }).config.rateLimit).toEqual({
      max: 8,
      windowMs: 2000,
    });
    expect(load({ RATE_LIMIT_MAX: '9', RATE_LIMIT_WINDOW_MS: '3000' }).config.rateLimit).toEqual({
      max: 9,
      windowMs: 3000,
    });
  });

  test("guide 002's and 003's variables are read", () => {
    const { config } = load({
      PAYMENTS_AUTH_JWT_SECRET: '',
      JWT_SECRET: 'your-32-character-jwt-secret-key',
      ENCRYPTION_KEY: 'your-32-character-encryption-key',
      ALLOWED_ORIGINS: 'https://credlink.com,https://www.credlink.com',
      DATABASE_URL: 'postgresql://us%40er:p%3Aw@db.example:5439/pay?sslmode=require',
    });
    expect(config.auth.jwtSecret.reveal()).toBe('your-32-character-jwt-secret-key');
    expect(Buffer.from(config.encryption.masterKey.reveal(), 'base64').toString()).toBe(
      'your-32-character-encryption-key',
    );
    expect(config.server.cors.allowedOrigins).toEqual(['https://credlink.com', 'https://www.credlink.com']);
    expect(config.database).toMatchObject({
      host: 'db.example',
      port: 5439,
      name: 'pay',
      user: 'us@er',
      sslMode: 'require',
    });
    expect(config.database.password?.reveal()).toBe('p:w');
  });

  test('the variables of OpenTelemetry and Sentry are read', () => {
    const { config } = load({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc',
      OTEL_SERVICE_NAME: 'payments',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
      SENTRY_DSN: 'https://key@o1.example.com/7',
      ENABLE_SENTRY: 'false',
    });
    expect(config.telemetry).toMatchObject({
      otlpEndpoint: 'http://collector:4318',
      tracesEndpoint: 'http://collector:4318/v1/traces',
      serviceName: 'payments',
      sampleRatio: 0.25,
    });
    expect(config.telemetry.otlpHeaders?.reveal()).toBe('authorization=Bearer%20abc');
    expect(config.sentry.dsn?.reveal()).toBe('https://key@o1.example.com/7');
    expect(config.sentry.enabled).toBe(false);
    const own = load(
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://traces.example/in' },
      { service: 'worker' },
    ).config;
    expect(own.telemetry).toMatchObject({
      tracesEndpoint: 'https://traces.example/in',
      serviceName: 'florin-worker',
      sampleRatio: 1,
    });
    expect(load({}).config.telemetry.tracesEndpoint).toBeUndefined();
  });

  test('a DSN or headers that can not be used are warned of, since a guide shows one', () => {
    const { warnings } = load({
      SENTRY_DSN: 'https://your-sentry-dsn',
      OTEL_EXPORTER_OTLP_HEADERS: 'nonsense',
    });
    expect(warnings).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^sentry\.dsn does not look like/),
        expect.stringMatching(/^telemetry\.otlp_headers are not/),
      ]),
    );
  });

  test('DATABASE_URL: what is unknown in it warns, what is no URL is a fault that does not show it', () => {
    const { config, warnings } = load({
      DATABASE_URL: 'postgres://u@/d?host=/run/postgresql&application_name=x',
    });
    expect(config.database.host).toBe('/run/postgresql');
    expect(warnings).toEqual(['DATABASE_URL: the parameter application_name is not used']);
    expect(faultsOf({ DATABASE_URL: 'mysql://root:hunter2@db' })).toEqual([
      'DATABASE_URL must be a URL such as postgresql://user:password@host:5432/database',
    ]);
    expect(faultsOf({ DATABASE_URL: 'postgres://u@h/d?sslmode=prefer' })).toEqual([
      'database.ssl_mode must be one of disable, require, verify-ca, verify-full, got "prefer" (DATABASE_URL)',
    ]);
    expect(load({ DATABASE_URL_FILE: write('url', 'postgres://u@[::1]/d\n') }).config.database.host).toBe(
      '::1',
    );
  });

  test('two names with equal values are fine, with different ones a fault that names both and shows no secret', () => {
    expect(load({ PAYMENTS_SERVER_PORT: '0443', PORT: '443' }).config.server.port).toBe(443);
    expect(
      faultsOf({
        PAYMENTS_DATABASE_HOST: 'a',
        DB_HOST: 'b',
        DB_PASSWORD: 'one',
        DATABASE_URL: 'postgres://u:two@a/d',
        DB_USER: 'u',
      }),
    ).toEqual([
      'PAYMENTS_DATABASE_HOST and DB_HOST give different values for database.host: "a" and "b"',
      'DB_PASSWORD and DATABASE_URL give different values for database.password',
    ]);
    const file = write('other', 'x'.repeat(40));
    expect(faultsOf({ PAYMENTS_AUTH_JWT_SECRET_FILE: file })).toEqual([
      'PAYMENTS_AUTH_JWT_SECRET and PAYMENTS_AUTH_JWT_SECRET_FILE give different values for auth.jwt_secret',
    ]);
  });

  test("an alias counts for its guide's services only", () => {
    expect(load({ RATE_LIMIT_MAX: '9' }, { service: 'api' })).toMatchObject({
      config: { rateLimit: { max: 100 } },
      warnings: ['RATE_LIMIT_MAX is not read by api: set PAYMENTS_RATE_LIMIT_MAX'],
    });
    expect(load({ PORT: '1', DB_HOST: 'db' }, { service: 'monitoring' })).toMatchObject({
      config: { server: { port: 3000 }, database: { host: 'localhost' } },
      warnings: [],
    });
  });
});
