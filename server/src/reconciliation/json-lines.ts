import { columns, isFault, lineFault, type LineFault, type LineValues } from './line.ts';
import type { TextLine } from './text-lines.ts';

/** Reads JSON lines: one object a line, its members named like the columns of the CSV form, all of them texts. */
export const jsonRecords = async function* (
  lines: AsyncIterable<TextLine | LineFault>,
): AsyncGenerator<LineValues | LineFault> {
  for await (const line of lines) yield isFault(line) ? line : recordOf(line);
};

const recordOf = ({ line, text }: TextLine): LineValues | LineFault => {
  const members = objectIn(text);
  if (!members) return lineFault(line, 'must be one JSON object, such as {"kind":"charge", …}');
  const values: LineValues['values'] = {};
  for (const [name, value] of Object.entries(members)) {
    const column = columns.find((each) => each === name);
    if (!column)
      return lineFault(
        line,
        `has the unknown member "${name.slice(0, 40)}"; those of a statement are ${columns.join(', ')}`,
      );
    if (value === null || value === '') continue;
    // A number would have been through a float already.
    if (typeof value !== 'string')
      return lineFault(line, 'must be a text in quotes, such as "10.50"', { column });
    values[column] = value.trim();
  }
  return { line, values };
};

const objectIn = (text: string): object | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
};
