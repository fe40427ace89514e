import { problemBounds } from './schemas.ts';

/** The part of a request that a fault is in; it names what is wrong with the part as a whole. */
export type Place = 'body' | 'query' | 'headers';

/** What a caller named is repeated so far and no further; a name is this long at most, its ellipsis included. */
const nameLengthMax = 61;

/** How refusals name a field, such as `metadata.colour`: the names on the way to it, long ones shortened. */
export const fieldOf = (names: readonly string[], place: Place): string =>
  names.length === 0
    ? place
    : shortened(names.map((name) => shortened(name, nameLengthMax)).join('.'), problemBounds.field);

/** A text of at most so many UTF-16 units. What is cut says so with an ellipsis, and no character is cut in half. */
export const shortened = (text: string, lengthMax: number): string =>
  text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1).replace(firstHalf, '')}…`;

/** The first half of a surrogate pair whose second half was cut off. */
const firstHalf = /[\ud800-\udbff]$/;
