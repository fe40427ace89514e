import type { Service } from './environment.ts';
import { choice, file, flag, integer, key, origins, port, proxies, secret, text, url } from './kinds.ts';
import { listening, observerSettings } from './observer-settings.ts';
import { outsideSettings } from './outside-settings.ts';
import { alias, setting } from './setting.ts';

/** Those that answer the public. */
const edge: readonly Service[] = ['all', 'api', 'eapi'];
/** Those that write money. */
const core: readonly Service[] = ['all', 'api', 'sapi'];
/** Those that are, or call, the internal API. */
const internal: readonly Service[] = ['all', 'api', 'eapi', 'sapi', 'worker', 'rotation', 'credlink'];
const withDatabase: readonly Service[] = ['all', 'api', 'sapi', 'worker', 'rotation', 'credlink', 'cli'];
/** Those that open what is encrypted at rest: client secrets, personal data. */
const decrypting: readonly Service[] = ['all', 'api', 'eapi', 'sapi', 'worker', 'rotation', 'cli'];

const timeoutMs = integer({ min: 1, max: 3_600_000 });

/**
 * Every setting, in the order of the reference page. Validation, the type `Config`, `florin config print` and
 * `docs/configuration.md` follow from this table; what differs between environments is in
 * `config/application-*.yml`. To add a setting, add a row here and run `florin config docs --write`.
 */
