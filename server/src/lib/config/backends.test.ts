import { describe, expect, test } from 'vitest';
import { inspectConfig } from './config.ts';
import type { Env, Service } from './environment.ts';

const check = (env: Env, service: Service = 'sapi') => {
  const { faults, warnings } = inspectConfig({ service, env });
  const about = (text: string): boolean => /^(backend|stripe)\./.test(text);
  return { faults: faults.filter(about), warnings: warnings.filter(about) };
};

const secret = 'a secret of 32 characters or more';
const url = 'https://backend.example.com/florin';
const clean = { faults: [], warnings: [] };

describe('a payment backend', () => {
  test('is an address with a secret, and is nothing to services that call none', () => {
    expect(check({ PAYMENTS_BACKEND_URL: url, PAYMENTS_BACKEND_SECRET: secret })).toEqual(clean);
    expect(check({})).toEqual(clean);
    expect(check({ PAYMENTS_BACKEND_URL: url }, 'eapi')).toEqual(clean);
  });

  test('without a secret is a fault that says what to set', () => {
    for (const service of ['sapi', 'worker', 'api', 'all'] as const) {
      expect(check({ PAYMENTS_BACKEND_URL: url }, service).faults).toEqual([
        'backend.secret required with backend.url: set PAYMENTS_BACKEND_SECRET (openssl rand -base64 48)',
      ]);
    }
  });

  test('with a short secret is a fault, and a secret without an address a warning', () => {
    expect(check({ PAYMENTS_BACKEND_URL: url, PAYMENTS_BACKEND_SECRET: 'short' }).faults).toEqual([
      'backend.secret must be at least 32 characters',
    ]);
    expect(check({ PAYMENTS_BACKEND_SECRET: secret }).warnings).toHaveLength(1);
  });

  test('over plain http is refused in production, unless it is on this machine', () => {
    const faultsOf = (address: string, env = 'production') =>
      check({ ENV: env, PAYMENTS_BACKEND_URL: address, PAYMENTS_BACKEND_SECRET: secret }).faults;
    const fault = 'backend.url must be https in production, unless it is on this machine';
    expect(faultsOf('http://backend.example.com')).toEqual([fault]);
    expect(faultsOf('http://10.0.0.8:4000')).toEqual([fault]);
    for (const near of ['http://127.0.0.1:4000', 'http://localhost:4000', 'http://[::1]:4000', url])
      expect(faultsOf(near)).toEqual([]);
    expect(faultsOf('http://10.0.0.8:4000', 'dev')).toEqual([]);
  });
});

describe('Stripe', () => {
  test('half of its secrets is a warning', () => {
    const both = { PAYMENTS_STRIPE_SECRET_KEY: 'sk_test_1', PAYMENTS_STRIPE_WEBHOOK_SECRET: 'whsec_1' };
    expect(check(both)).toEqual(clean);
    expect(check({ PAYMENTS_STRIPE_SECRET_KEY: 'sk_test_1' }).warnings).toHaveLength(1);
    expect(check({ PAYMENTS_STRIPE_WEBHOOK_SECRET: 'whsec_1' }).warnings).toHaveLength(1);
    // A worker only asks.
    expect(check({ PAYMENTS_STRIPE_SECRET_KEY: 'sk_test_1' }, 'worker')).toEqual(clean);
  });
});
