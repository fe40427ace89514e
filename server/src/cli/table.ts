/** A table for a terminal: column names, a rule, rows. Columns named in `right` are aligned to the right. */
export const textTable = (
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number> = new Set(),
): string => {
  const cells = rows.map((row) => row.map(visible));
  const widths = columns.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (right.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join(' │ ')
      .trimEnd();
  return [line(columns), widths.map((width) => '─'.repeat(width)).join('─┼─'), ...cells.map(line)].join('\n');
};

/** Control characters, which could rewrite what a terminal shows, appear as symbols: U+0000 as U+2400 and so on. */
const visible = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (control) => {
    const code = control.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(code + 0x2400) : '␡';
  });
