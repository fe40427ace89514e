import { idBytes, type Id, type IdKind } from './ids.ts';

/**
 * Columns of many rows as parameters of one statement: PostgreSQL arrays in their binary form, which pg sends as it is
 * when a parameter is a `Buffer`. A batch of payments as `jsonb` cost the server twice as much to take apart.
 * (PostgreSQL, `array_send` and the `_send` functions of the element types; all numbers big-endian.)
 */
export type Column = Buffer;

type Value = string | number | bigint | Buffer | Date | null | undefined;

/** Object identifiers of the element types (`pg_type.dat`); they are the same in every database. */
const oids = { uuid: 2950, text: 25, integer: 23, bigint: 20, jsonb: 3802, bytea: 17, timestamptz: 1184 };

/** `uuid[]` of public ids. */
export const uuidColumn = (ids: readonly (Id<IdKind> | null | undefined)[]): Column =>
  fixed(oids.uuid, 16, ids, (id, into, at) => idBytes(id).copy(into, at));

export const integerColumn = (values: readonly (number | null | undefined)[]): Column =>
  fixed(oids.integer, 4, values, (value, into, at) => into.writeInt32BE(value, at));

export const bigintColumn = (values: readonly bigint[]): Column =>
  fixed(oids.bigint, 8, values, (value, into, at) => into.writeBigInt64BE(value, at));

/** `timestamptz[]`, to the millisecond. */
export const timeColumn = (values: readonly Date[]): Column =>
  fixed(oids.timestamptz, 8, values, (value, into, at) => {
    // Microseconds since 2000 in halves of 32 bits: less than 2^53, and no BigInt a row.
    const microseconds = (value.getTime() - epochMs) * 1_000;
    into.writeInt32BE(Math.floor(microseconds / 2 ** 32), at);
    into.writeUInt32BE(((microseconds % 2 ** 32) + 2 ** 32) % 2 ** 32, at + 4);
  });

/** `bytea[]`. */
export const bytesColumn = (values: readonly (Buffer | null | undefined)[]): Column =>
  varying(oids.bytea, values, {
    lengthMax: (value) => value.length,
    write: (value, into, at) => value.copy(into, at),
  });

export const textColumn = (values: readonly (string | null | undefined)[]): Column =>
  varying(oids.text, values, texts);

/** `jsonb[]` of values that are JSON text already. */
export const jsonColumn = (values: readonly string[]): Column =>
  varying(oids.jsonb, values, {
    lengthMax: (value) => 1 + texts.lengthMax(value),
    write: (value, into, at) => {
      // The version of the binary form comes first.
      into[at] = 1;
      return 1 + texts.write(value, into, at + 1);
    },
  });

const epochMs = Date.UTC(2000, 0, 1);

const texts = {
  // Three bytes at most for each UTF-16 code unit.
  lengthMax: (value: string): number => value.length * 3,
  write: (value: string, into: Buffer, at: number): number => into.write(value, at, 'utf8'),
};

const headerLength = 20;

/** Dimensions, whether there are nulls, the type; then, of the one dimension, its length and first index. */
const writeHeader = (into: Buffer, oid: number, count: number): void => {
  into.writeInt32BE(1, 0);
  into.writeInt32BE(1, 4);
  into.writeInt32BE(oid, 8);
  into.writeInt32BE(count, 12);
  into.writeInt32BE(1, 16);
};

/** An array without elements has no dimension. */
const emptyColumn = (oid: number): Column => {
  const column = Buffer.alloc(12);
  column.writeInt32BE(oid, 8);
  return column;
};

const isNull = (value: Value): value is null | undefined => value === null || value === undefined;

const fixed = <T extends Value>(
  oid: number,
  length: number,
  values: readonly (T | null | undefined)[],
  write: (value: T, into: Buffer, at: number) => void,
): Column => {
  if (values.length === 0) return emptyColumn(oid);
  const column = Buffer.allocUnsafe(headerLength + values.length * (4 + length));
  writeHeader(column, oid, values.length);
  let at = headerLength;
  for (const value of values) {
    at = column.writeInt32BE(isNull(value) ? -1 : length, at);
    if (isNull(value)) continue;
    write(value, column, at);
    at += length;
  }
  return column.subarray(0, at);
};

type Writer<T> = { lengthMax(value: T): number; write(value: T, into: Buffer, at: number): number };

const varying = <T extends Value>(
  oid: number,
  values: readonly (T | null | undefined)[],
  { lengthMax, write }: Writer<T>,
): Column => {
  if (values.length === 0) return emptyColumn(oid);
  let size = headerLength;
  for (const value of values) size += 4 + (isNull(value) ? 0 : lengthMax(value));
  const column = Buffer.allocUnsafe(size);
  writeHeader(column, oid, values.length);
  let at = headerLength;
  for (const value of values) {
    const length = isNull(value) ? -1 : write(value, column, at + 4);
    column.writeInt32BE(length, at);
    at += 4 + Math.max(length, 0);
  }
  return column.subarray(0, at);
};
