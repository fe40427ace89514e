import { accessSync, constants } from 'node:fs';
import { Secret } from '../secret.ts';
import { checkCertificate } from './certificates.ts';
import type { Report } from './certificates.ts';
import { isLoopback } from './computed.ts';
import type { Config } from './config.ts';
import { isDsn } from './dsn.ts';
import { isExample, isShipped, isWeak } from './credentials.ts';
import type { Env } from './environment.ts';
import type { Resolution } from './resolve.ts';
import { variableOf } from './setting.ts';
import type { SettingPath } from './settings.ts';
import { describeReadError, rows } from './variables.ts';

type Circumstances = { config: Config; resolution: Resolution; env: Env; now: Date };

type Subject = Circumstances & {
  isProduction: boolean;
  /** Whether the service reads this setting. */
  reads(path: SettingPath): boolean;
};

/** What one setting can't say by itself: what is required, and what must not stand beside what. */
export const check = (circumstances: Circumstances): { faults: string[]; warnings: string[] } => {
  const faults: string[] = [];
  const warnings: string[] = [];
  const report: Report = { fault: (text) => faults.push(text), warn: (text) => warnings.push(text) };
  const { service, env } = circumstances.config;
  const read = new Set(rows.filter(([, row]) => row.services.includes(service)).map(([path]) => path));
  const subject = {
    ...circumstances,
    isProduction: env === 'production',
    reads: (path: SettingPath) => read.has(path),
  };
  for (const part of [
    checkRequired,
    checkSecrets,
    checkListeners,
    checkCors,
    checkDatabase,
    checkRedis,
    checkTelemetry,
    checkBackends,
  ]) {
    part(subject, report);
  }
  return { faults, warnings };
};

const checkRequired = ({ config, resolution, isProduction, reads }: Subject, report: Report): void => {
  const missing = new Set<SettingPath>();
  for (const [path, row] of rows) {
    if (!reads(path) || resolution.values.has(path) || resolution.faulty.has(path)) continue;
    const isRequired = row.requiredBy?.includes(config.service) || (isProduction && row.requiredInProduction);
    // What would follow from the JWT secret is not missed beside the JWT secret.
    const isConsequence =
      row.computed !== undefined &&
      (missing.has('auth.jwt_secret') || resolution.faulty.has('auth.jwt_secret'));
    if (!isRequired || isConsequence) continue;
    missing.add(path);
    report.fault(`${path} required in ${config.env}`);
  }
};

const signingSecrets: readonly SettingPath[] = ['auth.jwt_secret', 'auth.service_secret', 'backend.secret'];
const passwords: readonly SettingPath[] = [
  'database.password',
  'database.migrate_password',
  'redis.password',
  'metrics.token',
];

const checkSecrets = ({ resolution, env, isProduction }: Subject, report: Report): void => {
  const secrets = [...resolution.values].flatMap(([path, value]) =>
    value instanceof Secret ? [{ path, text: value.reveal(), source: resolution.sources.get(path) }] : [],
  );
  for (const { path, text } of secrets) {
    // RFC 7518, 3.2: a key for HS256 has 256 bits at least.
    if (signingSecrets.includes(path) && text.length < 32)
      report.fault(`${path} must be at least 32 characters`);
  }
  if (!isProduction) return;
  for (const { path, text, source } of secrets) {
    if (isShipped(text)) report.fault(`${path} is a credential that Florin ships for development`);
    else if (signingSecrets.includes(path) && isExample(text)) {
      report.fault(`${path} is a published example: make one with openssl rand -base64 48`);
    } else if (
      path === 'encryption.master_key' &&
      isExample(Buffer.from(text, 'base64').toString('latin1'))
    ) {
      report.fault(`${path} is a published example: make one with openssl rand -base64 32`);
    } else if (passwords.includes(path) && isWeak(text)) {
      report.warn(`${path} is weak: make one with openssl rand -base64 32`);
    } else if (path === 'auth.jwt_secret' && text.length < 48) {
      report.warn('auth.jwt_secret has fewer than 48 characters: make one with openssl rand -base64 48');
    }
    if (path === 'encryption.master_key' && source === 'computed') {
      report.warn(
        'encryption.master_key is not set and follows from auth.jwt_secret: when that changes, what is encrypted ' +
          `becomes unreadable; set ${variableOf(path)}`,
      );
    }
  }
  // Client secrets come as variables too, under names of their own (`secrets.source` is `environment`).
  for (const [name, value] of Object.entries(env)) {
    const isSetting = secrets.some(({ source }) => source === name);
    if (value && !isSetting && isShipped(value))
      report.fault(`${name} is a credential that Florin ships for development`);
  }
};

