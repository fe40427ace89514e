import { holdsCardNumber } from '../lib/cards.ts';
import { AppError } from '../lib/errors.ts';
import { textFaults } from '../lib/http/text.ts';
import { exponentOf, parseAmount } from '../lib/money.ts';
import { parseTime } from '../lib/time.ts';

/** The columns of a statement, in the order of the documentation. */
export const columns = [
  'reference',
  'backend_reference',
  'kind',
  'amount',
  'currency',
  'status',
  'date',
  'fee',
] as const;
export type ColumnName = (typeof columns)[number];

/** Those that a statement may do without. */
export const optionalColumns: readonly ColumnName[] = ['backend_reference', 'fee'];

/** One line of a backend's statement. Amounts are in minor units of `currency`. */
export type StatementLine = {
  /** As an editor counts: the header of a CSV file is line 1. */
  line: number;
  kind: 'charge' | 'refund';
  reference: string;
  backendReference: string | null;
  amountMinor: bigint;
  currency: string;
  status: 'succeeded' | 'failed' | 'pending';
  at: Date;
  /** What it cost the vendor; null where the statement does not say. */
  feeMinor: bigint | null;
};

/** What is wrong with a line of a statement: where, and what to change. After a final one nothing can be read. */
export type LineFault = { field: string; message: string; isFinal: boolean };

/** A fault of a line, or of one of its columns. */
export const lineFault = (
  line: number,
  message: string,
  { column, isFinal = false }: { column?: string; isFinal?: boolean } = {},
): LineFault => ({
  field: column === undefined ? `line ${line}` : `line ${line}, column ${column}`,
  message,
  isFinal,
});

export const isFault = (read: object): read is LineFault => 'isFinal' in read;

/** The values of a line as they stand in the file; a column that is absent or empty has none. */
export type LineValues = { line: number; values: Partial<{ [Name in ColumnName]: string }> };

/** Reads the values of a line, or gives every fault of it. */
export const readRecord = ({ line, values }: LineValues): StatementLine | LineFault[] => {
  const faults: LineFault[] = [];
  const attempt = <Value>(column: ColumnName, read: (text: string) => Value): Value | undefined => {
    const text = values[column];
    try {
      if (text === undefined) throw new AppError('invalid_request', 'is empty');
      return read(text);
    } catch (error) {
      // Whatever reads a value refuses it so; the rest are bugs.
      if (!(error instanceof AppError)) throw error;
      faults.push(lineFault(line, error.faults?.[0]?.message ?? error.message, { column }));
      return undefined;
    }
  };
  const optional = <Value>(column: ColumnName, read: (text: string) => Value): Value | null | undefined =>
    values[column] === undefined ? null : attempt(column, read);

  const currency = attempt('currency', currencyIn);
  const known = currency ?? 'USD';
  const read = {
    line,
    kind: attempt('kind', oneOf('charge', 'refund')),
    reference: attempt('reference', referenceIn),
    backendReference: optional('backend_reference', referenceIn),
    // In an unknown currency an amount is neither right nor wrong.
    amountMinor: currency === undefined ? undefined : attempt('amount', (text) => amountIn(text, known)),
    currency,
    status: attempt('status', oneOf('succeeded', 'failed', 'pending')),
    at: attempt('date', dateIn),
    feeMinor: currency === undefined ? undefined : optional('fee', (text) => feeIn(text, known)),
  };
  // Without a fault everything was read.
  return faults.length > 0 ? faults : (read as StatementLine);
};

const refuse = (message: string): AppError => new AppError('invalid_request', message);

const oneOf =
  <Choice extends string>(...choices: readonly Choice[]) =>
  (text: string): Choice => {
    const found = choices.find((choice) => choice === text);
    if (found) return found;
    throw refuse(`must be ${choices.slice(0, -1).join(', ')} or ${choices.at(-1) ?? ''}`);
  };

const referenceIn = (text: string): string => {
  if (text.length > 255) throw refuse('must be at most 255 characters long');
  const [fault] = textFaults(text);
  if (fault) throw refuse(fault.message);
  if (holdsCardNumber(text)) throw refuse('must not hold a card number; Florin stores none');
  return text;
};

const currencyIn = (text: string): string => {
  exponentOf(text);
  return text;
};

const amountIn = (text: string, currency: string): bigint => {
  if (/^\d{1,3}([.\s]\d{3})*,\d+$|^\d+,\d+$/.test(text))
    throw refuse('must have a point before the decimal places and no separators, such as "1000.50"');
  return parseAmount(text, currency, 'amount');
};

/** Unlike an amount, a fee may be nothing. */
const feeIn = (text: string, currency: string): bigint =>
  /^0(\.0{1,4})?$/.test(text) ? 0n : amountIn(text, currency);

const day = /^\d{4}-\d{2}-\d{2}$/;
const moment = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** A day counts as its first moment in UTC. */
const dateIn = (text: string): Date => {
  if (!day.test(text) && !moment.test(text))
    throw refuse('must be a day such as 2026-11-22, or a time with its offset such as 2026-11-22T08:00:00Z');
  const date = parseTime(day.test(text) ? `${text}T00:00:00Z` : text.replace(' ', 'T'), 'date');
  // JavaScript makes the 2nd of March of the 30th of February.
  if (day.test(text) && date.toISOString().slice(0, 10) !== text)
    throw refuse('must be a day of the calendar');
  return date;
};
