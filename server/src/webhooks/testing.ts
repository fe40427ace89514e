import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { sql } from 'kysely';
import { vi } from 'vitest';
import type { Config } from '../lib/config/config.ts';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { forAllTests } from '../../test/setup/for-all-tests.ts';
import { makeEntry } from '../journal/entry.ts';
import { appendEntries } from '../journal/journal.ts';
import { sealAll, startSequencer, untilSealed } from '../journal/testing.ts';
import type { Context } from '../lib/caller.ts';
import { manualClock } from '../lib/clock.ts';
import { inTransaction } from '../lib/database.ts';
import { memoryLog, portOf } from '../lib/http/testing.ts';
import { newId, toUuid, type Id } from '../lib/ids.ts';
import { createMetrics } from '../lib/metrics.ts';
import { openOutbound } from '../lib/outbound/outbound.ts';
import { Secret } from '../lib/secret.ts';
import { insertVendor } from '../vendors/vendors.ts';
import { openDispatcher, type Dispatching } from './dispatch.ts';
import { createEndpoint } from './endpoints.ts';
import { fanOut } from './fan-out.ts';
import { replaySome } from './replay-work.ts';
import { openEndpointKeys } from './secrets.ts';
import type { CreateEndpointBody } from './schema.ts';

/** What a receiver got, in the order in which it came. */
export type Received = { headers: IncomingHttpHeaders; body: string; event: Record<string, unknown> };

type Answering = (received: Received, response: ServerResponse) => void;

/** A receiver that accepts everything unless told otherwise; it remembers what it got. */
export const openReceiver = async (answering: Answering = (_, response) => void response.end('thanks')) => {
  const received: Received[] = [];
  const receiver = { answering };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const one = { headers: request.headers, body, event: JSON.parse(body) as Received['event'] };
      received.push(one);
      receiver.answering(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${portOf({ server })}/hook`,
    received,
    ids: (): unknown[] => received.map(({ headers }) => headers['webhook-id']),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
};

export type Receiver = Awaited<ReturnType<typeof openReceiver>>;

const settings: Config['webhooks'] = {
  retryMax: 14,
  schedule: 'standard',
  timeoutMs: 500,
  signatureVersion: 'sha256',
  endpointsMax: 100,
  disableAfterDays: 5,
  inFlightMax: 64,
  inFlightPerEndpointMax: 8,
};

/** Vendors, events and workers on a test database, at a time that stands still. */
const openWorld = async (database: TestDatabase) => {
  const { db } = database;
  const clock = manualClock('2026-01-16T12:00:00Z');
  const { log, lines } = memoryLog();
  const metrics = createMetrics({ process: false });
  const endpointKeys = openEndpointKeys({ masterKey: new Secret(Buffer.alloc(32, 7).toString('base64')) });
  const outbound = openOutbound({ allow: [], allowLoopback: true });
  const sequencer = startSequencer(database, { clock });
  const contextOf = (tenantId: number): Context => ({
    tenantId,
    actor: 'client:test',
    origin: undefined,
    requestId: undefined,
    now: clock.now(),
  });
  const parts = {
    db,
    clock,
    log,
    metrics,
    outbound,
    endpointKeys,
    describeCustomers: async () => new Map(),
    settings,
    lookEveryMs: 5,
  } satisfies Dispatching;

  /** What happened so far becomes deliveries. */
  const spread = async (): Promise<void> => {
    await untilSealed(db);
    while ((await fanOut({ clock, metrics, offer: () => undefined }, db)) === 'more');
  };

  let tenants = 0;
  return {
    ...parts,
    database,
    lines,
    contextOf,
    spread,
    /** A vendor's tenant of mode `test`. */
    tenant: async (): Promise<number> => {
      tenants += 1;
      const slug = `vendor-${tenants}`;
      const vendorId = newId('vendor');
      await inTransaction(db, (tx) =>
        insertVendor(tx, contextOf(0), vendorId, {
          slug,
          name: slug,
          client_id: `client_${slug}`,
          role: 'finance',
          mode: 'test',
        }),
      );
      const { rows } = await sql<{ id: number }>`
        select id from vendors.tenants where vendor_id = ${toUuid(vendorId)} and mode = 'test'
      `.execute(db);
      return rows[0]?.id ?? 0;
    },
    /** An endpoint of a tenant, which is told everything about payments unless it says otherwise. */
    endpoint: async (
      tenantId: number,
      body: Partial<CreateEndpointBody> & { url: string },
    ): Promise<{ id: Id<'webhook_endpoint'>; secret: Secret }> => {
      const { entry, secret } = await createEndpoint(
        { db, endpointKeys, outbound, webhooks: settings },
        { context: contextOf(tenantId), key: undefined },
        { events: ['payment.*'], ...body },
      );
      // The object of its journal entry is the endpoint.
      return { id: entry.object?.id as Id<'webhook_endpoint'>, secret };
    },
    /** Events of a payment, one a version. */
    happen: async (
      tenantId: number,
      { type = 'payment.succeeded', id = newId('payment'), versions = [1] } = {},
    ): Promise<Id<'journal_entry'>[]> => {
      const entries = versions.map((version) =>
        makeEntry(contextOf(tenantId), {
          kind: type,
          object: { type: 'payment', id, version },
          snapshot: { id, object: 'payment', version, customer_id: null },
        }),
      );
      for (const entry of entries) await appendEntries(db, [entry]);
      return entries.map((entry) => entry.id);
    },
    /** Starts the dispatcher of a worker. */
    worker: (changes: Partial<Dispatching> = {}) => {
      const stopping = new AbortController();
      const dispatcher = openDispatcher({ ...parts, ...changes });
      const ended = dispatcher.job.run(stopping.signal);
      ended.catch(() => undefined);
      const stop = async (): Promise<void> => {
        stopping.abort();
        await ended;
      };
      return { ...dispatcher, stop, [Symbol.asyncDispose]: stop };
    },
    /** The deliveries of a tenant, in the order of their events. */
    deliveries: async (tenantId: number): Promise<Row[]> => {
      const { rows } = await sql<Row>`
        select * from webhooks.deliveries where tenant_id = ${tenantId} order by position, replay
      `.execute(db);
      return rows;
    },
    [Symbol.asyncDispose]: async () => {
      await sequencer.stop();
      await outbound.close();
    },
  };
};

type World = Awaited<ReturnType<typeof openWorld>>;

/** A world on a database of its own, for all tests of a file or a `describe`. */
export const worldForTests = (): World =>
  forAllTests(async (stack) => stack.use(await openWorld(stack.use(await testDatabase()))));

export type Row = {
  id: string;
  endpoint_id: string;
  event: Id<'journal_entry'>;
  state: string;
  waiting: boolean;
  replay: number;
  attempts: number;
  attempts_made: number;
  due_at: Date;
  leased_until: Date | null;
  last_status: number | null;
  last_error: string | null;
};

/** Seals what happened, and makes deliveries of it and of what is to be told again. */
export const spreadEvents = async (database: Pick<TestDatabase, 'db' | 'connection'>): Promise<void> => {
  await sealAll(database);
  const metrics = createMetrics({ process: false });
  const parts = { clock: manualClock('2026-11-22T08:00:00Z'), metrics, offer: () => undefined };
  while ((await fanOut(parts, database.db)) === 'more');
  while ((await replaySome(parts, database.db)) === 'more');
};

/** Waits until this is so: what workers do by themselves has no end that could be awaited. */
export const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 8_000, interval: 5 });
