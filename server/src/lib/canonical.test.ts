import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalHash, canonicalJson, type Json } from './canonical.ts';

describe('canonical JSON (RFC 8785)', () => {
  test("the RFC's example of members in order", () => {
    const value = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    // The values, in the order of the RFC's section 3.2.3.
    expect(Object.values(JSON.parse(canonicalJson(value)) as object).length).toBe(7);
    const order = ['Carriage', 'One', 'Control', 'Latin', 'Euro', 'Emoji', 'Hebrew'];
    const places = order.map((word) => canonicalJson(value).indexOf(word));
    expect(places.toSorted((a, b) => a - b)).toEqual(places);
  });

  test("the RFC's example of numbers and strings", () => {
    const value = {
      // oxlint-disable-next-line no-loss-of-precision -- as the RFC writes it
      numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test('is what the reference library writes, for any value', () => {
    const keys = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('10', '2', '__proto__', 'a', 'toJSON', ''),
    );
    const { value: values } = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, true, false, -0, '\\ud800', '\\ud'),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.string({ unit: 'binary' }),
        fc.array(tie('value')),
        fc.dictionary(keys, tie('value')),
      ),
    }));
    fc.assert(
      fc.property(values, (value) => {
        expect(canonicalJson(value)).toBe(canonicalize(value));
      }),
      {
        numRuns: 500,
      },
    );
  });

  test('members that are undefined are left out, so they change no hash', () => {
    expect(canonicalHash({ b: 1, a: undefined })).toEqual(canonicalHash({ b: 1 }));
  });

  test('what is no JSON is refused', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, '\ud800', { a: ['\udead'] }]) {
      expect(() => canonicalJson(value)).toThrow(/not allowed/);
    }
  });
});
