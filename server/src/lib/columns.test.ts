import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../../test/setup/database.ts';
import {
  bigintColumn,
  bytesColumn,
  integerColumn,
  jsonColumn,
  textColumn,
  timeColumn,
  uuidColumn,
  type Column,
} from './columns.ts';
import { newId, toUuid } from './ids.ts';

const database = await testDatabase();
afterAll(() => database[Symbol.asyncDispose]());

/** What PostgreSQL read, as JSON. */
const read = async (column: Column, type: string): Promise<unknown> => {
  const { rows } = await sql<{ value: unknown }>`
    select to_jsonb(${column}::${sql.raw(type)}[]) as value
  `.execute(database.db);
  return rows[0]?.value;
};

const optional = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<(T | null)[]> =>
  fc.array(fc.option(values, { nil: null }), { maxLength: 20 });

/** PostgreSQL's texts have no character zero. */
const text = fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0'));

describe('columns are what PostgreSQL reads', () => {
  const property = <T>(values: fc.Arbitrary<T[]>, check: (values: T[]) => Promise<void>): Promise<void> =>
    fc.assert(fc.asyncProperty(values, check), { numRuns: 40 });

  test('texts, with nulls and any character', () =>
    property(optional(text), async (values) => {
      expect(await read(textColumn(values), 'text')).toEqual(values);
    }));

  test('integers', () =>
    property(optional(fc.integer()), async (values) => {
      expect(await read(integerColumn(values), 'integer')).toEqual(values);
    }));

  test('64-bit numbers', () =>
    property(fc.array(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)), async (values) => {
      const { rows } = await sql<{
        value: bigint[];
      }>`select ${bigintColumn(values)}::bigint[] as value`.execute(database.db);
      expect(rows[0]?.value).toEqual(values);
    }));

  test('ids', () =>
    property(optional(fc.constant('payment' as const)), async (kinds) => {
      const ids = kinds.map((kind) => kind && newId(kind));
      expect(await read(uuidColumn(ids), 'uuid')).toEqual(ids.map((id) => id && toUuid(id)));
    }));

  test('times before and after 2000', () =>
    property(
      fc.array(fc.date({ min: new Date(0), max: new Date('2200-01-01'), noInvalidDate: true })),
      async (values) => {
        const { rows } = await sql<{
          value: Date[];
        }>`select ${timeColumn(values)}::timestamptz[] as value`.execute(database.db);
        expect(rows[0]?.value).toEqual(values);
      },
    ));

  test('bytes', () =>
    property(optional(fc.uint8Array()), async (values) => {
      const column = bytesColumn(values.map((value) => value && Buffer.from(value)));
      const hex = values.map((value) => value && `\\x${Buffer.from(value).toString('hex')}`);
      expect(await read(column, 'bytea')).toEqual(hex);
    }));

  test('JSON', () =>
    property(
      fc.array(fc.dictionary(text, fc.oneof(text, fc.integer(), fc.constant(null)))),
      async (values) => {
        expect(await read(jsonColumn(values.map((value) => JSON.stringify(value))), 'jsonb')).toEqual(
          values.map((value) => JSON.parse(JSON.stringify(value)) as unknown),
        );
      },
    ));
});
