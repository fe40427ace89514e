import { describe, expect, test } from 'vitest';
import type { StatementLine } from './line.ts';
import { readStatement, type StatementFacts, type StatementFormat } from './statement.ts';
import { bytesOf } from './testing.ts';

const header = 'reference,backend_reference,kind,amount,currency,status,date,fee';
const payment = 'pay_01h455vb4pex5vsknk084sn02q';
const good = `${payment},ch_1,charge,10.50,USD,succeeded,2026-11-22,0.30`;

const read = async (
  text: string | Buffer,
  { format = 'csv', pieceBytes = 7 }: { format?: StatementFormat; pieceBytes?: number } = {},
): Promise<{ lines: StatementLine[]; facts: StatementFacts }> => {
  const lines: StatementLine[] = [];
  const batches = readStatement(bytesOf(text, pieceBytes), format, { batchMax: 3 });
  for (;;) {
    const { value, done } = await batches.next();
    if (done) return { lines, facts: value };
    lines.push(...value);
  }
};

const faultsOf = async (text: string | Buffer, format: StatementFormat = 'csv'): Promise<string[]> => {
  const error: unknown = await read(text, { format }).then(
    () => undefined,
    (refusal: unknown) => refusal,
  );
  expect(error).toMatchObject({ code: 'invalid_request' });
  const { faults } = error as { faults: { field: string; message: string }[] };
  return faults.map(({ field, message }) => `${field}: ${message}`);
};

describe('a statement that can be read', () => {
  const line = {
    line: 2,
    kind: 'charge',
    reference: payment,
    backendReference: 'ch_1',
    amountMinor: 1050n,
    currency: 'USD',
    status: 'succeeded',
    at: new Date('2026-11-22T00:00:00Z'),
    feeMinor: 30n,
  };

  test.each([
    ['with line feeds', `${header}\n${good}\n`],
    ['without an end of the last line', `${header}\n${good}`],
    ['with CRLF', `${header}\r\n${good}\r\n`],
    ['with a byte order mark', `\ufeff${header}\n${good}\n`],
    ['with semicolons', `${header}\n${good}`.replaceAll(',', ';')],
    ['with tabs', `${header}\n${good}`.replaceAll(',', '\t')],
    ['with quotes', `${header}\n${good.replaceAll(/[^,]+/g, '"$&"')}`],
    ['with empty lines at its end', `${header}\n${good}\n\n  \n`],
    [
      'with capital letters and blanks in the header',
      `${header.toUpperCase().replaceAll(',', ' , ')}\n${good}`,
    ],
  ])('%s is the same', async (_, text) => {
    for (const pieceBytes of [1, 2, 5, 1_000])
      expect((await read(text, { pieceBytes })).lines).toEqual([line]);
  });

  test('may do without the reference of the backend and the fee, and have its columns in any order', async () => {
    const { lines } = await read(
      `status,currency,amount,kind,date,reference\nfailed,JPY,7,refund,2026-11-22T08:00:00+01:00,x`,
    );
    expect(lines).toEqual([
      {
        line: 2,
        kind: 'refund',
        reference: 'x',
        backendReference: null,
        amountMinor: 7n,
        currency: 'JPY',
        status: 'failed',
        at: new Date('2026-11-22T07:00:00Z'),
        feeMinor: null,
      },
    ]);
  });

  test('in JSON lines is the same', async () => {
    const members = header.split(',');
    const text = JSON.stringify(
      Object.fromEntries(good.split(',').map((value, index) => [members[index], value])),
    );
    expect((await read(`${text}\n`, { format: 'jsonl' })).lines).toEqual([{ ...line, line: 1 }]);
  });

  test('tells how many lines it has, from when to when, and the hash of its bytes', async () => {
    const text = [header, good, good.replace('22', '20'), good.replace('22', '24'), good].join('\n');
    const { lines, facts } = await read(text);
    expect(lines.map((each) => each.line)).toEqual([2, 3, 4, 5]);
    expect(facts).toEqual({
      lines: 4,
      digest: Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))),
      dates: { first: new Date('2026-11-20T00:00:00Z'), last: new Date('2026-11-24T00:00:00Z') },
    });
    expect((await read(header)).facts).toMatchObject({ lines: 0, dates: undefined });
  });
});

