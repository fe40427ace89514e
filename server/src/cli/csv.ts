/**
 * Comma-separated values (RFC 4180). A text that a spreadsheet would run as a formula is led by an apostrophe; numbers
 * stay numbers, negative ones too.
 */
export const csv = (columns: readonly string[], rows: readonly (readonly string[])[]): string =>
  [columns, ...rows].map((row) => row.map(field).join(',')).join('\r\n');

const field = (text: string): string => {
  const isFormula = /^[=+\-@\t\r]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
