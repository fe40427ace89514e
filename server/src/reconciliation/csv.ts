import {
  columns,
  isFault,
  lineFault,
  optionalColumns,
  type ColumnName,
  type LineFault,
  type LineValues,
} from './line.ts';
import type { TextLine } from './text-lines.ts';

/**
 * Reads comma-separated values (RFC 4180) with a header; semicolons and tabs do too, the header shows which. A value does
 * not go over several lines: none of a statement needs to.
 */
export const csvRecords = async function* (
  lines: AsyncIterable<TextLine | LineFault>,
): AsyncGenerator<LineValues | LineFault> {
  let header: Header | undefined;
  for await (const line of lines) {
    if (isFault(line)) {
      // Without the header nothing after it can be read.
      yield header ? line : lineFault(1, line.message, { isFinal: true });
    } else if (header) yield recordOf(line, header);
    else {
      const read = headerOf(line);
      if (isFault(read)) {
        yield read;
        return;
      }
      header = read;
    }
  }
  if (!header) yield lineFault(1, `must be the header: ${columns.join(',')}`, { isFinal: true });
};

type Header = { separator: string; names: readonly ColumnName[] };

const headerOf = ({ line, text }: TextLine): Header | LineFault => {
  const fault = (message: string): LineFault => lineFault(line, message, { isFinal: true });
  const separator = [',', ';', '\t'].find((each) => text.includes(each)) ?? ',';
  const cells = cellsOf(text, separator);
  if (typeof cells === 'string') return fault(cells);
  const given = cells.map((cell) => cell.trim().toLowerCase());
  const unknown = given.find((name) => !columns.some((column) => column === name));
  if (unknown !== undefined)
    return fault(
      `has the unknown column "${unknown.slice(0, 40)}"; the columns of a statement are ${columns.join(', ')}`,
    );
  const twice = given.find((name, index) => given.indexOf(name) !== index);
  if (twice !== undefined) return fault(`has the column ${twice} twice; leave one out`);
  const missing = columns.filter((name) => !optionalColumns.includes(name) && !given.includes(name));
  if (missing.length > 0)
    return fault(`lacks the column ${missing.join(', ')}; add it to the header and to every line`);
  // Each was found among the names of columns.
  return { separator, names: given as ColumnName[] };
};

const recordOf = ({ line, text }: TextLine, { separator, names }: Header): LineValues | LineFault => {
  const cells = cellsOf(text, separator);
  if (typeof cells === 'string') return lineFault(line, cells);
  if (cells.length !== names.length) {
    return lineFault(
      line,
      `has ${cells.length} values where the header has ${names.length}; quote a value that holds a "${separator}"`,
    );
  }
  const values: LineValues['values'] = {};
  names.forEach((name, index) => {
    const value = cells[index]?.trim() ?? '';
    if (value !== '') values[name] = value;
  });
  return { line, values };
};

/** The values of a line, or what is wrong with its quotes. */
const cellsOf = (text: string, separator: string): string[] | string => {
  const cells: string[] = [];
  for (let at = 0; at <= text.length;) {
    if (text[at] === '"') {
      const quoted = quotedAt(text, at);
      if (!quoted) return 'a quote is not closed; close it on the same line, and write a quote inside as ""';
      if (quoted.end < text.length && text[quoted.end] !== separator)
        return `there is text after a closing quote; put the whole value into quotes, and write a quote inside as ""`;
      cells.push(quoted.value);
      at = quoted.end + 1;
    } else {
      const next = text.indexOf(separator, at);
      const end = next === -1 ? text.length : next;
      cells.push(text.slice(at, end));
      at = end + 1;
    }
  }
  return cells;
};

const quotedAt = (text: string, start: number): { value: string; end: number } | undefined => {
  let value = '';
  for (let at = start + 1; ;) {
    const quote = text.indexOf('"', at);
    if (quote === -1) return undefined;
    value += text.slice(at, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    at = quote + 2;
  }
};
