import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AppError } from './errors.ts';
import { currencies, exponentOf, formatAmount, maxAmountMinor, parseAmount } from './money.ts';

const anyCurrency = fc.constantFrom(...currencies);
const anyMinor = fc.bigInt({ min: 1n, max: maxAmountMinor });

const refusal = (amount: string | number, currency = 'USD'): string => {
  try {
    parseAmount(amount, currency);
  } catch (error) {
    if (error instanceof AppError && error.faults?.[0])
      return `${error.faults[0].field}: ${error.faults[0].message}`;
  }
  return 'accepted';
};

describe('amounts (ISO 4217)', () => {
  test('parse(format(x)) = x for every currency', () => {
    fc.assert(
      fc.property(anyCurrency, anyMinor, (currency, minor) => {
        expect(parseAmount(formatAmount(minor, currency), currency)).toBe(minor);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ['JPY', 0],
    ['HUF', 2],
    ['IDR', 2],
    ['KWD', 3],
    ['IQD', 3],
    ['CLF', 4],
    ['UYW', 4],
    ['UYI', 0],
    ['USD', 2],
  ])('%s has %i decimal places', (currency, exponent) => {
    expect(exponentOf(currency)).toBe(exponent);
  });

  test.each(['XAU', 'XXX', 'usd', 'ABC', '', 'toString'])('"%s" is no payment currency', (currency) => {
    expect(() => exponentOf(currency)).toThrow(/currency/);
  });

  test('a JSON number is read by its shortest decimal form, a string as it stands', () => {
    expect(parseAmount(100.0, 'USD')).toBe(10_000n);
    expect(parseAmount(0.1, 'USD')).toBe(10n);
    expect(parseAmount(1.005, 'KWD')).toBe(1_005n);
    expect(parseAmount('9007199254740.93', 'USD')).toBe(900_719_925_474_093n);
    expect(parseAmount('5', 'JPY')).toBe(5n);
  });

  test.each([
    [0.1 + 0.2, /decimal places/],
    ['1.005', /2 decimal places/],
    ['-1', /positive decimal/],
    [-1, /positive decimal/],
    ['0', /more than zero/],
    ['0.00', /more than zero/],
    [-0, /more than zero/],
    ['1e3', /positive decimal/],
    [1e21, /positive decimal/],
    [1e-7, /positive decimal/],
    [Number.NaN, /positive decimal/],
    [Number.POSITIVE_INFINITY, /positive decimal/],
    ['', /positive decimal/],
    [' 1', /positive decimal/],
    ['1,5', /positive decimal/],
    ['01', /positive decimal/],
    ['.5', /positive decimal/],
    ['1.', /positive decimal/],
    ['٣', /positive decimal/],
    ['0x10', /positive decimal/],
    ['10000000000000', /at most 9999999999999.99 USD/],
    ['9'.repeat(400), /at most/],
  ])('%s is refused with the field named', (amount, reason) => {
    expect(refusal(amount)).toMatch(/^amount: /);
    expect(refusal(amount)).toMatch(reason);
  });

  test('over-precise amounts are refused, not rounded, in every currency', () => {
    fc.assert(
      fc.property(anyCurrency, fc.integer({ min: 1, max: 9 }), (currency, last) => {
        expect(refusal(`1.${'0'.repeat(exponentOf(currency))}${last}`, currency)).toMatch(/decimal places/);
      }),
    );
  });
});
