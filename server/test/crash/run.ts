import { parseArgs } from 'node:util';
import { crash } from './crash.ts';
import { neverHit, reportLines } from './report.ts';
import { killKinds } from './webhooks-kills.ts';
import { neverStruck, webhooksReportLines } from './webhooks-report.ts';
import { crashWebhooks } from './webhooks.ts';

const help = `Usage: npm run test:crash [-- --kills N --seed S]
       npm run test:crash -- --webhooks [--deliveries N --kills N --seed S]

Clients take payments, capture, cancel and refund while eapi, sapi and PostgreSQL are killed with SIGKILL, at random
moments and at every step of lib/step.ts; what stays unanswered is asked again with the same key. Then the database is
compared with a model of the books and with what the clients were told.

With --webhooks two workers tell a receiver of it, which refuses, ignores or hangs up on some of what it is sent; the workers
are killed too, also at the steps of a delivery. Then what came is compared with the journal and the queue: every event came to
every endpoint that it is for, signed, in order where that was asked for, again only under the same webhook-id.

  --kills N        how many kills; 50 unless told, with --webhooks one every 200 deliveries and each kind once at least
  --webhooks       deliveries of webhooks
  --deliveries N   how many have to arrive, 20000 unless told
  --seed S         repeats the kills and requests of a run, in their order; a new one unless told
  --keep           leaves the database and the logs of the services in place
  --help           this text

Exits 1 when anything differs, and when a step was waited for and never reached; with --webhooks when a kind of kill never
struck.
`;

const { values } = parseArgs({
  options: {
    kills: { type: 'string' },
    webhooks: { type: 'boolean', default: false },
    deliveries: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const main = async (): Promise<number> => {
  const [deliveries, seed] = [Number(values.deliveries), Number(values.seed)];
  const usual = values.webhooks ? Math.max(killKinds.length, Math.round(deliveries / 200)) : 50;
  const kills = values.kills === undefined ? usual : Number(values.kills);
  if (values.help) {
    say(help);
    return 0;
  }
  if (![kills, deliveries].every(isCount) || !Number.isSafeInteger(seed)) {
    say(help);
    return 2;
  }
  return values.webhooks ? tell({ deliveries, kills, seed }) : pay({ kills, seed });
};

const isCount = (number: number): boolean => Number.isSafeInteger(number) && number > 0;

const pay = async (options: { kills: number; seed: number }): Promise<number> => {
  say(`${options.kills} kills, seed ${options.seed}`);
  const report = await crash({ ...options, keep: values.keep, say });
  for (const line of reportLines(report)) say(line);
  return report.differences.length > 0 || neverHit(report).length > 0 ? 1 : 0;
};

const tell = async (options: { deliveries: number; kills: number; seed: number }): Promise<number> => {
  say(`${options.deliveries} deliveries, ${options.kills} kills, seed ${options.seed}`);
  const report = await crashWebhooks({ ...options, keep: values.keep, say });
  for (const line of webhooksReportLines(report)) say(line);
  return report.differences.length > 0 || neverStruck(report).length > 0 ? 1 : 0;
};

process.exit(await main());
