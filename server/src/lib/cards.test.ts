import { describe, expect, test } from 'vitest';
import { randomUUID } from 'node:crypto';
import { cardFaults, holdsCardNumber } from './cards.ts';

describe('holdsCardNumber', () => {
  test.each([
    '4111111111111111',
    '5555555555554444',
    '2223003122003222',
    '378282246310005',
    '30569309025904',
    '3530111333300000',
    '6011111111111117',
    '6200000000000005',
    '6759649826438453',
    'card 4111 1111 1111 1111, exp 12/29',
    '4111-1111-1111-1111',
    '4111.1111_1111\u00a01111',
    '3782 822463 10005',
    '1 4111 1111 1111 1111 22',
    'id=7,pan=4111111111111111=2512',
    'x4111111111111111x',
    '4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1',
    '41 11 11 11 11 11 11 11',
    '+4111111111111111',
  ])('finds the one in %j', (text) => {
    expect(holdsCardNumber(text)).toBe(true);
  });

  test.each([
    '4111111111111112',
    '41111111111111110000000000',
    '1763798400000',
    '2026-11-22 08:00:00.000',
    '+49 30 901820 4711',
    '+4222222222222',
    '4222222222222',
    'k0-4123-1795336012',
    'order 5105 1051 0510510 0',
    '4111-11111111-1111',
    'a4111-1111-1111-1111-b',
    'order 1042',
    '0'.repeat(16),
    '',
    'TEST-12345',
    '01h455vb4pex5vsknk084sn02q',
  ])('finds none in %j', (text) => {
    expect(holdsCardNumber(text)).toBe(false);
  });

  test('keys made of an order number and a time are never taken for one', () => {
    const keys = Array.from({ length: 20_000 }, (_, order) => `k0-${order}-${1_795_336_012 + order}`);
    expect(keys.filter(holdsCardNumber)).toEqual([]);
  });

  test('random ids are hardly ever taken for one', () => {
    const taken = Array.from({ length: 20_000 }, randomUUID).filter(holdsCardNumber);
    expect(taken.length).toBeLessThanOrEqual(4);
  });

  test('a long text of digits is read in time that grows with its length', () => {
    expect(holdsCardNumber('4 '.repeat(50_000))).toBe(false);
    expect(holdsCardNumber('41'.repeat(50_000))).toBe(false);
  });
});

describe('cardFaults', () => {
  test('names every field, of an object the member, and never the number', () => {
    const faults = cardFaults({
      name: '4111111111111111',
      amount: 5,
      nested: { deep: ['fine', 'pay with 4111 1111 1111 1111'] },
      metadata: { '4111111111111111': 'a' },
      nothing: null,
    });
    expect(faults.map(({ field }) => field)).toEqual(['name', 'nested.deep.1', 'metadata']);
    expect(JSON.stringify(faults)).not.toMatch(/4111/);
  });

  test('finds nothing in a body without one, whatever its form', () => {
    for (const value of [null, 5, 'text', [], {}, { amount: '100.00', on: true }])
      expect(cardFaults(value)).toEqual([]);
  });
});
