import { readFile } from 'node:fs/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { sql } from 'kysely';
import { openCustomerKeys } from '../customers/keys.ts';
import { eventPatterns, isEventPattern } from '../events/catalogue.ts';
import { listEventsAt, type EventRecord } from '../events/events.ts';
import { append } from '../journal/journal.ts';
import { sealedChannel } from '../lib/bell.ts';
import type { Mode } from '../lib/caller.ts';
import { systemClock } from '../lib/clock.ts';
import { inTransaction, type Db } from '../lib/database.ts';
import { isId, toUuid, type Id } from '../lib/ids.ts';
import { openListener } from '../lib/listen.ts';
import { openOutbound } from '../lib/outbound/outbound.ts';
import { Secret } from '../lib/secret.ts';
import { describer } from '../services/payments.ts';
import { deliveryJson } from '../webhooks/deliveries.ts';
import { resetById } from '../webhooks/delivery-store.ts';
import { newSigningSecret } from '../webhooks/signature.ts';
import { openCommandDatabase, print } from './context.ts';
import { tenantsOf } from './events.ts';
import { forward, forwardEvents, type Forwarding } from './forward.ts';
import { findTarget } from './target.ts';

/** `florin webhooks listen | resend` */
export const register = (program: Command): void => {
  const webhooks = program
    .command('webhooks')
    .description('try webhooks out on this machine, and send them again');
  webhooks
    .command('listen')
    .description('forward events as signed webhooks to a receiver on this machine, as they happen')
    .requiredOption('--forward-to <url>', 'where to: http://localhost:4000/webhooks')
    .option('--events <pattern...>', 'only these: payment.succeeded, payment.*', pattern, ['*'])
    .option('--vendor <vendor>', 'of which vendor: id or slug', 'test-vendor')
    .addOption(new Option('--mode <mode>', 'of which mode').choices(['test', 'live']).default('test'))
    .addOption(secretOption())
    .addHelpText('after', listenHelp)
    .action(listen);
  webhooks
    .command('resend')
    .description('send a delivery, or all deliveries of an event, again')
    .argument('<id>', 'of a delivery (del_…) or an event (evt_…)', sendable)
    .option('--forward-to <url>', 'not to its endpoints, but there; for an event')
    .addOption(secretOption())
    .addHelpText('after', resendHelp)
    .action(resend);
};

const secretOption = (): Option =>
  new Option(
    '--secret-file <file>',
    'a file with the secret that signs (whsec_…); a new one is made and shown unless given',
  );

const listenHelp = `
No endpoint is needed: it reads the events of a vendor from the database, signs each like a webhook of its own, and sends it
once. The receiver may be anywhere on this machine, over plain http too. A line is printed for each event: when, what, its id,
and what the receiver answered. Events get their place from a worker; \`npm start\` runs one. Ctrl-C ends it.

Examples:
  florin webhooks listen --forward-to http://localhost:4000/webhooks
  florin webhooks listen --forward-to http://localhost:4000 --events 'payment.*' refund.succeeded
  florin events trigger payment.succeeded`;

const resendHelp = `
To its endpoints it is sent by the worker, under the webhook-id that it had, and then as often as a new one: whatever became
of it before. With --forward-to it is sent once, right now, by this command.

Examples:
  florin webhooks resend del_01h455vb4pex5vsknk084sn02q
  florin webhooks resend evt_01h455vb4pex5vsknk084sn02q --forward-to http://localhost:4000/webhooks`;

const pattern = (text: string, before: string[]): string[] => {
  if (!isEventPattern(text))
    throw new InvalidArgumentError(`It has to be one of: ${eventPatterns().join(', ')}.`);
  return before.length === 1 && before[0] === '*' ? [text] : [...before, text];
};

type Sendable = Id<'delivery'> | Id<'journal_entry'>;

const sendable = (text: string): Sendable => {
  if (isId('delivery', text) || isId('journal_entry', text)) return text;
  throw new InvalidArgumentError('It has to be the id of a delivery (del_…) or of an event (evt_…).');
};

