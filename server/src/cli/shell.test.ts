import { PassThrough } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { interact } from './prompt.ts';
import { openShell, type Shell } from './shell.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const shown = async (
  use: (shell: Shell, output: PassThrough) => Promise<unknown>,
  json = false,
): Promise<{ answer: unknown; out: string; err: string }> => {
  const [output, errors] = [new PassThrough(), new PassThrough()];
  const shell = await openShell({ connection: database.connection, json, output, errors });
  const answer = await use(shell, output);
  await shell[Symbol.asyncDispose]();
  output.end();
  errors.end();
  return { answer, out: await readText(output), err: await readText(errors) };
};

test('rows are a table, numbers to the right, texts with control characters can’t move the cursor', async () => {
  const { answer, out } = await shown((shell) =>
    shell.runAll(`select 5 as n, e'a\\x1b[2J' as text union all select 12, null order by n`),
  );
  expect(answer).toBe(true);
  expect(out).toBe(' n │ text\n───┼──────\n 5 │ a␛[2J\n12 │\n(2 rows)\n\n');
});

test('as JSON each answer is an array; what JSON would round is a text', async () => {
  const { out } = await shown(
    (shell) => shell.runAll(`select 9007199254740993 as amount, true as yes; select 1 as one where false`),
    true,
  );
  expect(out).toBe('[{"amount":"9007199254740993","yes":true}]\n[]\n');
});

test('an error says what, with its code, and stops the rest', async () => {
  const { answer, out, err } = await shown((shell) =>
    shell.runAll('select 1 as one;\nselect\n nope;\nselect 2 as two'),
  );
  expect(answer).toBe(false);
  expect(out).not.toContain('two');
  expect(err).toContain('column "nope" does not exist (42703)');
  expect(err).toContain('line 2');
});

test('on the prompt a statement may take several lines, and backslash commands describe tables', async () => {
  const input = new PassThrough();
  input.end(
    'select\n41 + 1 as answer;\n\\dt\n\\d ledger.accounts\n\\d nothing\n\\x\nselect 7;\n\\q\nselect 8;\n',
  );
  const { out, err } = await shown((shell, output) => interact(shell, input, output));
  expect(out).toContain('    42');
  expect(out).toMatch(/ledger +│ accounts +│ table/);
  expect(out).toContain('accounts_pkey');
  expect(err).toContain('relation "nothing" does not exist');
  expect(out).toContain('\\q leaves. Everything');
  expect(out).toContain('(1 row)');
  expect(out).not.toMatch(/^ +8$/m);
});
