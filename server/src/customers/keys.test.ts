import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { manualClock } from '../lib/clock.ts';
import { newKey, type KeyWrapper } from '../lib/crypto.ts';
import { newId } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { openCustomerKeys, openPerson, sealPerson } from './keys.ts';

const encryption = { masterKey: new Secret(Buffer.alloc(32, 5).toString('base64')) };
const id = newId('customer');

/** A wrapper that counts its calls and fails when told to. */
const countingWrapper = () => {
  const state = { calls: 0, failing: false };
  const wrapper: KeyWrapper = {
    wrap: async () => Buffer.alloc(1),
    unwrap: async () => {
      state.calls++;
      if (state.failing) throw new Error('KMS is away');
      return newKey();
    },
  };
  return { state, wrapper };
};

describe('the cache of data keys', () => {
  const clock = manualClock('2026-11-22T08:00:00Z');
  const open = (cacheMax: number) => {
    const { state, wrapper } = countingWrapper();
    const keys = openCustomerKeys(encryption, { clock, wrapper, cacheMax, cacheAgeMs: 60_000 });
    return { state, read: (name: string) => keys.dataKeyOf(id, Buffer.from(name)) };
  };

  test('many at once share one call, until the key is too old', async () => {
    const { state, read } = open(10);
    await Promise.all(Array.from({ length: 50 }, () => read('a')));
    expect(state.calls).toBe(1);
    clock.advance(59_999);
    await read('a');
    expect(state.calls).toBe(1);
    clock.advance(1);
    await read('a');
    expect(state.calls).toBe(2);
  });

  test('holds no more than its bound, the longest unused goes first', async () => {
    const { state, read } = open(2);
    for (const name of ['a', 'b', 'a', 'c', 'a']) await read(name);
    expect(state.calls).toBe(3);
    await read('b');
    expect(state.calls).toBe(4);
  });

  test('a failure is told to everybody who waits and not remembered', async () => {
    const { state, read } = open(10);
    state.failing = true;
    const outcomes = await Promise.allSettled([read('a'), read('a')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(state.calls).toBe(1);
    state.failing = false;
    await expect(read('a')).resolves.toBeDefined();
  });
});

describe('persons and their emails', () => {
  const keys = openCustomerKeys(encryption, { clock: manualClock('2026-11-22T08:00:00Z') });

  test('whoever is sealed is opened unchanged, under their own id only', () => {
    const person = fc.record({
      email: fc.string(),
      name: fc.option(fc.string({ unit: 'binary' })),
      phone: fc.option(fc.string()),
    });
    const dataKey = newKey();
    fc.assert(
      fc.property(person, (each) => {
        const sealed = sealPerson(dataKey, id, each);
        expect(openPerson(dataKey, id, sealed)).toEqual(each);
        expect(() => openPerson(dataKey, newId('customer'), sealed)).toThrow('belongs elsewhere');
      }),
      { seed: 5 },
    );
  });

  test.each([
    ['Ada@Example.com', 'ada@example.COM'],
    [' ada@example.com\n', 'ada@example.com'],
    ['ad\u0061\u0308@example.com', 'ad\u00e4@example.com'],
  ])('%j and %j are one address', (a, b) => {
    expect(keys.emailIndexes(1, a)).toEqual(keys.emailIndexes(1, b));
  });

  test.each([
    ['ada@example.com', 'a.da@example.com'],
    ['ada@example.com', 'ada+1@example.com'],
    ['ada@example.com', 'ada@example.co'],
  ])('%j and %j are two addresses', (a, b) => {
    expect(keys.emailIndexes(1, a)).not.toEqual(keys.emailIndexes(1, b));
  });

  test('the index of an address differs from tenant to tenant', () => {
    expect(keys.emailIndexes(1, '1@example.com')).not.toEqual(keys.emailIndexes(11, '@example.com'));
    expect(keys.emailIndexes(1, 'ada@example.com')).not.toEqual(keys.emailIndexes(2, 'ada@example.com'));
  });
});
