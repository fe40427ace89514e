import { setTimeout as wait } from 'node:timers/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { eventPatterns, eventTypes, isEventPattern } from '../events/catalogue.ts';
import { envelopeOf, type EventRecord } from '../events/events.ts';
import { endOfEvents, followEvents, startOfEvents } from '../events/store.ts';
import type { Mode } from '../lib/caller.ts';
import type { Db } from '../lib/database.ts';
import { isId, toUuid } from '../lib/ids.ts';
import { createApiKey, revokeApiKey } from '../vendors/api-keys.ts';
import { findVendorRecord } from '../vendors/credentials.ts';
import type { ApiKeyJson } from '../vendors/schema.ts';
import { openCommandDatabase, print, printJson, type CommandDatabase } from './context.ts';
import { findTarget } from './target.ts';
import { trigger, triggered, type AskApi } from './trigger.ts';

/** `florin events tail | trigger | types` */
export const register = (program: Command): void => {
  const events = program.command('events').description('follow what happens, and make something happen');
  events
    .command('tail')
    .description('print events as they happen, until it is stopped')
    .option('--type <pattern>', 'only these: payment.succeeded, payment.*', pattern)
    .option('--vendor <vendor>', 'only of this vendor: id or slug')
    .addOption(new Option('--mode <mode>', 'only of this mode; goes with --vendor').choices(['test', 'live']))
    .option('--since <time>', 'begin there: a time (ISO 8601), or so long ago: 90s, 15m, 2h, 7d', since)
    .option('--once', 'print what is there and end; goes with --since')
    .option('--json', 'print each as one line of JSON, as webhooks send it but without personal data')
    .addHelpText('after', tailHelp)
    .action(tail);
  events
    .command('trigger')
    .description('make an event really happen, in test mode, by requests to the API that runs')
    .argument('<type>', 'what shall happen: payment.succeeded')
    .option('--vendor <vendor>', 'for whom: id or slug', 'test-vendor')
    .option('--url <url>', 'where the API is, unless where it is configured')
    .option('--json', 'print the event as JSON')
    .addHelpText('after', triggerHelp)
    .action(runTrigger);
  events
    .command('types')
    .description('list the types of events and what they tell')
    .option('--json', 'print JSON')
    .action(listTypes);
};

const tailHelp = `
Without --since it begins with what happens next. It reads the database by position, which is the order in which
everything was recorded: nothing is skipped, also not what is committed late. Events get their position from a worker;
without one that runs, nothing comes. Ctrl-C ends it.

Examples:
  florin events tail
  florin events tail --type 'payment.*' --vendor corner-shop --mode live
  florin events tail --since 2h --once --json | jq .type`;

const triggerHelp = `
A payment is made with the sandbox, so that it ends in the asked state, and everything follows that follows a real one:
postings, journal, events, webhooks. For the requests an API key of the vendor is made, and revoked afterwards.

Types that can be triggered:
${triggered.map((type) => `  ${type}`).join('\n')}

Examples:
  florin events trigger payment.succeeded
  florin events trigger refund.failed --vendor corner-shop --json`;

const pattern = (text: string): string => {
  if (isEventPattern(text)) return text;
  throw new InvalidArgumentError(`It has to be one of: ${eventPatterns().join(', ')}.`);
};

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const since = (text: string): Date => {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const time = count === undefined ? Date.parse(text) : Date.now() - Number(count) * (unitsMs[unit] ?? 0);
  if (Number.isNaN(time))
    throw new InvalidArgumentError('It has to be a time such as 2026-11-22T08:00:00Z, or 2h.');
  return new Date(time);
};

type TailOptions = { type?: string; vendor?: string; mode?: Mode; since?: Date; once?: true; json?: true };

const tail = async (options: TailOptions): Promise<void> => {
  await using opened = await openCommandDatabase();
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
  await follow(opened.db, options, print, stopping.signal);
};

/** How often to look for new events while there are none. */
const pollMs = 250;

