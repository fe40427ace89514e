import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testConfig, testParts, twoProcesses, send, testKey, type TestParts } from '../services/testing.ts';
import { changedTables, tablesOf } from '../../test/setup/requests.ts';
import { statementCsv, type Written } from '../reconciliation/testing.ts';
import { ending, operatorEnv, operatorForTests, programOf, run, type Ending } from './operator.testing.ts';

const operator = operatorForTests();
let parts: TestParts;
let api: Awaited<ReturnType<typeof twoProcesses>>;
beforeAll(async () => {
  parts = await testParts(operator.database);
  api = await twoProcesses(parts);
});
afterAll(async () => {
  await api?.[Symbol.asyncDispose]();
  await parts?.[Symbol.asyncDispose]();
});

const program = programOf('reconcile.ts');

/** Runs the command as an operator does, against the test database. */
const florin = (argv: readonly string[], changes: Record<string, string> = {}): Promise<Ending> => {
  // Service tokens are of a minute by the clock of the computer.
  parts.clock.set(new Date());
  const env = {
    ...operatorEnv(operator.database, operator.folder),
    PAYMENTS_AUTH_SERVICE_SECRET: testConfig().auth.serviceSecret.reveal(),
    PAYMENTS_SERVER_SAPI_URL: api.sapiUrl,
    ...changes,
  };
  return ending(run(program, ['reconcile', ...argv], env));
};

const pay = async (vendor = 'test-vendor'): Promise<string> => {
  const headers = { ...testKey, 'florin-vendor': vendor };
  const json = { amount: '10.00', currency: 'USD' };
  return String((await send(`${api.url}/api/v1/payments`, { method: 'POST', headers, json })).body['id']);
};
const day = (): string => parts.clock.now().toISOString().slice(0, 10);
const fileOf = async (name: string, lines: readonly Written[]): Promise<string> => {
  const file = join(operator.folder, name);
  await writeFile(file, statementCsv(lines.map((line) => ({ date: day(), ...line }))));
  return file;
};
const charge = (reference: string, amount = '10.00'): Written => ({ reference, amount });

