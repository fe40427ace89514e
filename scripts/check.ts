import { spawnSync } from 'node:child_process';

/** `npm run check`: everything that must be clean before a commit, the fastest first. `--fix` formats and mends. */
const fix = process.argv.includes('--fix');

/** What starts servers and processes of its own takes its time; `npm test` runs it. */
const slow = ['server/src/lib/postgres/**', 'server/src/cli/**'].map((path) => `--exclude=${path}`);

const steps: readonly (readonly [name: string, command: readonly string[]])[] = [
  ['format', fix ? ['oxfmt', '.'] : ['oxfmt', '--check', '.']],
  ['types', ['tsc', '--project', 'tsconfig.json']],
  ['lint', fix ? ['oxlint', '--fix'] : ['oxlint']],
  ['fast tests', ['vitest', 'run', ...slow, 'server/src', 'server/test/tidy.test.ts']],
];

const failed = steps.filter(([name, [program = '', ...args]]) => {
  const startedAt = performance.now();
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'}  ${name} (${seconds} s)`);
  if (status !== 0) console.log(`${stdout}${stderr}`);
  return status !== 0;
});

process.exitCode = failed.length === 0 ? 0 : 1;
