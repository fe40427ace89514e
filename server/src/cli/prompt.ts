import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { describeTable, listTables } from './describe.ts';
import type { Shell } from './shell.ts';
import { splitStatements } from './statements.ts';

/** Reads statements and backslash commands from a person, until \\q or the end of the input. */
export const interact = async (shell: Shell, input: Readable, output: Writable): Promise<void> => {
  const { database, user, host, port } = shell.connection;
  const lines = createInterface({ input, output, historySize: 1000 });
  // What was typed of a statement that is not finished.
  let [typed, isBusy, isOpen] = ['', false, true];
  const prompt = (): void => {
    if (!isOpen) return;
    lines.setPrompt(`${database}${typed === '' ? '=' : '-'}> `);
    lines.prompt();
  };
  lines.on('close', () => (isOpen = false));
  lines.on('SIGINT', () => {
    typed = '';
    output.write('\n');
    if (isBusy) void shell.cancel();
    else prompt();
  });
  output.write(`${user} on ${host}:${String(port)}. A statement ends with ; and \\q leaves.\n`);
  prompt();
  for await (const line of lines) {
    isBusy = true;
    if (typed === '' && line.trim().startsWith('\\')) {
      if (/^\s*\\q/.test(line)) break;
      await runCommand(shell, line.trim(), output);
    } else {
      const { statements, rest } = splitStatements(`${typed}${line}\n`);
      typed = rest.trim() === '' ? '' : rest;
      for (const statement of statements) await shell.run(statement);
    }
    isBusy = false;
    prompt();
  }
  lines.close();
};

const runCommand = async (shell: Shell, line: string, output: Writable): Promise<void> => {
  const [name, table] = line.split(/\s+/);
  if (name === '\\dt' || (name === '\\d' && table === undefined)) await shell.describe([listTables()]);
  else if (name === '\\d' && table !== undefined) await shell.describe(describeTable(table));
  else
    output.write(
      '\\dt lists tables, \\d NAME describes one, \\q leaves. Everything else is SQL and ends with ;\n',
    );
};