describe('florin reconcile', () => {
  test('exits 0 when all agree, finding out by itself whose statement it is', async () => {
    const file = await fileOf('fine.csv', [charge(await pay())]);
    const { code, stdout, stderr } = await florin([file, '--matches']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/compared with +book/);
    expect(stdout).toMatch(/matched +1/);
    expect(stdout).toMatch(/10\.00 +│ USD/);
  });

  test('exits 1 with the breaks, as a table, as CSV and as JSON', async () => {
    const [first, second] = [await pay(), await pay()];
    const file = await fileOf('breaks.csv', [charge(first), charge(second, '11.00'), charge('x')]);
    const table = await florin([file]);
    expect(table.code).toBe(1);
    expect(table.stdout).toMatch(/3 +│ amount_differs │ charge │ pay_\w+ +│ 10\.00 USD succeeded/);
    const rows = (await florin([file, '--format', 'csv', '--matches'])).stdout.trim().split('\r\n');
    expect(rows.map((row) => row.split(',').slice(0, 4))).toEqual(
      expect.arrayContaining([
        ['result', 'break', 'line', 'kind'],
        ['amount_differs', '1', '3', 'charge'],
        ['missing_here', '2', '4', 'charge'],
        ['matched', '', '2', 'charge'],
      ]),
    );
    const json = JSON.parse((await florin([file, '--format', 'json', '--matches'])).stdout);
    expect(json).toMatchObject({
      reconciliation: { status: 'open', lines: 3, matched: 1 },
      matches: [{ line: 2, reference: first, amount: '10.00' }],
    });
    expect(json.breaks.slice(0, 2)).toMatchObject([{ type: 'amount_differs' }, { type: 'missing_here' }]);
    const earlier = await florin([json.reconciliation.id, '--format', 'json']);
    expect(earlier.code).toBe(1);
    expect(JSON.parse(earlier.stdout).breaks).toEqual(json.breaks);
  });

  test('has sapi correct, once, and exits 0 when nothing is left', async () => {
    const file = await fileOf('correct.csv', [charge(await pay(), '12.00')]);
    const period = [
      '--connector',
      'book',
      '--vendor',
      'test-vendor',
      '--mode',
      'test',
      '--from',
      '2001-01-01',
      '--until',
      '2001-01-02',
    ];
    const found = JSON.parse((await florin([file, ...period, '--format', 'json'])).stdout);
    const name = `${found.reconciliation.id}/1`;
    const away = { PAYMENTS_SERVER_SAPI_URL: 'http://127.0.0.1:9' };
    const reason = ['--reason', 'Ticket 4711'];
    expect(await florin(['--correct', name, ...reason], away)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('add --local'),
    });
    const { code, stdout, stderr } = await florin(['--correct', name, ...reason, '--format', 'json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      reconciliation: { status: 'agreed' },
      breaks: [{ correction: { reason: 'Ticket 4711', actor: expect.stringMatching(/^cli:/) } }],
    });
    expect(await florin(['--correct', name, ...reason])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('was corrected already'),
    });
    expect(await florin([file, ...period])).toMatchObject({ code: 0 });
  });

  test('corrects what it has just found, where Florin is one process too', async () => {
    const file = await fileOf('local.csv', [charge('unknown', '1.00')]);
    const whose = [
      '--vendor',
      'xyz-vendor',
      '--mode',
      'test',
      '--connector',
      'book',
      '--against',
      'corrections',
    ];
    const ran = await florin([file, ...whose, '--correct', '1', '--reason', 'Found', '--local']);
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('corrected by trf_') });
  });

  test('in a dry run shows the same and writes nothing', async () => {
    const file = await fileOf('dry.csv', [charge(await pay(), '12.00')]);
    const tables = await tablesOf(operator.database.superuser);
    const before = await tables.contents();
    const ran = await florin([file, '--dry-run', '--correct', '1', '--reason', 'x']);
    expect(ran.stdout).toContain('corrected by trf_');
    expect(ran.stderr).toContain('Nothing was written');
    const written = changedTables(before, await tables.contents());
    expect(written.filter((table) => /^(reconciliation|ledger|journal)\./.test(table))).toEqual([]);
  });

  test('asks whose statement it is when it names several, and leaves the lines of others out', async () => {
    const file = await fileOf('mixed.csv', [charge(await pay()), charge(await pay('xyz-vendor'))]);
    const asked = await florin([file]);
    expect(asked.code).toBe(1);
    expect(asked.stderr).toContain('--vendor test-vendor --mode test');
    const ran = await florin([file, '--vendor', 'xyz-vendor', '--format', 'json']);
    expect(ran.stderr).toContain('1 lines name payments of others');
    expect(JSON.parse(ran.stdout)).toMatchObject({ reconciliation: { lines: 1, matched: 1 } });
  });

  test.each([
    [['missing.csv'], 'is no file'],
    [[], 'Name a statement'],
    [['fine.csv', '--correct', '1'], '--reason'],
    [['fine.csv', '--reason', 'x'], '--correct'],
    [['--correct', '1', '--reason', 'x'], 'names no break'],
    [['--correct', 'rec_00000000000000000000000000/1', '--reason', 'x'], 'No such reconciliation'],
    [['fine.csv', '--from', 'monday'], '--from'],
    [['fine.csv', '--vendor', 'nobody'], 'There is no vendor'],
    [['bad.csv'], 'line 2, column amount'],
  ])('%j is refused', async (argv, message) => {
    await fileOf('fine.csv', [charge(await pay())]);
    await fileOf('bad.csv', [charge('x', '-1')]);
    const { code, stderr } = await florin(
      argv.map((text) => (text.endsWith('.csv') ? join(operator.folder, text) : text)),
    );
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });
});

test('the example statement can be read, and is the one of the documentation', async () => {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const example = await readFile(join(root, 'examples/reconciliation/statement.csv'), 'utf8');
  const ran = await florin([
    join(root, 'examples/reconciliation/statement.csv'),
    '--vendor',
    'xyz-vendor',
    '--mode',
    'test',
    '--connector',
    'book',
  ]);
  expect(ran.stdout).toMatch(/statement +\d+ lines/);
  const page = await readFile(join(root, 'docs/reconciliation.md'), 'utf8');
  for (const line of example.trim().split('\n')) expect(page).toContain(line);
});