describe('what can not be read is named by its line', () => {
  test.each([
    ['', 'line 1: must be the header'],
    ['\n\n', 'line 1: must be the header'],
    [good, 'line 1: has the unknown column'],
    [
      header.replace('amount', 'betrag'),
      'line 1: has the unknown column "betrag"; the columns of a statement are reference',
    ],
    [header.replace('amount,', ''), 'line 1: lacks the column amount'],
    [`${header},amount`, 'line 1: has the column amount twice'],
    [`"reference`, 'line 1: a quote is not closed'],
    [Buffer.from(`${header}\n${good}`, 'utf16le'), 'line 1'],
    [
      Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(header, 'utf16le')]),
      'line 1: the file is in UTF-16; save it as UTF-8',
    ],
    [
      `${header}\n${good}`.replaceAll('\n', '\r'),
      'line 1: has a carriage return inside; end lines with LF or CRLF',
    ],
    ['x'.repeat(20_000), 'line 1: is longer than 16384 bytes'],
  ])('%s', async (text, message) => {
    const faults = await faultsOf(text);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(message);
  });

  test.each([
    [
      good.replace('10.50', '10,50'),
      'line 3: has 9 values where the header has 8; quote a value that holds a ","',
    ],
    [good.replace('10.50', '"10,50"'), 'line 3, column amount: must have a point before the decimal places'],
    [
      good.replace('10.50', '"1.000,50"'),
      'line 3, column amount: must have a point before the decimal places',
    ],
    [good.replace('10.50', '10.505'), 'line 3, column amount: USD has 2 decimal places, this amount has 3'],
    [good.replace('10.50', '-1'), 'line 3, column amount: must be a positive decimal number'],
    [good.replace('10.50', '1e3'), 'line 3, column amount: must be a positive decimal number'],
    [good.replace('10.50', '0'), 'line 3, column amount: must be more than zero'],
    [good.replace('10.50', ''), 'line 3, column amount: is empty'],
    [good.replace('USD', 'usd'), 'line 3, column currency: must be an ISO 4217 currency code'],
    [good.replace('charge', 'sale'), 'line 3, column kind: must be charge or refund'],
    [good.replace('succeeded', 'ok'), 'line 3, column status: must be succeeded, failed or pending'],
    [good.replace('2026-11-22', '22.11.2026'), 'line 3, column date: must be a day such as 2026-11-22'],
    [good.replace('2026-11-22', '2026-02-30'), 'line 3, column date: must be a'],
    [
      good.replace('2026-11-22', '2026-11-22T08:00:00'),
      'line 3, column date: must be a day such as 2026-11-22, or a time with',
    ],
    [good.replace('0.30', '-0.30'), 'line 3, column fee: must be a positive decimal number'],
    [good.replace(payment, ''), 'line 3, column reference: is empty'],
    [good.replace(payment, 'x'.repeat(256)), 'line 3, column reference: must be at most 255 characters long'],
    [
      good.replace('ch_1', '4242424242424242'),
      'line 3, column backend_reference: must not hold a card number',
    ],
    [
      good.replace('ch_1', 'a\u0007b'),
      'line 3, column backend_reference: must not contain control characters',
    ],
    [good.replace('ch_1', '"ch_1'), 'line 3: a quote is not closed; close it on the same line'],
    [good.replace('ch_1', '"ch"_1'), 'line 3: there is text after a closing quote'],
    ['x', 'line 3: has 1 values where the header has 8'],
    ['x'.repeat(20_000), 'line 3: is longer than 16384 bytes'],
  ])('%s', async (line, message) => {
    const faults = await faultsOf([header, good, line, good].join('\n'));
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(message);
  });

  test('a line that is not UTF-8 is named, and those after it are read', async () => {
    const text = Buffer.concat([
      Buffer.from(`${header}\n`),
      Buffer.from([0x78, 0xff, 0x0a]),
      Buffer.from(`${good}x\n`),
    ]);
    expect(await faultsOf(text)).toEqual([
      'line 2: is not UTF-8; save the file as UTF-8',
      expect.stringContaining('line 3, column fee'),
    ]);
  });

  test('many faults are named at once, and no more than anybody mends', async () => {
    const bad = good.replace('10.50', 'x').replace('USD', 'EUR').replace('charge', 'x');
    expect(await faultsOf([header, bad, good, bad].join('\n'))).toHaveLength(4);
    expect(await faultsOf([header, ...Array.from({ length: 100 }, () => bad)].join('\n'))).toHaveLength(20);
  });

  test.each([
    ['[]', 'line 1: must be one JSON object'],
    ['{"reference":"x"', 'line 1: must be one JSON object'],
    ['{"amount":10.5}', 'line 1, column amount: must be a text in quotes'],
    ['{"betrag":"1"}', 'line 1: has the unknown member "betrag"'],
    ['{"__proto__":"1"}', 'line 1: has the unknown member "__proto__"'],
  ])('JSON line %s', async (text, message) => {
    expect((await faultsOf(text, 'jsonl'))[0]).toContain(message);
  });
});