/** Prints events until the signal aborts, or with `once` until there are no more. */
export const follow = async (
  db: Db,
  { vendor, mode, type, since, once, json }: TailOptions,
  printLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> => {
  if (mode !== undefined && vendor === undefined) throw new Error('--mode goes with --vendor.');
  if (once && since === undefined) throw new Error('--once goes with --since.');
  const tenantIds = vendor === undefined ? undefined : await tenantsOf(db, vendor, mode);
  const render = json
    ? (event: EventRecord) => JSON.stringify(envelopeOf(event, { payload: 'full' }))
    : lineOf;
  let place = since ? await startOfEvents(db, since, tenantIds) : await endOfEvents(db);
  while (!signal.aborted) {
    const { events, next } = await followEvents(db, { tenantIds, type, since }, place);
    for (const event of events) printLine(render(event));
    if (next !== place) place = next;
    else if (once) return;
    else await wait(pollMs, undefined, { signal }).catch(() => undefined);
  }
};

const lineOf = ({ createdAt, mode, type, object, sequence }: EventRecord): string =>
  [createdAt.toISOString(), mode.padEnd(4), type.padEnd(30), object?.id ?? '', `v${sequence ?? '-'}`].join(
    '  ',
  );

/** The tenants of a vendor, by its id or slug: of one mode, or of both. */
export const tenantsOf = async (db: Db, name: string, mode: Mode | undefined): Promise<number[]> => {
  const { tenants } = await vendorOf(db, name);
  return mode === undefined ? [tenants.test, tenants.live] : [tenants[mode]];
};

const vendorOf = async (db: Db, name: string) => {
  const record = await findVendorRecord(db, isId('vendor', name) ? { id: toUuid(name) } : { slug: name });
  if (!record) throw new Error(`There is no vendor "${name}". florin vendor list shows them.`);
  return record;
};

type TriggerOptions = { vendor: string; url?: string; json?: true };

const runTrigger = async (type: string, { vendor, url, json }: TriggerOptions): Promise<void> => {
  await using opened = await openCommandDatabase();
  const { loaded } = await findTarget();
  const { tenants } = await vendorOf(opened.db, vendor);
  const ask = askWith(url ?? loaded.config.server.publicUrl);
  const event = await withKey(opened, tenants.test, async (key) => {
    const asVendor = ask(key);
    const object = await trigger(asVendor, type);
    return findEvent(asVendor, { type, object });
  });
  if (json) printJson(event);
  else print(`${type}  ${String(event['object_id'])}  ${String(event['id'])}`);
};

/** Runs with an API key of its own, which is of no use afterwards. */
const withKey = async <T>(
  opened: CommandDatabase,
  tenantId: number,
  run: (key: string) => Promise<T>,
): Promise<T> => {
  const write = { context: opened.context, key: undefined };
  const owner = { tenantId, mode: 'test' as const };
  const expiresAt = new Date(opened.context.now.getTime() + keyAgeMs).toISOString();
  const body = { name: 'florin events trigger', role: 'finance' as const, expires_at: expiresAt };
  const { entry, secret } = await createApiKey(opened, write, { owner, body });
  const { id } = entry.snapshot as ApiKeyJson; // `apiKeyJson` made it
  try {
    return await run(secret.reveal());
  } finally {
    await revokeApiKey(opened.db, write, owner, id);
  }
};

const keyAgeMs = 300_000;
/** A backend that does not answer takes the time limit of a call. */
const requestTimeoutMs = 90_000;

const askWith =
  (url: string) =>
  (key: string): AskApi =>
  async (method, path, body) => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { 'x-api-key': key, ...(body && { 'content-type': 'application/json' }) },
      signal: AbortSignal.timeout(requestTimeoutMs),
      ...(body && { body: JSON.stringify(body) }),
    }).catch((error: unknown) => {
      throw new Error(`The API does not answer at ${url}. Start it with: npm start`, { cause: error });
    });
    const answer = JSON.parse(await response.text()) as Record<string, unknown>;
    if (response.ok) return answer;
    throw new Error(`${method} ${path}: ${String(answer['detail'])}`);
  };

/** So long an event may take to get its position: a worker that runs takes a tenth of a second. */
const sealedWithinMs = 10_000;

/** The event that was made, once it has its position. */
const findEvent = async (
  ask: AskApi,
  { type, object }: { type: string; object: string },
): Promise<Record<string, unknown>> => {
  for (let waitedMs = 0; waitedMs < sealedWithinMs; waitedMs += pollMs) {
    const { data } = await ask('GET', `/events?object=${object}&type=${type}&limit=1`);
    const [event] = data as Record<string, unknown>[]; // `data` of a list
    if (event) return { ...event, object_id: object };
    await wait(pollMs);
  }
  throw new Error(
    `It happened to ${object}, but is no event yet: it gets its place from a worker. florin serve worker`,
  );
};

const listTypes = ({ json }: { json?: true }): void => {
  if (json) return printJson(eventTypes);
  for (const { type, title } of eventTypes) print(`${type.padEnd(32)}${title}`);
};
