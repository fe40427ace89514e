import type { Writable } from 'node:stream';
import pg from 'pg';
import { clientConfig, type ConnectionOptions } from '../lib/database.ts';
import type { Description } from './describe.ts';
import { splitStatements } from './statements.ts';
import { textTable } from './table.ts';

type ShellOptions = {
  connection: ConnectionOptions;
  /** Rows as one JSON array a statement, instead of tables. */
  json: boolean;
  output: Writable;
  errors: Writable;
};

/** Runs SQL on one connection and prints what it answers. Values are shown as PostgreSQL writes them. */
export type Shell = AsyncDisposable & {
  connection: ConnectionOptions;
  /** Runs every statement of a text; the last needs no semicolon. Stops at the first error; says whether there was none. */
  runAll(text: string): Promise<boolean>;
  /** Runs one statement; says whether it succeeded. */
  run(statement: string): Promise<boolean>;
  /** Describes what is in the database: `\\dt`, `\\d NAME`. */
  describe(descriptions: Description[]): Promise<void>;
  /** Ends the statement that runs now. */
  cancel(): Promise<void>;
};

/** Connects and gives a shell. */
export const openShell = async ({ connection, json, output, errors }: ShellOptions): Promise<Shell> => {
  const plain = json ? {} : { types: { getTypeParser: () => (text: string) => text } };
  const client = new pg.Client({ ...clientConfig(connection, 'florin-db-shell'), ...plain });
  client.on('error', () => undefined);
  client.on('notice', (notice) => errors.write(`${notice.severity ?? 'NOTICE'}: ${notice.message ?? ''}\n`));
  await client.connect();

  const run = async (statement: string): Promise<boolean> => {
    try {
      const result = await client.query<unknown[]>({ text: statement, rowMode: 'array' });
      // A text of several statements gives several results, which its type does not say.
      for (const one of [result].flat()) output.write(json ? jsonOf(one) : textOf(one));
      return true;
    } catch (error) {
      errors.write(`${describeError(error, statement)}\n`);
      return false;
    }
  };

  const runAll = async (text: string): Promise<boolean> => {
    const { statements, rest } = splitStatements(text);
    for (const statement of [...statements, rest.trim()])
      if (statement !== '' && !(await run(statement))) return false;
    return true;
  };

  const describe = async (descriptions: Description[]): Promise<void> => {
    try {
      for (const { title, text, values } of descriptions) {
        const { rows, fields } = await client.query<unknown[]>({ text, values, rowMode: 'array' });
        if (rows.length > 0) output.write(`${title}\n${tableOf(fields, rows)}\n\n`);
      }
    } catch (error) {
      errors.write(`${describeError(error, '')}\n`);
    }
  };

  return {
    connection,
    run,
    runAll,
    describe,
    cancel: () => cancel(connection, client),
    [Symbol.asyncDispose]: () => client.end(),
  };
};

type Result = pg.QueryResult<unknown[]>;

const textOf = ({ command, rowCount, rows, fields }: Result): string => {
  if (fields.length === 0) return `${[command, rowCount].filter((part) => part !== null).join(' ')}\n`;
  return `${tableOf(fields, rows)}\n(${String(rows.length)} ${rows.length === 1 ? 'row' : 'rows'})\n\n`;
};

const jsonOf = ({ rows, fields }: Result): string => {
  const objects = rows.map((row) => Object.fromEntries(fields.map(({ name }, i) => [name, row[i]])));
  // 64-bit integers are texts, since JSON's readers round them.
  return `${JSON.stringify(objects, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}\n`;
};

const numeric = new Set([20, 21, 23, 26, 700, 701, 1700]);

const tableOf = (fields: pg.FieldDef[], rows: unknown[][]): string => {
  const right = new Set(fields.flatMap(({ dataTypeID }, i) => (numeric.has(dataTypeID) ? [i] : [])));
  return textTable(
    fields.map(({ name }) => name),
    rows.map((row) => row.map(cellOf)),
    right,
  );
};

const cellOf = (value: unknown): string => {
  if (value === null) return '';
  return typeof value === 'string'
    ? value
    : JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part));
};

const describeError = (error: unknown, statement: string): string => {
  if (!(error instanceof pg.DatabaseError))
    return `Error: ${error instanceof Error ? error.message : String(error)}`;
  const { severity = 'ERROR', code = '', message, detail, hint, position } = error;
  const line =
    position === undefined ? undefined : statement.slice(0, Number(position) - 1).split('\n').length;
  const where = line !== undefined && statement.includes('\n') ? [`line ${String(line)}`] : [];
  const more = [...where, ...[detail, hint].filter((text) => text !== undefined)].map(
    (text) => `\n  ${text}`,
  );
  return `${severity}: ${message} (${code})${more.join('')}`;
};

/** From a second connection, since the first one is busy. */
const cancel = async (
  connection: ConnectionOptions,
  { processID }: pg.Client & { processID?: number | null },
): Promise<void> => {
  const other = new pg.Client(clientConfig(connection, 'florin-db-shell-cancel'));
  await other.connect();
  await other.query('select pg_cancel_backend($1)', [processID]);
  await other.end();
};
