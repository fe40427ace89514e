import { InvalidArgumentError, type Command } from 'commander';
import { inTransaction, type Db } from '../lib/database.ts';
import { isId, type Id } from '../lib/ids.ts';
import { listSchedules, type ScheduleState } from '../lib/schedules.ts';
import { measureUnresolved, type Unresolved } from '../payments/operation-store.ts';
import { append } from '../journal/journal.ts';
import type { Context } from '../lib/caller.ts';
import { hastenPending, resetFailed } from '../webhooks/delivery-store.ts';
import {
  countedMax,
  listBacklogs,
  measuresOf,
  type Backlog,
  type QueueMeasures,
} from '../webhooks/measure.ts';
import { openCommandDatabase, print, printJson } from './context.ts';
import { textTable } from './table.ts';

/** `florin queue`, `florin queue retry` */
export const register = (program: Command): void => {
  const queue = program
    .command('queue')
    .description('show what waits: webhook deliveries, calls to payment backends, schedules')
    .option('--json', 'print JSON')
    .addHelpText('after', showHelp)
    .action(show);
  queue
    .command('retry')
    .description('send what waits for its next attempt at once; with --failed also what was given up')
    .option('--endpoint <id>', 'only of this webhook endpoint', endpoint)
    .option('--failed', 'also dead letters: they begin anew, under the webhook-id that they had')
    .addHelpText('after', retryHelp)
    .action(retry);
};

const showHelp = `
Deliveries are counted up to ${countedMax} an endpoint. What is pending is sent when it is due, by any worker that runs; what is
failed was given up after the last retry and is sent again by hand. An endpoint is paused while its circuit is open: it
accepted nothing ten times in a row, and one delivery after the other is let through to try. A call to a payment backend is
unresolved until the backend says what became of it; the worker asks.

Examples:
  florin queue
  florin queue --json | jq .webhooks.failed`;

const retryHelp = `
Circuits that are open let one delivery through at once. What is sent to a disabled endpoint waits until it is enabled.

Examples:
  florin queue retry
  florin queue retry --failed --endpoint we_01h455vb4pex5vsknk084sn02q`;

const endpoint = (text: string): Id<'webhook_endpoint'> => {
  if (isId('webhook_endpoint', text)) return text;
  throw new InvalidArgumentError('It has to be the id of a webhook endpoint: we_…');
};

const endpointsMax = 50;

type State = {
  webhooks: QueueMeasures;
  endpoints: Backlog[];
  operations: Unresolved;
  schedules: ScheduleState[];
};

const show = async ({ json }: { json?: true }): Promise<void> => {
  await using opened = await openCommandDatabase();
  const { db, context } = opened;
  const state: State = {
    webhooks: await measuresOf(db, context.now),
    endpoints: await listBacklogs(db, { limit: endpointsMax }),
    operations: await measureUnresolved(db, context.now),
    schedules: await listSchedules(db),
  };
  if (json) printJson(jsonOf(state, context.now));
  else print(textOf(state, context.now));
};

/** The state as programs read it: ages in seconds, counts as numbers. */
const jsonOf = ({ webhooks, endpoints, operations, schedules }: State, now: Date): object => ({
  webhooks: {
    pending: webhooks.pending,
    oldest_due_age_s: ageS(webhooks.oldestDueAt, now),
    failed: webhooks.failed,
    open_circuits: webhooks.openCircuits,
    entries_behind: webhooks.behind,
  },
  endpoints: endpoints.map((each) => ({
    id: each.endpointId,
    vendor: each.vendor,
    mode: each.mode,
    url: each.url,
    status: each.state,
    paused_until: each.pausedUntil?.toISOString() ?? null,
    pending: each.pending,
    failed: each.failed,
    oldest_due_age_s: ageS(each.oldestDueAt, now),
  })),
  operations: { unresolved: operations.count, oldest_age_s: operations.oldestAgeS },
  schedules: schedules.map((each) => ({
    name: each.name,
    next_run_at: each.nextRunAt.toISOString(),
    ended_at: each.endedAt?.toISOString() ?? null,
    runs: Number(each.runs),
    failures: each.failures,
    error: each.error,
    removed: each.removed === null ? null : Number(each.removed),
  })),
});

