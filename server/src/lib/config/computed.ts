import { hkdfSync } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { Secret } from '../secret.ts';
import type { Config } from './config.ts';
import type { Environment } from './environment.ts';
import type { settings, SettingPath } from './settings.ts';

type Table = typeof settings;

/** The settings whose default follows from others. */
export type ComputedPath = {
  [Path in SettingPath]: Table[Path] extends { traits: { computed: true } } ? Path : never;
}[SettingPath];

type Known = {
  /** What is known so far: the given values and the fixed defaults. */
  config: Config;
  environment: Environment;
  /** The root of the project. */
  directory: string;
};

type Computation = (known: Known) => string | number | boolean | Secret | undefined;

/** How each default follows, in the order in which they build on each other. What was given is not computed. */
export const computations: Readonly<Record<ComputedPath, Computation>> = {
  // The origin of a URL leaves out the port that its scheme implies.
  'server.public_url': ({ config: { server } }) =>
    new URL(`http${server.tls.enabled ? 's' : ''}://localhost:${server.port}`).origin,
  'server.health_port': ({ config: { server } }) =>
    server.tls.enabled && server.port !== 8080 ? 8080 : undefined,
  'server.sapi_url': ({ config: { server } }) => `http://127.0.0.1:${server.sapiPort}`,
  'database.ssl_mode': ({ config: { database }, environment }) =>
    isExposed(environment) && !isLoopback(database.host) ? 'verify-full' : 'disable',
  'redis.tls': ({ config: { redis }, environment }) =>
    isExposed(environment) && redis.host !== undefined && !isLoopback(redis.host),
  'auth.service_secret': ({ config: { auth } }) => derive(auth.jwtSecret, 'service-tokens', 'base64url'),
  'auth.issuer': ({ config: { server } }) => server.publicUrl,
  'telemetry.traces_endpoint': ({ config: { telemetry } }) =>
    telemetry.otlpEndpoint === undefined ? undefined : `${telemetry.otlpEndpoint}/v1/traces`,
  'telemetry.service_name': ({ config: { service } }) => `florin-${service}`,
  'secrets.file': ({ directory }) => join(directory, '.florin', 'client-secrets.json'),
  'encryption.master_key': ({ config: { auth } }) => derive(auth.jwtSecret, 'master-key', 'base64'),
};

const isExposed = (environment: Environment): boolean =>
  environment === 'staging' || environment === 'production';

/** Whether a host is this machine: a Unix socket's folder, `localhost`, 127.0.0.0/8 or ::1. */
export const isLoopback = (host: string): boolean => {
  if (host.startsWith('/') || host.toLowerCase() === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
};

/** 32 bytes for one purpose (HKDF-SHA-256, RFC 5869): knowing them tells nothing about `secret`. */
const derive = (
  secret: Secret | undefined,
  purpose: string,
  encoding: 'base64' | 'base64url',
): Secret | undefined =>
  secret &&
  new Secret(
    Buffer.from(hkdfSync('sha256', secret.reveal(), '', `florin:${purpose}`, 32)).toString(encoding),
  );
