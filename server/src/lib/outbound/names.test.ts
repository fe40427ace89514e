import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { expect, test } from 'vitest';
import { manualClock } from '../clock.ts';
import { openNames, systemNames } from './names.ts';
import { isLocalhost, rulesOf } from './rules.ts';

const rules = rulesOf({ allow: ['allowed.invalid'], allowLoopback: false });

const counting = (answer: (asked: number) => readonly string[]) => {
  const asked: string[] = [];
  const clock = manualClock('2026-11-22T08:00:00Z');
  const lookup = async (host: string): Promise<readonly string[]> => {
    asked.push(host);
    return answer(asked.length);
  };
  return { asked, clock, names: openNames({ rules, clock, lookup }) };
};

test('a name is asked for once in five seconds, however many calls go there', async () => {
  const { asked, clock, names } = counting(() => ['8.8.8.8']);
  await Promise.all(Array.from({ length: 100 }, () => names.addressesOf('shop.example')));
  clock.advance(4_999);
  expect(await names.addressesOf('shop.example')).toEqual({ addresses: ['8.8.8.8'], isLoopback: false });
  expect(asked).toHaveLength(1);
  clock.advance(1);
  await names.addressesOf('shop.example');
  expect(asked).toHaveLength(2);
});

test('a name that answers with a private address the second time is refused the second time', async () => {
  const { clock, names } = counting((asked) => (asked === 1 ? ['8.8.8.8'] : ['10.0.0.1']));
  await names.addressesOf('rebind.example');
  clock.advance(5_000);
  await expect(names.addressesOf('rebind.example')).rejects.toMatchObject({ code: 'address_refused' });
});

test('how many names are remembered is bounded', async () => {
  const { asked, names } = counting(() => ['8.8.8.8']);
  for (let index = 0; index < 4_097; index += 1) await names.addressesOf(`${index}.example`);
  await names.addressesOf('4096.example');
  expect(asked).toHaveLength(4_097);
  await names.addressesOf('0.example');
  expect(asked).toHaveLength(4_098);
});

test('a name that does not exist and one that is inside read the same', async () => {
  const { names } = counting((asked) => {
    if (asked === 1) throw new Error('ENOTFOUND');
    return ['10.0.0.1'];
  });
  const messageOf = (host: string): Promise<unknown> =>
    names.addressesOf(host).catch((error: unknown) => (error instanceof Error ? error.message : error));
  const missing = await messageOf('missing.example');
  expect(missing).toMatch(/^no public address was found/);
  expect(await messageOf('inside.example')).toBe(missing);
});

test('a literal address is asked of nobody', async () => {
  const { asked, names } = counting(() => []);
  expect(await names.addressesOf('8.8.8.8')).toMatchObject({ addresses: ['8.8.8.8'] });
  expect(asked).toEqual([]);
});

test('localhost is this machine whatever a name server says', async () => {
  const lookup = systemNames(rules);
  expect(await lookup('localhost')).toEqual(['127.0.0.1', '::1']);
  expect(await lookup('shop.localhost')).toEqual(['127.0.0.1', '::1']);
});

/** A name that only this machine knows: of /etc/hosts, and not `localhost`. */
const ownName = readFileSync('/etc/hosts', 'utf8')
  .split('\n')
  .filter((line) => !line.startsWith('#'))
  .flatMap((line) => line.split(/\s+/).slice(1))
  .find((name) => name !== '' && !isLocalhost(name) && !name.includes('localhost'));

test.skipIf(ownName === undefined)(
  'names that this machine knows by itself are for hosts that the operator allowed',
  async () => {
    const host = ownName ?? '';
    const found = await systemNames({ isNamed: (name) => name === host })(host);
    expect(found.length).toBeGreaterThan(0);
    expect(found.every((address) => isIP(address) !== 0)).toBe(true);
  },
);

test('a name that cannot exist is not found', async () => {
  await expect(systemNames(rules)('shop.invalid')).rejects.toBeInstanceOf(Error);
  await expect(systemNames(rules)('allowed.invalid')).rejects.toBeInstanceOf(Error);
});
