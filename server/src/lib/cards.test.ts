import { describe, expect, test } from 'vitest';
import { holdsCardNumber, refuseCardNumbers } from './cards.ts';
import { AppError } from './errors.ts';

describe('holdsCardNumber', () => {
  test.each([
    '4111111111111111',
    '4222222222222',
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
  ])('finds the one in %j', (text) => {
    expect(holdsCardNumber(text)).toBe(true);
  });

  test.each([
    '4111111111111112',
    '41111111111111110000000000',
    '1763798400000',
    '2026-11-22 08:00:00.000',
    '+49 30 901820 4711',
    'order 1042',
    '0'.repeat(16),
    '',
    'TEST-12345',
    '01h455vb4pex5vsknk084sn02q',
  ])('finds none in %j', (text) => {
    expect(holdsCardNumber(text)).toBe(false);
  });

  test('a long text of digits is read in time that grows with its length', () => {
    expect(holdsCardNumber('4 '.repeat(50_000))).toBe(false);
    expect(holdsCardNumber('41'.repeat(50_000))).toBe(false);
  });
});

describe('refuseCardNumbers', () => {
  const refusalOf = (fields: Parameters<typeof refuseCardNumbers>[0]): AppError => {
    try {
      refuseCardNumbers(fields);
    } catch (error) {
      if (error instanceof AppError) return error;
    }
    throw new Error('It was expected to refuse.');
  };

  test('names every field, of an object each member, and never the number', () => {
    const refused = refusalOf({
      name: '4111111111111111',
      phone: null,
      metadata: { order: '5555 5555 5555 4444', colour: 'red', '378282246310005': 'x' },
    });
    expect(refused.code).toBe('invalid_request');
    expect(refused.faults?.map(({ field }) => field)).toEqual(['name', 'metadata.order', 'metadata']);
    expect(JSON.stringify([refused.message, refused.faults])).not.toMatch(/\d{4}/);
  });

  test('what holds none passes', () => {
    expect(() => refuseCardNumbers({ name: 'Ada', phone: undefined, metadata: {} })).not.toThrow();
  });
});
