import { parseArgs } from 'node:util';
import { crash } from './crash.ts';
import { neverHit, reportLines } from './report.ts';

const help = `Usage: npm run test:crash [-- --kills N --seed S]

Clients take payments, capture, cancel and refund while eapi, sapi and PostgreSQL are killed with SIGKILL, at random
moments and at every step of lib/step.ts; what stays unanswered is asked again with the same key. Then the database is
compared with a model of the books and with what the clients were told.

  --kills N   how many kills, 50 unless told
  --seed S    repeats the kills and requests of a run, in their order; a new one unless told
  --keep      leaves the database and the logs of the services in place
  --help      this text

Exits 1 when anything differs, and when a step was waited for and never reached.
`;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const main = async (): Promise<number> => {
  const [kills, seed] = [Number(values.kills), Number(values.seed)];
  if (values.help) {
    say(help);
    return 0;
  }
  if (!Number.isSafeInteger(kills) || kills < 1 || !Number.isSafeInteger(seed)) {
    say(help);
    return 2;
  }
  say(`${kills} kills, seed ${seed}`);
  const report = await crash({ kills, seed, keep: values.keep, say });
  for (const line of reportLines(report)) say(line);
  return report.differences.length > 0 || neverHit(report).length > 0 ? 1 : 0;
};

process.exit(await main());
