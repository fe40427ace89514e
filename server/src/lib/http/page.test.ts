import fc from 'fast-check';
import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { AppError } from '../errors.ts';
import { decodeCursor, encodeCursor, pageOf } from './page.ts';

const position = Type.Tuple([Type.String(), Type.Integer()]);

test('a cursor is read back as the position it was made from', () => {
  fc.assert(
    fc.property(fc.string(), fc.integer(), (text, number) => {
      expect(decodeCursor(encodeCursor([text, number]), position)).toEqual([text, number]);
    }),
    { seed: 42 },
  );
  expect(decodeCursor(undefined, position)).toBeUndefined();
});

test('a cursor that this list did not give out is refused by name', () => {
  const foreign = encodeCursor(['a']);
  for (const cursor of [
    '',
    'x',
    '!!',
    `${encodeCursor(['a', 1])}A`,
    foreign,
    Buffer.from('{"a":1}').toString('base64url'),
  ]) {
    const refusal = (() => {
      try {
        return decodeCursor(cursor, position);
      } catch (error) {
        return error;
      }
    })();
    expect(refusal).toBeInstanceOf(AppError);
    expect(refusal).toMatchObject({ code: 'invalid_request', faults: [{ field: 'cursor' }] });
  }
});

test('a page shows at most its limit and points to the next one only when there is one', () => {
  const options = { limit: 2, positionOf: (row: number) => [row], render: (row: number) => ({ row }) };
  expect(pageOf([1, 2, 3], options)).toEqual({
    data: [{ row: 1 }, { row: 2 }],
    has_more: true,
    next_cursor: encodeCursor([2]),
  });
  expect(pageOf([1, 2], options)).toEqual({
    data: [{ row: 1 }, { row: 2 }],
    has_more: false,
    next_cursor: null,
  });
  expect(pageOf([], options)).toEqual({ data: [], has_more: false, next_cursor: null });
});
