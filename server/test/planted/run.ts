import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { bugsNamed, judge, proveGreen, type Verdict } from './judge.ts';
import { listText, summaryOf, tableText } from './report.ts';
import { copyTree, type Tree } from './tree.ts';

const help = `Usage: npm run test:planted [-- OPTIONS]

Plants known bugs, one at a time, in a copy of the sources, and runs the tests that have to find it. Before that, the
same tests run without a bug. Nothing is written to the working tree.

  --only NAME,NAME   these bugs only
  --jobs N           how many at a time, each in a copy of its own (2)
  --list             the bugs and the tests that are meant to find them
  --json FILE        writes {planted, caught, bugs: [{name, breaks, file, caught, by, saw, seconds}]}
  --help             this text

Exits 1 when a bug is not found or its place in the code is not there any more, and when a test fails without a bug.

Examples:
  npm run test:planted
  npm run test:planted -- --only key-not-unique,payment-unlocked --jobs 1
`;

const options = {
  only: { type: 'string', default: '' },
  jobs: { type: 'string', default: '2' },
  list: { type: 'boolean', default: false },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const main = async (signal: AbortSignal): Promise<number> => {
  const { values } = parseArgs({ options });
  if (values.help || !/^[1-9]\d?$/.test(values.jobs)) {
    say(help);
    return values.help ? 0 : 2;
  }
  const bugs = bugsNamed(values.only.split(',').flatMap((name) => name.trim() || []));
  if (values.list) {
    say(listText(bugs));
    return 0;
  }
  await using stack = new AsyncDisposableStack();
  const trees: Tree[] = [];
  while (trees.length < Math.min(Number(values.jobs), bugs.length)) trees.push(stack.use(await copyTree()));
  const [first] = trees;
  if (!first) return 2;
  say(`Without a bug: the tests that have to find ${bugs.length} of them`);
  const green = await proveGreen(first, bugs, signal);
  say(`${green.length} tests pass`);

  const waiting = [...bugs];
  const verdicts: Verdict[] = [];
  const work = async (tree: Tree): Promise<void> => {
    for (let bug = waiting.shift(); bug && !signal.aborted; bug = waiting.shift()) {
      const verdict = await judge(tree, bug, green, signal);
      verdicts.push(verdict);
      const { caught, seconds, saw } = verdict;
      say(`${caught ? 'caught' : 'MISSED'} ${bug.name} (${seconds.toFixed(1)} s)${caught ? '' : `: ${saw}`}`);
    }
  };
  await Promise.all(trees.map(work));
  signal.throwIfAborted();
  const judged = bugs.flatMap((bug) => verdicts.find((verdict) => verdict.bug === bug) ?? []);
  say(`\n${tableText(judged)}\n`);
  if (values.json !== undefined)
    await writeFile(values.json, `${JSON.stringify(summaryOf(judged), null, 2)}\n`);
  const caught = judged.filter((verdict) => verdict.caught).length;
  say(`${caught} caught / ${bugs.length} planted`);
  return caught === bugs.length ? 0 : 1;
};

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => stopping.abort(new Error('Stopped.')));

process.exitCode = await main(stopping.signal).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