const checkListeners = ({ config, resolution, now, isProduction, reads }: Subject, report: Report): void => {
  const { server } = config;
  if (reads('server.tls.enabled')) {
    if (isProduction && !server.tls.enabled) report.fault('server.tls.enabled must be true in production');
    checkCertificate(server.tls, now, report);
    if (isProduction && server.tls.minVersion !== '1.3') report.warn('server.tls.min_version is below 1.3');
  }
  if (isProduction && server.trustProxy === true) {
    report.warn('server.trust_proxy is true: any client can pretend any address; name your proxies');
  }
  const ports = new Map<number, SettingPath>();
  for (const path of [
    'server.port',
    'server.health_port',
    'server.redirect_port',
    'server.sapi_port',
    'server.worker_port',
  ] as const) {
    const port = reads(path) ? resolution.values.get(path) : undefined;
    if (typeof port !== 'number' || port === 0) continue;
    // `eapi` does not listen on the port of `sapi`: it calls it.
    if (path === 'server.sapi_port' && !reads('server.sapi_host')) continue;
    const other = ports.get(port);
    if (other !== undefined) report.fault(`${other} and ${path} must differ, both are ${port}`);
    ports.set(port, path);
  }
};

const checkCors = ({ config, isProduction, reads }: Subject, report: Report): void => {
  const { allowedOrigins, allowCredentials } = config.server.cors;
  if (!reads('server.cors.allowed_origins')) return;
  const wildcard = allowedOrigins.find((origin) => origin.includes('*'));
  if (wildcard === undefined) return;
  if (isProduction) report.fault(`server.cors.allowed_origins must not contain ${wildcard} in production`);
  else if (allowCredentials) {
    report.fault(
      `server.cors.allowed_origins must not contain ${wildcard} while server.cors.allow_credentials is true`,
    );
  }
};

const checkDatabase = ({ config, isProduction, reads }: Subject, report: Report): void => {
  if (!reads('database.host')) return;
  const { host, sslMode, sslRootCertFile } = config.database;
  if (sslRootCertFile !== undefined) {
    try {
      accessSync(sslRootCertFile, constants.R_OK);
    } catch (error) {
      report.fault(describeReadError('database.ssl_root_cert_file', sslRootCertFile, error));
    }
  }
  if (!isProduction) return;
  if (sslMode === 'require') {
    report.warn(
      'database.ssl_mode is require: it encrypts, but trusts whoever answers; verify-full is better',
    );
  }
  if (sslMode === 'disable' && !isLoopback(host)) {
    report.warn(`database.ssl_mode is disable: passwords and payments travel to ${host} unencrypted`);
  }
};

const checkRedis = ({ config, isProduction, reads }: Subject, report: Report): void => {
  const { host, password, tls } = config.redis;
  if (!reads('redis.host') || !isProduction || host === undefined || isLoopback(host)) return;
  if (!tls) report.warn(`redis.tls is false: passwords and tokens travel to ${host} unencrypted`);
  if (password === undefined)
    report.warn(`redis.password is not set: whoever reaches ${host} can read and write it`);
};

const checkTelemetry = ({ config, reads }: Subject, report: Report): void => {
  if (!reads('sentry.dsn')) return;
  const dsn = config.sentry.dsn?.reveal();
  if (dsn !== undefined && !isDsn(dsn)) {
    report.warn('sentry.dsn does not look like https://<key>@<host>/<project>: nothing is reported');
  }
  const headers = config.telemetry.otlpHeaders?.reveal();
  if (headers !== undefined && !/^\s*[\w.-]+=[^,]*(,\s*[\w.-]+=[^,]*)*$/.test(headers)) {
    report.warn('telemetry.otlp_headers are not name=value pairs separated by commas: none are sent');
  }
};

/** Payment backends: who they are has to be sure in both directions. */
const checkBackends = ({ config, isProduction, reads }: Subject, report: Report): void => {
  const { backend, stripe } = config;
  if (reads('backend.url')) {
    if (backend.url !== undefined && backend.secret === undefined) {
      report.fault(
        `backend.secret required with backend.url: set ${variableOf('backend.secret')} (openssl rand -base64 48)`,
      );
    }
    if (backend.url === undefined && backend.secret !== undefined) {
      report.warn('backend.secret is set and backend.url is not: there is no connector http');
    }
    for (const [path, address] of [
      ['backend.url', backend.url],
      ['stripe.url', stripe.url],
    ] as const) {
      if (isProduction && address !== undefined && isPlain(address))
        report.fault(`${path} must be https in production, unless it is on this machine`);
    }
  }
  if (
    !reads('stripe.webhook_secret') ||
    (stripe.secretKey === undefined) === (stripe.webhookSecret === undefined)
  )
    return;
  report.warn(
    stripe.secretKey === undefined
      ? 'stripe.webhook_secret is set and stripe.secret_key is not: there is no connector stripe'
      : 'stripe.webhook_secret is not set: what Stripe tells by itself is refused, outcomes are only asked for',
  );
};

/** Whether what is sent there could be read on the way. */
const isPlain = (address: string): boolean => {
  const { protocol, hostname } = new URL(address);
  return protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''));
};
