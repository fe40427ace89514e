import type { FieldFault } from '../errors.ts';
import { depthMax } from './text.ts';

/** How many members and items a body may have in all; no operation takes a tenth of that. */
export const valuesMax = 5_000;

/** Smaller bodies cost little, however they are made. */
const smallBytes = 16 * 1024;

/**
 * What is wrong with the shape of a JSON text before it is parsed: nested too deep, or of too many values. A megabyte of
 * brackets or of members takes 50 to 100 ms to parse and check, in which nobody else is served; counting takes two.
 * @param bytes UTF-8; that it is JSON is for the parser to find out
 */
export const shapeFaults = (bytes: Buffer): FieldFault[] => {
  if (bytes.length <= smallBytes) return [];
  let depth = 0;
  let values = 1;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === quote) at = endOfText(bytes, at);
    else if (byte === comma) values += 1;
    else if (byte === openArray || byte === openObject) depth += 1;
    else if (byte === closeArray || byte === closeObject) depth -= 1;
    if (depth > depthMax) return [{ field: 'body', message: `must not nest deeper than ${depthMax} levels` }];
    if (values > valuesMax)
      return [{ field: 'body', message: `must not have more than ${valuesMax} values` }];
  }
  return [];
};

const endOfText = (bytes: Buffer, start: number): number => {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at;
};

const [quote, comma, openArray, openObject, closeArray, closeObject, backslash] = Buffer.from('",[{]}\\');
