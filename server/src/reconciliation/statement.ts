import { createHash } from 'node:crypto';
import type { AppError } from '../lib/errors.ts';
import { invalid } from '../lib/http/validation.ts';
import { isId, type Id } from '../lib/ids.ts';
import { csvRecords } from './csv.ts';
import { isFault, readRecord, type LineFault, type StatementLine } from './line.ts';
import { jsonRecords } from './json-lines.ts';
import { linesOf } from './text-lines.ts';

export type StatementFormat = 'csv' | 'jsonl';

/** What is known of a statement once all of it was read. */
export type StatementFacts = {
  lines: number;
  /** SHA-256 of its bytes. */
  digest: Buffer;
  /** Of its lines; undefined when it has none. */
  dates: { first: Date; last: Date } | undefined;
};

/** A statement has at most so many lines. */
export const statementLinesMax = 5_000_000;

/** So many faults are named; nobody mends more at a time. */
const faultsMax = 20;

/**
 * Reads a statement batch by batch, in bounded memory, and returns what is known of it as a whole. It reads on after a
 * fault, to name more of them at once.
 * @throws AppError `invalid_request` that names every line that is wrong, 20 at most, and what to change there
 */
export const readStatement = async function* (
  bytes: AsyncIterable<Buffer>,
  format: StatementFormat,
  { batchMax = 5_000 }: { batchMax?: number } = {},
): AsyncGenerator<StatementLine[], StatementFacts> {
  const hash = createHash('sha256');
  const records = (format === 'csv' ? csvRecords : jsonRecords)(
    linesOf(bytes, (chunk) => hash.update(chunk)),
  );
  const faults: LineFault[] = [];
  let batch: StatementLine[] = [];
  let lines = 0;
  let dates: StatementFacts['dates'];
  for await (const record of records) {
    if (isFault(record)) {
      faults.push(record);
      if (record.isFinal || faults.length >= faultsMax) break;
      continue;
    }
    const read = readRecord(record);
    if (Array.isArray(read)) {
      faults.push(...read);
      if (faults.length >= faultsMax) break;
      continue;
    }
    lines += 1;
    if (lines > statementLinesMax) throw tooMany();
    dates = widened(dates, read.at);
    if (faults.length > 0) continue;
    batch.push(read);
    if (batch.length < batchMax) continue;
    yield batch;
    batch = [];
  }
  if (faults.length > 0)
    throw invalid(faults.slice(0, faultsMax).map(({ field, message }) => ({ field, message })));
  if (batch.length > 0) yield batch;
  return { lines, digest: hash.digest(), dates };
};

const widened = (dates: StatementFacts['dates'], at: Date): NonNullable<StatementFacts['dates']> => ({
  first: dates === undefined || at < dates.first ? at : dates.first,
  last: dates === undefined || at > dates.last ? at : dates.last,
});

const tooMany = (): AppError =>
  invalid([
    {
      field: `line ${statementLinesMax + 2}`,
      message: `a statement has at most ${statementLinesMax} lines; split it by days`,
    },
  ]);

/** What a reference names, if it is an id of ours. */
export const targetOf = (
  reference: string,
): { operation?: Id<'operation'>; payment?: Id<'payment'>; refund?: Id<'refund'> } => {
  if (isId('operation', reference)) return { operation: reference };
  if (isId('payment', reference)) return { payment: reference };
  return isId('refund', reference) ? { refund: reference } : {};
};
