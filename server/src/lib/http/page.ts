import { Type, type Static, type TProperties, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { invalidField } from '../errors.ts';

const limitMax = 100;
const limitDefault = 20;
const cursorLengthMax = 500;

/** The query of a list: `limit`, `cursor` and the filters of this list. */
export const listQuery = <Filters extends TProperties>(filters: Filters) =>
  Type.Object(
    {
      limit: Type.Integer({
        minimum: 1,
        maximum: limitMax,
        default: limitDefault,
        description: 'How many objects to answer at most.',
      }),
      cursor: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: cursorLengthMax,
          pattern: '^[A-Za-z0-9_-]+$',
          'x-expected': 'a `next_cursor` that this list gave out',
          description: 'Where to go on: `next_cursor` of the page before. Opaque, do not build it yourself.',
        }),
      ),
      ...filters,
    },
    { additionalProperties: false },
  );

/** The place of a row in the order of its list, such as `[createdAt, id]`. */
type Position = readonly (string | number)[];

/** Makes the opaque cursor that continues a list after the row at this position. */
export const encodeCursor = (position: Position): string =>
  Buffer.from(JSON.stringify(position), 'utf8').toString('base64url');

/**
 * Reads a cursor back into the position it was made from.
 * @param schema what the positions of this list look like, e.g. `Type.Tuple([Type.String(), Type.String()])`
 * @throws AppError 400 naming `cursor` when this list cannot have given it out
 */
export const decodeCursor = <Shape extends TSchema>(
  cursor: string | undefined,
  schema: Shape,
): Static<Shape> | undefined => {
  if (cursor === undefined) return undefined;
  const position = parsed(Buffer.from(cursor, 'base64url').toString('utf8'));
  if (
    !Value.Check(schema, position) ||
    Buffer.from(JSON.stringify(position)).toString('base64url') !== cursor
  ) {
    throw invalidField('cursor', 'is not a `next_cursor` that this list gave out');
  }
  return position;
};

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The envelope of every list. */
export type Page<Item> = { data: Item[]; has_more: boolean; next_cursor: string | null };

/**
 * Makes the answer of a list from the rows of its query, which asked for one row more than `limit`:
 * that one tells whether there is a next page.
 */
export const pageOf = <Row, Item>(
  rows: readonly Row[],
  page: { limit: number; positionOf: (row: Row) => Position; render: (row: Row) => Item },
): Page<Item> => {
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  const hasMore = rows.length > page.limit && last !== undefined;
  return {
    data: shown.map(page.render),
    has_more: hasMore,
    next_cursor: hasMore ? encodeCursor(page.positionOf(last)) : null,
  };
};