const textOf = ({ webhooks, endpoints, operations, schedules }: State, now: Date): string => {
  const due = webhooks.oldestDueAt ? `, the oldest due for ${ageText(webhooks.oldestDueAt, now)}` : '';
  const unresolvedFor = operations.count === 0 ? '' : `, the oldest for ${seconds(operations.oldestAgeS)}`;
  return [
    `Deliveries   ${webhooks.pending} pending${due}; ${webhooks.failed} failed; ${webhooks.openCircuits} endpoints paused`,
    `Events       ${webhooks.behind} journal entries are not made deliveries of yet`,
    `Backends     ${operations.count} calls unresolved${unresolvedFor}`,
    ...(endpoints.length === 0 ? [] : ['', endpointTable(endpoints, now)]),
    ...(schedules.length === 0 ? [] : ['', scheduleTable(schedules)]),
  ].join('\n');
};

const endpointTable = (endpoints: readonly Backlog[], now: Date): string =>
  textTable(
    ['endpoint', 'vendor', 'mode', 'pending', 'failed', 'oldest due', 'state', 'url'],
    endpoints.map((each) => [
      each.endpointId,
      each.vendor,
      each.mode,
      String(each.pending),
      String(each.failed),
      each.oldestDueAt && each.oldestDueAt <= now ? ageText(each.oldestDueAt, now) : '',
      each.state === 'enabled' && each.pausedUntil && each.pausedUntil > now ? 'paused' : each.state,
      each.url,
    ]),
    new Set([3, 4, 5]),
  );

const scheduleTable = (schedules: readonly ScheduleState[]): string =>
  textTable(
    ['schedule', 'next run', 'last ended', 'runs', 'removed', 'error'],
    schedules.map((each) => [
      each.name,
      each.nextRunAt.toISOString(),
      each.endedAt?.toISOString() ?? '',
      String(each.runs),
      String(each.removed ?? ''),
      each.error ?? '',
    ]),
    new Set([3, 4]),
  );

const ageS = (since: Date | null, now: Date): number =>
  since ? Math.max(0, (now.getTime() - since.getTime()) / 1_000) : 0;

const ageText = (since: Date, now: Date): string => seconds(ageS(since, now));

const seconds = (s: number): string => {
  if (s < 120) return `${Math.round(s)} s`;
  return s < 7_200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3_600)} h`;
};

type RetryOptions = { endpoint?: Id<'webhook_endpoint'>; failed?: true };

const retry = async (options: RetryOptions): Promise<void> => {
  await using opened = await openCommandDatabase();
  const { waiting, failed } = await retryAll(opened.db, opened.context, options);
  print(
    `${waiting} deliveries that waited are due now${options.failed ? `; ${failed} dead letters are sent again` : ''}.`,
  );
};

/** So many rows are locked at once. */
const stepMax = 1_000;

/** Sets what waits, and with `failed` what was given up, to be sent at once, step by step. Who did it is in the journal. */
export const retryAll = async (
  db: Db,
  context: Context,
  { endpoint: endpointId, failed: withFailed }: RetryOptions,
): Promise<{ waiting: number; failed: number }> => {
  const { now } = context;
  const all = async (reset: typeof resetFailed): Promise<number> => {
    for (let total = 0; ;) {
      const count = await inTransaction(db, (tx) => reset(tx, { endpointId }, { now, limit: stepMax }));
      total += count;
      if (count < stepMax) return total;
    }
  };
  const waiting = await all(hastenPending);
  const failed = withFailed ? await all(resetFailed) : 0;
  const object = endpointId && { type: 'webhook_endpoint', id: endpointId };
  const snapshot = { endpoint: endpointId ?? null, hastened: waiting, retried: failed };
  await inTransaction(db, (tx) =>
    append(tx, context, { kind: 'webhook_delivery.all_retried', object, snapshot }),
  );
  return { waiting, failed };
};
