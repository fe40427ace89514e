import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readStatement } from '../reconciliation/statement.ts';
import { statementIn } from './statement-file.ts';

const folder = await mkdtemp(join(tmpdir(), 'florin-statement-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a long file with a byte order mark, CRLF, quotes and empty lines at its end is read whole, and says how far it is', async () => {
  const count = 10_000;
  const header = 'reference;backend_reference;kind;amount;currency;status;date\r\n';
  const line = (index: number): string =>
    `"order ""${index}""";"ch_${index}";charge;${index + 1}.00;USD;succeeded;2026-11-22\r\n`;
  const text = `\u{feff}${header}${Array.from({ length: count }, (_, index) => line(index)).join('')}\r\n\r\n\r\n`;
  const file = join(folder, 'long.csv');
  await writeFile(file, text);

  const percents: number[] = [];
  const { bytes, format } = await statementIn(file, (percent) => percents.push(percent));
  const references: string[] = [];
  const batches = readStatement(bytes, format);
  let batch = await batches.next();
  for (; !batch.done; batch = await batches.next())
    references.push(...batch.value.map(({ reference }) => reference));

  expect(references).toEqual(Array.from({ length: count }, (_, index) => `order "${index}"`));
  expect(batch.value).toMatchObject({ lines: count, digest: createHash('sha256').update(text).digest() });
  expect(percents.length).toBeGreaterThan(5);
  expect(percents).toEqual(percents.toSorted((a, b) => a - b));
  expect(percents.at(-1)).toBe(100);
});