export const settings = {
  'server.host': setting(text, {
    doc: 'The address that the public port listens on.',
    services: edge,
    default: 'localhost',
  }),
  'server.port': setting(port, {
    doc: 'The public port. 0 lets the system choose one.',
    services: edge,
    default: 3000,
    aliases: [alias('001', 'PORT'), alias('003', 'PORT')],
  }),
  'server.public_url': setting(url, {
    doc: 'Where clients reach the API from outside: in links, and as the issuer of tokens.',
    services: internal,
    computed: '`http://localhost:<server.port>`, `https` when TLS is on',
    aliases: [alias('001', 'API_URL')],
  }),
  'server.trust_proxy': setting(proxies, {
    doc: 'Whose `X-Forwarded-For` is believed: nobody, everybody (`true`), or these proxies (addresses and networks).',
    services: listening,
    default: false,
  }),
  'server.body_limit_bytes': setting(integer({ min: 1024, max: 67_108_864 }), {
    doc: 'The largest body of a request; uploads have limits of their own.',
    services: listening,
    default: 1_048_576,
    unit: 'bytes',
  }),
  'server.request_timeout_ms': setting(timeoutMs, {
    doc: 'Within this time a request has to have arrived completely, and its client to take some of the answer.',
    services: listening,
    default: 30_000,
    unit: 'ms',
  }),
  'server.headers_timeout_ms': setting(timeoutMs, {
    doc: "Within this time a request's headers have to have arrived.",
    services: listening,
    default: 10_000,
    unit: 'ms',
  }),
  'server.keep_alive_timeout_ms': setting(timeoutMs, {
    doc: 'How long an idle connection stays open. Longer than the load balancer keeps it, which is 60 s for most.',
    services: listening,
    default: 72_000,
    unit: 'ms',
  }),
  'server.connections_max': setting(integer({ min: 1, max: 1_000_000 }), {
    doc: 'How many connections are open at once. When there are more, idle ones are closed, then new ones refused.',
    services: listening,
    default: 10_000,
  }),
  'server.requests_max': setting(integer({ min: 1, max: 100_000 }), {
    doc:
      'How many requests are worked on at once; more are answered 503 `overloaded`. Callers who have less than their ' +
      'equal share get in until there are twice as many.',
    services: listening,
    default: 512,
  }),
  'server.shutdown_grace_ms': setting(timeoutMs, {
    doc: 'How long accepted requests may take after the process was told to stop.',
    services: listening,
    default: 25_000,
    unit: 'ms',
  }),
  'server.drain_delay_ms': setting(integer({ min: 0, max: 600_000 }), {
    doc:
      'How long a process that was told to stop goes on taking requests while `/health/ready` answers 503: longer ' +
      'than the load balancer takes to notice.',
    services: listening,
    default: 0,
    unit: 'ms',
  }),
  'server.health_host': setting(text, {
    doc: 'The address that the internal listener (`/health/*` and `/metrics`, plain HTTP) listens on.',
    services: listening,
    default: '127.0.0.1',
  }),
  'server.health_port': setting(port, {
    doc: 'The port of the internal listener. Not set: there is none.',
    services: listening,
    computed: '`8080` when TLS is on and `server.port` is another',
    optional: true,
  }),
  'server.redirect_port': setting(port, {
    doc: 'A plain HTTP port that answers 301 to `server.public_url`, usually 80. Not set: there is none.',
    services: edge,
  }),
  'server.sapi_url': setting(url, {
    doc: 'Where the other services reach `sapi`.',
    services: [...internal, 'cli'],
    computed: '`http://127.0.0.1:<server.sapi_port>`',
  }),
  'server.sapi_host': setting(text, {
    doc: 'The address that `sapi` listens on: loopback or the internal network, never the public one.',
    services: core,
    default: '127.0.0.1',
  }),
  'server.sapi_port': setting(port, {
    doc: 'The port that `sapi` listens on.',
    services: [...internal, 'cli'],
    default: 3100,
  }),
  'server.worker_host': setting(text, {
    doc: 'The address that `worker` listens on, for `/health/*` and `/metrics` alone: loopback or the internal network.',
    services: ['worker'],
    default: '127.0.0.1',
  }),
  'server.worker_port': setting(port, {
    doc: 'The port that `worker` listens on. 0 lets the system choose one.',
    services: ['worker'],
    default: 3300,
  }),
  'server.tls.enabled': setting(flag, {
    doc: 'Whether the public port speaks HTTPS. Production requires it.',
    services: edge,
    default: false,
  }),
  'server.tls.cert_file': setting(file, {
    doc: 'The certificate with its chain, PEM.',
    services: edge,
  }),
  'server.tls.key_file': setting(file, {
    doc: "The certificate's private key, PEM without a passphrase; mode 600.",
    services: edge,
  }),
  'server.tls.min_version': setting(choice(['1.2', '1.3']), {
    doc: 'The oldest TLS version that is accepted.',
    services: edge,
    default: '1.3',
  }),
  'server.cors.allowed_origins': setting(origins, {
    doc: 'Origins of web pages that may call the API from a browser. Wildcards are refused in production.',
    services: edge,
    default: [],
    aliases: [alias('001', 'CORS_ORIGINS'), alias('003', 'ALLOWED_ORIGINS')],
  }),
  'server.cors.allow_credentials': setting(flag, {
    doc: 'Whether those pages may send cookies and `Authorization`.',
    services: edge,
    default: false,
  }),

  'database.host': setting(text, {
    doc: "PostgreSQL's host name, or the folder of its Unix socket.",
    services: withDatabase,
    default: 'localhost',
    aliases: [alias('001', 'DB_HOST')],
  }),
  'database.port': setting(port, {
    doc: "PostgreSQL's port.",
    services: withDatabase,
    default: 5432,
    aliases: [alias('001', 'DB_PORT')],
  }),
  'database.name': setting(text, {
    doc: 'The database.',
    services: withDatabase,
    default: 'florin',
    aliases: [alias('001', 'DB_NAME')],
  }),
  'database.user': setting(text, {
    doc: 'Whom the services connect as: a member of `florin_service`.',
    services: withDatabase,
    default: 'florin_service',
    aliases: [alias('001', 'DB_USER'), alias('002', 'DB_USER')],
  }),
  'database.password': setting(secret, {
    doc: "That user's password.",
    services: withDatabase,
    requiredInProduction: true,
    secret: true,
    aliases: [alias('001', 'DB_PASSWORD'), alias('002', 'DB_PASSWORD')],
  }),
  'database.ssl_mode': setting(choice(['disable', 'require', 'verify-ca', 'verify-full']), {
    doc: 'As `sslmode` of libpq. `require` encrypts, but trusts whoever answers.',
    services: withDatabase,
    computed: '`verify-full` in staging and production when the host is not loopback, else `disable`',
  }),
  'database.ssl_root_cert_file': setting(file, {
    doc: "The authority that signed PostgreSQL's certificate, PEM. Not set: those that Node.js trusts.",
    services: withDatabase,
  }),
  'database.pool_max': setting(integer({ min: 1, max: 1000 }), {
    doc: 'Connections of one process at most.',
    services: withDatabase,
    default: 10,
  }),
  'database.connect_timeout_ms': setting(timeoutMs, {
    doc: 'How long to wait for a connection.',
    services: withDatabase,
    default: 5000,
    unit: 'ms',
  }),
  'database.statement_timeout_ms': setting(timeoutMs, {
    doc: 'After this time the server cancels a statement.',
    services: withDatabase,
    default: 30_000,
    unit: 'ms',
  }),
  'database.migrate_user': setting(text, {
    doc: 'Whom `florin migrate` connects as: a member of `florin_migrate`. Not set: `database.user`.',
    services: ['all', 'cli'],
  }),
  'database.migrate_password': setting(secret, {
    doc: "That user's password.",
    services: ['all', 'cli'],
    secret: true,
  }),

  'redis.host': setting(text, {
    doc: "Redis' host name. Not set: caches and rate limits live in the process.",
    services: internal,
    aliases: [alias('001', 'REDIS_HOST')],
  }),
  'redis.port': setting(port, {
    doc: "Redis' port.",
    services: internal,
    default: 6379,
    aliases: [alias('001', 'REDIS_PORT')],
  }),
  'redis.password': setting(secret, {
    doc: "Redis' password.",
    services: internal,
    secret: true,
    aliases: [alias('001', 'REDIS_PASSWORD'), alias('002', 'REDIS_PASSWORD')],
  }),
  'redis.tls': setting(flag, {
    doc: 'Whether to speak TLS to Redis; its certificate is verified.',
    services: internal,
    computed: '`true` in staging and production when the host is not loopback',
  }),

  'auth.jwt_secret': setting(secret, {
    doc: 'Signs access tokens: 32 characters or more, the same for all instances (`openssl rand -base64 48`).',
    services: [...internal, 'cli'],
    requiredBy: edge,
    secret: true,
    aliases: [alias('002', 'JWT_SECRET')],
  }),
  'auth.token_ttl_s': setting(integer({ min: 60, max: 86_400 }), {
    doc: 'How long an access token is valid.',
    services: internal,
    default: 900,
    unit: 's',
  }),
  'auth.service_secret': setting(secret, {
    doc: 'Signs the tokens with which services call each other: the same for all of them.',
    services: [...internal, 'cli'],
    computed: 'derived from `auth.jwt_secret`',
    requiredBy: internal,
    secret: true,
  }),
  'auth.issuer': setting(text, {
    doc: 'The `iss` of access tokens (RFC 9068).',
    services: internal,
    computed: '`server.public_url`',
  }),
  'auth.audience': setting(text, {
    doc: 'The `aud` of access tokens (RFC 9068).',
    services: internal,
    default: 'florin',
  }),

  'rate_limit.max': setting(integer({ min: 1, max: 1_000_000_000 }), {
    doc: 'Requests per window, of one credential, else of one address. Health checks do not count.',
    services: edge,
    default: 100,
    aliases: [alias('001', 'RATIONALE_LIMIT'), alias('001', 'RATE_LIMIT'), alias('003', 'RATE_LIMIT_MAX')],
  }),
  'rate_limit.window_ms': setting(integer({ min: 1000, max: 86_400_000 }), {
    doc: 'The length of the window.',
    services: edge,
    default: 60_000,
    unit: 'ms',
    aliases: [
      alias('001', 'RATIONALE_WINDOW'),
      alias('001', 'RATE_WINDOW'),
      alias('003', 'RATE_LIMIT_WINDOW_MS'),
    ],
  }),

  ...observerSettings,

  'secrets.source': setting(choice(['file', 'environment']), {
    doc: 'Where client secrets of vendors are kept: an encrypted file, or variables and mounted files (read only).',
    services: decrypting,
    default: 'file',
  }),
  'secrets.file': setting(file, {
    doc: 'The encrypted file, for the source `file`.',
    services: decrypting,
    computed: '`.florin/client-secrets.json` in the folder of Florin',
  }),
  'secrets.directory': setting(text, {
    doc: 'Where secrets are mounted as files, e.g. `/run/secrets`, for the source `environment`.',
    services: decrypting,
  }),

  'encryption.master_key': setting(key, {
    doc:
      'Wraps the keys of everything encrypted at rest: base64 of 32 bytes (`openssl rand -base64 32`). ' +
      'Lost means unreadable: keep a copy elsewhere.',
    services: decrypting,
    computed: 'derived from `auth.jwt_secret`, with a warning',
    requiredBy: ['all', 'api', 'eapi', 'sapi', 'worker'],
    secret: true,
    aliases: [alias('002', 'ENCRYPTION_KEY')],
  }),
  'encryption.previous_master_key': setting(key, {
    doc: 'The master key before this one, while it is being replaced: it still opens what it wrapped.',
    services: decrypting,
    secret: true,
  }),

  'payments.connector_timeout_ms': setting(timeoutMs, {
    doc: 'How long a payment backend may take to answer; after that the outcome is `unknown` and is asked for.',
    services: [...core, 'worker'],
    default: 10_000,
    unit: 'ms',
  }),

  ...outsideSettings,
};

/** The path of a setting, as messages and YAML files write it: `server.tls.cert_file`. */
export type SettingPath = keyof typeof settings;