type ListenOptions = { forwardTo: string; events: string[]; vendor: string; mode: Mode; secretFile?: string };

const listen = async ({ forwardTo, events, vendor, mode, secretFile }: ListenOptions): Promise<void> => {
  await using opened = await openCommandDatabase();
  const { connections } = await findTarget();
  const tenantIds = await tenantsOf(opened.db, vendor, mode);
  await using forwarding = await openForwarding(opened.db, forwardTo, secretFile);
  await using listener = openListener(connections.service, {
    channels: [sealedChannel],
    applicationName: 'florin-webhooks-listen',
  });
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
  print(`Events of ${vendor} (${mode}) go to ${forwardTo}. Ctrl-C ends it.`);
  const waking = { wake: listener.wakeOf(sealedChannel), signal: stopping.signal };
  await forwardEvents(forwarding, { tenantIds, types: events }, waking);
};

type ResendOptions = { forwardTo?: string; secretFile?: string };

const resend = async (id: Sendable, { forwardTo, secretFile }: ResendOptions): Promise<void> => {
  await using opened = await openCommandDatabase();
  const { db, context } = opened;
  if (forwardTo !== undefined) {
    if (!isId('journal_entry', id)) throw new Error('--forward-to goes with an event: evt_…');
    await using forwarding = await openForwarding(db, forwardTo, secretFile);
    if (!(await forward(forwarding, await eventOf(db, id)))) process.exitCode = 1;
    return;
  }
  const deliveries = await inTransaction(db, async (tx) => {
    const reset = await resetById(tx, id, context.now);
    for (const delivery of reset) {
      const object = { type: 'delivery', id: delivery.id };
      const change = { kind: 'webhook_delivery.retried', object, snapshot: deliveryJson(delivery) };
      await append(tx, { ...context, tenantId: delivery.tenantId }, change);
    }
    return reset;
  });
  if (deliveries.length === 0) throw new Error(`Nothing was sent for ${id} that could be sent again.`);
  for (const delivery of deliveries)
    print(`${delivery.id}  ${delivery.eventType}  to ${delivery.endpointId}  is sent again`);
};

/** An event of whatever tenant. */
const eventOf = async (db: Db, id: Id<'journal_entry'>): Promise<EventRecord> => {
  const { rows } = await sql<{ position: bigint }>`
    select position from journal.positions where entry_id = ${toUuid(id)}
  `.execute(db);
  const [event] = await listEventsAt(
    db,
    rows.map(({ position }) => position),
  );
  if (!event) throw new Error(`There is no event ${id}. florin events tail --since 1d shows them.`);
  return event;
};

const timeoutMs = 30_000;

/** What is forwarded with: its receiver may be on this machine, whatever is configured for webhooks. */
const openForwarding = async (
  db: Db,
  url: string,
  secretFile: string | undefined,
): Promise<Forwarding & AsyncDisposable> => {
  const { loaded } = await findTarget();
  const { outbound: settings, encryption } = loaded.config;
  const outbound = openOutbound({ ...settings, allowLoopback: true });
  const secret = secretFile === undefined ? newSigningSecret() : await readSecret(secretFile);
  const href = outbound.checkUrl(url, '--forward-to').href;
  // Whoever tries something out needs it to verify; it is of no use anywhere else.
  if (secretFile === undefined) print(`The secret that signs: ${secret.reveal()}`);
  return {
    db,
    clock: systemClock,
    outbound,
    describeCustomers: describer(db, openCustomerKeys(encryption, { clock: systemClock })),
    url: href,
    secret,
    timeoutMs,
    print,
    [Symbol.asyncDispose]: () => outbound.close(),
  };
};

const readSecret = async (file: string): Promise<Secret> => {
  const text = (await readFile(file, 'utf8')).trim();
  if (!/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/.test(text))
    throw new Error(`${file} holds no secret of a webhook endpoint: whsec_…`);
  return new Secret(text);
};
