import type { Service } from './environment.ts';
import { choice, flag, integer, secret, targets, url } from './kinds.ts';
import { alias, setting } from './setting.ts';

/** Those that write money. */
const core: readonly Service[] = ['all', 'api', 'sapi'];
/** Those that do what no request waits for. */
const working: readonly Service[] = ['all', 'api', 'worker'];
const both: readonly Service[] = [...core, 'worker'];

/** Settings of what goes to others: calls to payment backends, webhooks; and how long what they are told is kept. */
export const outsideSettings = {
  'backend.url': setting(url, {
    doc:
      'Where the payment backend of the connector `http` is (docs/backends.md). Not set: there is no such connector, and ' +
      'live payments are refused.',
    services: both,
  }),
  'backend.secret': setting(secret, {
    doc: 'Signs requests to that backend, and its callbacks to us: 32 characters or more.',
    services: both,
    secret: true,
  }),
  'stripe.secret_key': setting(secret, {
    doc: 'The secret key of a Stripe account. Not set: there is no connector `stripe`.',
    services: both,
    secret: true,
  }),
  'stripe.webhook_secret': setting(secret, {
    doc: "Verifies Stripe's webhooks to `/callbacks/stripe`: the signing secret of that endpoint.",
    services: core,
    secret: true,
  }),
  'stripe.url': setting(url, {
    doc: "Where Stripe's API is; another address is for tests.",
    services: both,
    default: 'https://api.stripe.com',
  }),

  'webhooks.retry_max': setting(integer({ min: 0, max: 50 }), {
    doc: 'How often a delivery that was not accepted is tried again. With the schedule `standard`, 14 reach three days.',
    services: both,
    default: 14,
    aliases: [alias('001', 'WEBHOOK_RETRY_MAX')],
  }),
  'webhooks.schedule': setting(choice(['standard', 'guide']), {
    doc:
      'The time between two attempts: `standard` grows from seconds to twelve hours, `guide` is 2^n seconds with up to a ' +
      'tenth of jitter.',
    services: both,
    default: 'standard',
  }),
  'webhooks.timeout_ms': setting(integer({ min: 100, max: 60_000 }), {
    doc: 'How long a receiver may take to answer.',
    services: both,
    default: 5000,
    unit: 'ms',
    aliases: [alias('001', 'WEBHOOK_TIMEOUT')],
  }),
  'webhooks.signature_version': setting(choice(['sha256']), {
    doc: 'The digest of signatures. There is one.',
    services: both,
    default: 'sha256',
    aliases: [alias('001', 'WEBHOOK_SIGNATURE_VERSION')],
  }),
  'webhooks.endpoints_max': setting(integer({ min: 1, max: 1000 }), {
    doc: 'How many webhook endpoints a vendor may have in each mode.',
    services: core,
    default: 20,
  }),
  'webhooks.disable_after_days': setting(integer({ min: 1, max: 365 }), {
    doc: 'An endpoint that accepted nothing for so long, while there was something to accept, is disabled.',
    services: working,
    default: 5,
    unit: 'days',
  }),
  'webhooks.in_flight_max': setting(integer({ min: 1, max: 10_000 }), {
    doc: 'How many deliveries a worker has under way at once.',
    services: working,
    default: 256,
  }),
  'webhooks.in_flight_per_endpoint_max': setting(integer({ min: 1, max: 1000 }), {
    doc: 'How many of them go to one endpoint.',
    services: working,
    default: 16,
  }),

  'outbound.allow': setting(targets, {
    doc:
      'Addresses, networks and host names that webhooks may be sent to although they are not public, e.g. ' +
      '`10.1.2.0/24,hooks.internal`.',
    services: both,
    default: [],
  }),
  'outbound.allow_loopback': setting(flag, {
    doc: 'Whether webhooks may be sent to this machine, over plain HTTP too: for development.',
    services: both,
    default: false,
  }),
  'outbound.proxy_url': setting(url, {
    doc: 'An HTTP proxy through which webhooks are sent (CONNECT, to the address that was checked).',
    services: both,
  }),

  'retention.idempotency_keys_h': setting(integer({ min: 24, max: 8760 }), {
    doc: 'How long a repeated Idempotency-Key is answered again; after that it is new.',
    services: working,
    default: 72,
    unit: 'hours',
  }),
  'retention.webhook_attempts_days': setting(integer({ min: 1, max: 3650 }), {
    doc: 'How long attempts to deliver webhooks, and deliveries that ended, are kept.',
    services: working,
    default: 30,
    unit: 'days',
  }),
  'retention.events_days': setting(integer({ min: 1, max: 36_500 }), {
    doc: 'How long events are shown at `/events` and can be replayed. Journal entries stay.',
    services: both,
    default: 90,
    unit: 'days',
  }),
};
