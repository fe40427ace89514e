import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  blindIndex,
  deriveKey,
  digestsEqual,
  keyFrom,
  localKeyWrapper,
  newKey,
  open,
  randomSecret,
  seal,
  sealedUnder,
} from './crypto.ts';
import { Secret } from './secret.ts';

const context = 'customers.customers:cus_01h455vb4pex5vsknk084sn02q:sealed';
const master = keyFrom(new Secret(Buffer.alloc(32, 7).toString('base64')));

/** What an error says, with everything that a log would print of it. */
const complaintOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return inspect(error, { depth: 5, showHidden: true });
  }
  throw new Error('It was expected to fail.');
};

describe('seal and open', () => {
  test('whatever is sealed opens to the same bytes, and equal plaintexts never look alike', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.string(), (plaintext, where) => {
        const sealed = seal(master, plaintext, where);
        expect(open(master, sealed, where).equals(plaintext)).toBe(true);
        expect(seal(master, plaintext, where).equals(sealed)).toBe(false);
        expect(sealed.length).toBe(plaintext.length + 33);
      }),
      { seed: 1 },
    );
  });

  test('a change of any one bit is refused', () => {
    const sealed = seal(master, 'alice@example.com', context);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const altered = Buffer.from(sealed);
      altered.writeUInt8(altered.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => open(master, altered, context)).toThrow(/altered|not a whole|not configured/);
    }
  });

  test('a value cut off at any length, or lengthened, is refused', () => {
    const sealed = seal(master, 'alice@example.com', context);
    for (let length = 0; length < sealed.length; length++) {
      expect(() => open(master, sealed.subarray(0, length), context)).toThrow(/altered|not a whole/);
    }
    expect(() => open(master, Buffer.concat([sealed, Buffer.of(0)]), context)).toThrow(/altered/);
  });

  test('a value opens in its own context only', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (here, there) => {
        fc.pre(here !== there);
        expect(() => open(master, seal(master, 'x', here), there)).toThrow(/belongs elsewhere/);
      }),
      { seed: 2 },
    );
  });

  test('a value opens with its own key only, also among several', () => {
    const [one, two, other] = [newKey(), newKey(), newKey()];
    const sealed = seal(one, 'x', context);
    expect(open([two, one], sealed, context).toString()).toBe('x');
    expect(sealedUnder(sealed)).toBe(one.id);
    expect(() => open([two, other], sealed, context)).toThrow(
      `Sealed under key ${one.id}, which is not configured`,
    );
    // A forged key id leads to the wrong key, whose tag does not match.
    const forged = Buffer.from(sealed);
    forged.write(two.id, 1, 'hex');
    expect(() => open(two, forged, context)).toThrow(/altered/);
  });

  test('errors and printed keys carry neither key nor plaintext', () => {
    const sealed = seal(master, 'alice@example.com', context);
    const complaints = [
      complaintOf(() => open(master, sealed, 'elsewhere')),
      complaintOf(() => open(newKey(), sealed, context)),
      complaintOf(() => open(master, sealed.subarray(0, 20), context)),
      complaintOf(() => keyFrom(new Secret('alice'))),
      inspect(master, { depth: 5, showHidden: true }),
      JSON.stringify(master),
    ].join('\n');
    expect(complaints).not.toMatch(/alice|BwcHBw|07070707|07 07 07/);
  });
});

describe('keys', () => {
  test('a key has to be the base64 text of 32 bytes', () => {
    expect(keyFrom(new Secret(`${Buffer.alloc(32, 7).toString('base64')}\n`)).id).toBe(master.id);
    for (const text of [
      '',
      'short',
      Buffer.alloc(31).toString('base64'),
      Buffer.alloc(33).toString('base64'),
      'é'.repeat(43),
    ]) {
      expect(() => keyFrom(new Secret(text))).toThrow('base64 text of 32 bytes');
    }
  });

  test('derived keys depend on purpose and master, and stay the same from release to release', () => {
    const derived = deriveKey(master, 'customers.email-index');
    expect(derived.secret.export().toString('hex')).toBe(
      '6e20d4f0966bea6b01a2c7e539a64cebfe35b864c7a6a54b25dcddbb8a15654a',
    );
    expect(deriveKey(master, 'customers.email-index').id).toBe(derived.id);
    expect(deriveKey(master, 'other').id).not.toBe(derived.id);
    expect(deriveKey(newKey(), 'customers.email-index').id).not.toBe(derived.id);
  });

  test('a blind index depends on key and value only', () => {
    const key = deriveKey(master, 'customers.email-index');
    expect(blindIndex(key, 'a').equals(blindIndex(key, 'a'))).toBe(true);
    expect(blindIndex(key, 'a').equals(blindIndex(key, 'b'))).toBe(false);
    expect(blindIndex(newKey(), 'a').equals(blindIndex(key, 'a'))).toBe(false);
    expect(blindIndex(key, 'a')).toHaveLength(32);
  });
});

describe('the local key wrapper', () => {
  test('a data key survives wrapping, in its own context only', async () => {
    const wrapper = localKeyWrapper({ current: master });
    const dataKey = newKey();
    const wrapped = await wrapper.wrap(dataKey, 'customers.keys:cus_1');
    expect((await wrapper.unwrap(wrapped, 'customers.keys:cus_1')).secret.equals(dataKey.secret)).toBe(true);
    await expect(wrapper.unwrap(wrapped, 'customers.keys:cus_2')).rejects.toThrow('belongs elsewhere');
    expect(wrapped.includes(dataKey.secret.export())).toBe(false);
  });

  test('a new master key opens what the previous one wrapped, until it is withdrawn', async () => {
    const next = newKey();
    const wrapped = await localKeyWrapper({ current: master }).wrap(newKey(), 'c');
    const both = localKeyWrapper({ current: next, previous: master });
    await expect(both.unwrap(wrapped, 'c')).resolves.toBeDefined();
    const rewrapped = await both.wrap(await both.unwrap(wrapped, 'c'), 'c');
    await expect(localKeyWrapper({ current: next }).unwrap(rewrapped, 'c')).resolves.toBeDefined();
    await expect(localKeyWrapper({ current: next }).unwrap(wrapped, 'c')).rejects.toThrow('not configured');
  });
});

describe('comparing and making secrets', () => {
  test('digestsEqual agrees with ===, for any two texts of any lengths', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(digestsEqual(a, b)).toBe(a === b);
        expect(digestsEqual(a, a)).toBe(true);
      }),
      { seed: 3 },
    );
  });

  test('a new secret has the bytes asked for, is unlike the last, and prints nothing', () => {
    const secret = randomSecret(32);
    expect(Buffer.from(secret.reveal(), 'base64url')).toHaveLength(32);
    expect(randomSecret(32).reveal()).not.toBe(secret.reveal());
    expect(`${secret}`).toBe('[REDACTED]');
    expect(() => randomSecret(8)).toThrow(RangeError);
  });
});
