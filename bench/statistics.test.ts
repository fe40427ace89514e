import { describe, expect, test } from 'vitest';
import { median, quantile, ratiosOf, spreadOf } from './statistics.ts';

describe('figures', () => {
  test('a quantile is a value that was measured, by nearest rank', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect([0, 0.5, 0.95, 0.99, 1].map((q) => quantile(values, q))).toEqual([1, 50, 95, 99, 100]);
    expect(quantile([7], 0.999)).toBe(7);
    expect(quantile([], 0.5)).toBeNaN();
  });

  test('the median of an even number of values is the mean of the two in the middle', () => {
    expect(median([30, 10, 20])).toBe(20);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  test('numbers are sorted as numbers', () => {
    expect(spreadOf([9, 100, 11])).toEqual({ median: 11, min: 9, max: 100 });
    expect(quantile([9, 100, 11], 0.01)).toBe(9);
  });
});

describe('ratios', () => {
  test('each round is divided by its own yardstick, so that a machine that slows down changes nothing', () => {
    expect(ratiosOf([300, 150, 75], [100, 50, 25])).toEqual({ median: 3, min: 3, max: 3 });
  });

  test('there is none where a round lacks its yardstick', () => {
    expect(ratiosOf([300, 150], [100])).toBeUndefined();
    expect(ratiosOf([300], [undefined])).toBeUndefined();
    expect(ratiosOf([300], [0])).toBeUndefined();
    expect(ratiosOf([], [])).toBeUndefined();
  });
});
