import { describe, expect, test } from 'vitest';
import { parseTime } from './time.ts';

describe('parseTime', () => {
  test('reads a time with its offset', () => {
    expect(parseTime('2026-11-22T09:00:00+01:00', 'from')).toEqual(new Date('2026-11-22T08:00:00Z'));
  });

  test.each([
    '2026-12-31T23:59:60Z',
    '9999-12-31T23:59:59-23:59',
    '1969-12-31T23:59:59Z',
    '2200-01-01T00:00:00Z',
    '2026-02-30T00:00:00.5+24:30',
  ])('refuses %s and names the field', (text) => {
    expect(() => parseTime(text, 'created_from')).toThrow(/^created_from: must be a time/);
  });
});
