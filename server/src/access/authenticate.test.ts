import { describe, expect, test } from 'vitest';
import { manualClock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import type { SecretSource } from '../secrets/source.ts';
import type { ClientRecord } from '../vendors/credentials.ts';
import { authenticator, decoyPath } from './authenticate.ts';
import type { Directory } from './directory.ts';
import { accessTokens } from './tokens.ts';
import { watch } from './watch.ts';

const vendorId = newId('vendor');
const decoy = `vault ${decoyPath}`;
const clientOf = (clientId: string, changes: Partial<ClientRecord> = {}): ClientRecord => ({
  clientId,
  vendorId,
  tenantId: 1,
  mode: 'test',
  role: 'developer',
  enabled: true,
  secretPath: `vendors/${clientId}`,
  validVersions: null,
  ...changes,
});

/** An authenticator on a directory and a vault that write down every step. */
const recorded = (clients: ClientRecord[], stored: Record<string, string>) => {
  const clock = manualClock('2026-11-22T08:00:00Z');
  const steps: string[] = [];
  const vault = { isAway: false };
  const unused = () => Promise.reject(new Error('not asked in this test'));
  const directory: Directory = {
    findClient: async (clientId) => {
      steps.push('directory');
      return clients.find((client) => client.clientId === clientId);
    },
    resolveApiKey: unused,
    findVendor: unused,
    revocationsSince: unused,
    recordUsage: unused,
    recordSecurityEvent: unused,
    health: unused,
  };
  const secrets: SecretSource = {
    name: 'recorded',
    writable: false,
    read: async (path, version = 'current') => {
      steps.push(`vault ${path}`);
      if (vault.isAway) throw new Error('connect ECONNREFUSED');
      const value = stored[`${path}@${version}`];
      return value === undefined ? undefined : { version, value: new Secret(value), createdAt: undefined };
    },
    versions: unused,
    write: unused,
    list: unused,
    remove: unused,
  };
  const settings = { jwtSecret: new Secret('secret'), tokenTtlS: 900, issuer: 'i', audience: 'a' };
  const tokens = accessTokens(settings, clock);
  const prover = authenticator({ directory, secrets, tokens, clock });
  const attempt = async (clientId: string, secret: string) => {
    steps.length = 0;
    const outcome = await prover
      .proveClient({ clientId, secret: new Secret(secret) }, () => steps.push('guard'))
      .then(
        () => 'proven',
        (error: Error) => error.message,
      );
    return { outcome, steps: [...steps] };
  };
  return { attempt, clock, prover, directory, clients, stored, vault };
};

describe('client credentials', () => {
  test('unknown client, wrong secret and disabled vendor take the same steps, the first time and every other', async () => {
    const { attempt } = recorded([clientOf('shop'), clientOf('closed', { enabled: false })], {
      'vendors/shop@current': 'right',
      'vendors/closed@current': 'right',
      [`${decoyPath}@current`]: 'decoy',
    });
    const refused = 'The client id or the client secret is not valid.';
    const attempts = [
      ['shop', 'wrong', 'vendors/shop'],
      ['closed', 'right', 'vendors/closed'],
      ['closed', 'wrong', 'vendors/closed'],
      ['nobody', 'right', decoyPath],
      ['nobody', 'decoy', decoyPath],
      ['', '', decoyPath],
      ["no' client id", 'x', decoyPath],
    ] as const;
    for (const [clientId, secret, path] of attempts.slice(0, 5)) {
      await attempt(clientId, 'warm up');
      expect(await attempt(clientId, secret)).toEqual({
        outcome: refused,
        steps: ['guard', `vault ${path}`, decoy],
      });
    }
    const { attempt: fresh } = recorded([clientOf('shop'), clientOf('closed', { enabled: false })], {
      'vendors/shop@current': 'right',
      'vendors/closed@current': 'right',
    });
    expect((await fresh('shop', 'wrong')).steps).toEqual(['guard', 'directory', 'vault vendors/shop', decoy]);
    expect((await fresh('closed', 'right')).steps).toEqual([
      'guard',
      'directory',
      'vault vendors/closed',
      decoy,
    ]);
    expect((await fresh('nobody', 'wrong')).steps).toEqual(['guard', 'directory', decoy, decoy]);
    for (const [clientId, secret] of attempts.slice(5))
      expect((await fresh(clientId, secret)).outcome).toBe(refused);
  });

  test('a proven secret is not looked up again for a minute', async () => {
    const { attempt, clock } = recorded([clientOf('shop')], { 'vendors/shop@current': 'right' });
    expect((await attempt('shop', 'right')).steps).toEqual([
      'guard',
      'directory',
      'vault vendors/shop',
      decoy,
    ]);
    expect(await attempt('shop', 'right')).toEqual({ outcome: 'proven', steps: [] });
    clock.advance(60_000);
    expect((await attempt('shop', 'right')).steps).toEqual([
      'guard',
      'directory',
      'vault vendors/shop',
      decoy,
    ]);
  });

  test('a secret that was right until its vendor was disabled takes all steps again', async () => {
    const { attempt, clients, prover } = recorded([clientOf('shop')], { 'vendors/shop@current': 'right' });
    expect((await attempt('shop', 'right')).outcome).toBe('proven');
    clients[0] = clientOf('shop', { enabled: false });
    prover.forget([{ kind: 'vendor', subject: vendorId }]);
    const refused = await attempt('shop', 'right');
    expect(refused).toEqual({
      outcome: expect.not.stringMatching('proven'),
      steps: ['guard', 'directory', 'vault vendors/shop', decoy],
    });
    expect((await attempt('shop', 'right')).steps).toEqual(['guard', 'vault vendors/shop', decoy]);
  });

  test('while a rotation runs an attempt takes as many steps as ever', async () => {
    const { attempt } = recorded([clientOf('shop', { validVersions: ['2', '3'] })], {});
    expect((await attempt('shop', 'x')).steps).toEqual([
      'guard',
      'directory',
      'vault vendors/shop',
      'vault vendors/shop',
    ]);
    expect((await attempt('nobody', 'x')).steps).toEqual(['guard', 'directory', decoy, decoy]);
  });

  test('while a rotation runs both versions count, and only those', async () => {
    const { attempt, clients, prover, stored } = recorded([clientOf('shop')], {
      'vendors/shop@current': 'new',
    });
    Object.assign(stored, { 'vendors/shop@1': 'older', 'vendors/shop@2': 'old', 'vendors/shop@3': 'new' });
    expect((await attempt('shop', 'old')).outcome).not.toBe('proven');
    clients[0] = clientOf('shop', { validVersions: ['2', '3'] });
    prover.forget([{ kind: 'client', subject: 'shop' }]);
    expect((await attempt('shop', 'old')).outcome).toBe('proven');
    expect((await attempt('shop', 'new')).outcome).toBe('proven');
    expect((await attempt('shop', 'older')).outcome).not.toBe('proven');
    clients[0] = clientOf('shop', { validVersions: ['3'] });
    prover.forget([{ kind: 'client', subject: 'shop' }]);
    expect((await attempt('shop', 'old')).outcome).not.toBe('proven');
  });

  test('a client without a secret in the vault is refused, with an empty secret too', async () => {
    const { attempt } = recorded([clientOf('shop')], {});
    expect((await attempt('shop', '')).outcome).not.toBe('proven');
  });

  test('the decoy, which stands in for what a client has not, opens no client', async () => {
    const { attempt } = recorded([clientOf('shop')], {
      'vendors/shop@current': 'right',
      [`${decoyPath}@current`]: 'decoy',
    });
    expect((await attempt('shop', 'decoy')).outcome).not.toBe('proven');
    expect((await attempt('shop', 'right')).outcome).toBe('proven');
  });

  test('a vault that is away is 503, not a wrong secret', async () => {
    const { attempt, vault } = recorded([clientOf('shop')], { 'vendors/shop@current': 'right' });
    vault.isAway = true;
    expect((await attempt('shop', 'right')).outcome).toMatch('can’t be checked right now');
    vault.isAway = false;
    expect((await attempt('shop', 'right')).outcome).toBe('proven');
  });
});

describe('the watch', () => {
  test('an edge begins at the last revocation with empty caches, and then hears every one of them once', async () => {
    const { prover, directory } = recorded([], {});
    const forgotten: unknown[] = [];
    const asked: (string | undefined)[] = [];
    const answers = [
      { last: '7', revocations: [{ kind: 'token' as const, subject: 'old' }] },
      {
        last: '9',
        revocations: [
          { kind: 'vendor' as const, subject: 'a' },
          { kind: 'client' as const, subject: 'b' },
        ],
      },
      { last: '9', revocations: [] },
    ];
    const eye = watch({
      directory: {
        ...directory,
        revocationsSince: async (last) => {
          asked.push(last);
          return answers.shift() ?? { last: last ?? '0', revocations: [] };
        },
      },
      authenticator: {
        ...prover,
        forget: (list) => forgotten.push(...list),
        forgetAll: () => forgotten.push('all'),
      },
      onFailure: () => undefined,
    });
    await eye.poll();
    await eye.poll();
    expect(asked).toEqual([undefined, '7', '9']);
    expect(forgotten).toEqual([
      'all',
      { kind: 'token', subject: 'old' },
      { kind: 'vendor', subject: 'a' },
      { kind: 'client', subject: 'b' },
    ]);
  });

  test('a failed poll is told and tried again from the same point', async () => {
    const { prover, directory } = recorded([], {});
    const failures: string[] = [];
    let isAway = true;
    const asked: (string | undefined)[] = [];
    const eye = watch({
      directory: {
        ...directory,
        revocationsSince: async (last) => {
          asked.push(last);
          if (isAway) throw new Error('away');
          return { last: '3', revocations: [] };
        },
      },
      authenticator: prover,
      onFailure: (_, what) => failures.push(what),
    });
    await eye.poll();
    isAway = false;
    await eye.poll();
    expect(failures).toEqual(['revocations could not be read']);
    expect(asked).toEqual([undefined, undefined]);
  });
});
