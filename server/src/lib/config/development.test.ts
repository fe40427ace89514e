import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { inspectConfig, loadConfig } from './config.ts';
import { ensureDevelopmentSecrets, previewDevelopmentSecrets } from './development.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'florin-development-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const load = (env: Record<string, string> = {}) =>
  loadConfig({ service: 'all', env, directory: folder, overrides: ensureDevelopmentSecrets(folder, env) });

test('secrets are made once, for their owner only, and reused', () => {
  const first = load();
  const again = load();
  expect(first.config.auth.jwtSecret.reveal()).toHaveLength(64);
  expect(again.config.auth.jwtSecret.reveal()).toBe(first.config.auth.jwtSecret.reveal());
  expect(again.config.encryption.masterKey.reveal()).toBe(first.config.encryption.masterKey.reveal());
  expect(Buffer.from(first.config.encryption.masterKey.reveal(), 'base64')).toHaveLength(32);
  expect(first.sources).toMatchObject({
    'auth.jwt_secret': '.florin/secrets/jwt-secret',
    'auth.service_secret': 'computed',
  });

  const secrets = join(folder, '.florin', 'secrets');
  expect(readdirSync(secrets).toSorted()).toEqual(['encryption-master-key', 'jwt-secret']);
  const modes = [secrets, ...readdirSync(secrets).map((name) => join(secrets, name))].map(
    (path) => statSync(path).mode & 0o777,
  );
  expect(modes).toEqual([0o700, 0o600, 0o600]);
});

test('each machine has secrets of its own', () => {
  const other = mkdtempSync(join(tmpdir(), 'florin-development-'));
  const theirs = JSON.stringify(readFileOf(other));
  rmSync(other, { recursive: true });
  expect(JSON.stringify(readFileOf(folder))).not.toBe(theirs);
});

const readFileOf = (directory: string): string => {
  ensureDevelopmentSecrets(directory, {});
  return readFileSync(join(directory, '.florin', 'secrets', 'jwt-secret'), 'utf8');
};

test('a secret that somebody gave is not replaced', () => {
  const given = 'given-by-hand-'.repeat(4);
  const { config, sources } = load({ JWT_SECRET: given });
  expect(config.auth.jwtSecret.reveal()).toBe(given);
  expect(sources['auth.jwt_secret']).toBe('JWT_SECRET');
  expect(readdirSync(join(folder, '.florin', 'secrets'))).toEqual(['encryption-master-key']);
});

test('outside of dev and test nothing is made', () => {
  for (const ENV of ['staging', 'production']) expect(ensureDevelopmentSecrets(folder, { ENV })).toEqual({});
  expect(readdirSync(folder)).toEqual([]);
});

test('a preview writes nothing, and shows what exists', () => {
  expect(
    inspectConfig({
      service: 'all',
      env: {},
      directory: folder,
      overrides: previewDevelopmentSecrets(folder, {}),
    }).faults,
  ).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
  const made = ensureDevelopmentSecrets(folder, {});
  expect(reveal(previewDevelopmentSecrets(folder, {}))).toEqual(reveal(made));
});

const reveal = (overrides: ReturnType<typeof ensureDevelopmentSecrets>): string => {
  const { config } = inspectConfig({ service: 'all', env: {}, overrides });
  return `${config.auth.jwtSecret.reveal()} ${config.encryption.masterKey.reveal()}`;
};

test('production refuses a secret that was made for development', () => {
  ensureDevelopmentSecrets(folder, {});
  const secrets = join(folder, '.florin', 'secrets');
  const env = {
    ENV: 'production',
    PAYMENTS_AUTH_JWT_SECRET_FILE: join(secrets, 'jwt-secret'),
    PAYMENTS_ENCRYPTION_MASTER_KEY_FILE: join(secrets, 'encryption-master-key'),
    PAYMENTS_DATABASE_PASSWORD: 'n0tGuessed-at-All',
  };
  expect(inspectConfig({ service: 'sapi', env }).faults).toEqual([
    'auth.jwt_secret is a credential that Florin ships for development',
    'encryption.master_key is a credential that Florin ships for development',
  ]);
});
