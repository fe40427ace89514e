import { sql } from 'kysely';
import { expect, vi } from 'vitest';
import type { Context } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import type { ConnectionOptions, Db } from '../lib/database.ts';
import { memoryLog } from '../lib/http/testing.ts';
import { newId, type Id } from '../lib/ids.ts';
import { createMetrics } from '../lib/metrics.ts';
import type { Secret } from '../lib/secret.ts';
import { makeEntry, type JournalEntry } from './entry.ts';
import { appendEntries } from './journal.ts';
import { sequencerJob } from './sequencer.ts';
import { signingKeyPath, type KeyStore } from './signing.ts';

/** Secrets in memory: of the signing key alone. */
export const memoryKeys = (options: { writable?: boolean; pem?: Secret } = {}): KeyStore => {
  let stored = options.pem;
  return {
    name: 'memory',
    writable: options.writable ?? true,
    read: async (path) => (path === signingKeyPath && stored ? { value: stored } : undefined),
    write: async (_, value) => {
      stored = value;
      return '1';
    },
  };
};

/** The key of whoever brings none: heads of one database that several sequencers sign are signed by one key. */
const sharedKeys = memoryKeys();

/** Runs a sequencer of its own, with short pauses. */
export const startSequencer = (
  { connection }: { connection: ConnectionOptions },
  options: { secrets?: KeyStore; clock?: Clock; headIntervalMs?: number } = {},
) => {
  const stopping = new AbortController();
  const metrics = createMetrics({ process: false });
  const { log, lines } = memoryLog();
  const { secrets = sharedKeys, clock = systemClock, headIntervalMs = 0 } = options;
  const job = sequencerJob({
    connection,
    secrets,
    clock,
    log,
    metrics,
    pollMs: 5,
    headIntervalMs,
    standbyMs: 20,
  });
  const ended = job.run(stopping.signal);
  ended.catch(() => undefined);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  return { job, lines, metrics, ended, stop, [Symbol.asyncDispose]: stop };
};

/** Waits until every entry has its position and a head is over all of them. */
export const untilSealed = async (db: Db): Promise<void> => {
  await vi.waitFor(async () => expect(await unsealed(db)).toEqual({ entries: 0n, under_no_head: 0n }), {
    timeout: 10_000,
    interval: 10,
  });
};

const unsealed = async (db: Db): Promise<{ entries: bigint; under_no_head: bigint } | undefined> => {
  const { rows } = await sql<{ entries: bigint; under_no_head: bigint }>`
    select (select count(*) from journal.entries) - count(*) as entries,
           count(*) - coalesce((select max(size) from journal.heads), 0) as under_no_head
    from journal.positions
  `.execute(db);
  return rows[0];
};

/** Seals everything that is in the journal. */
export const sealAll = async (
  database: { db: Db; connection: ConnectionOptions },
  options: { secrets?: KeyStore; clock?: Clock } = {},
): Promise<void> => {
  await using sequencer = startSequencer(database, options);
  await Promise.race([untilSealed(database.db), sequencer.ended]);
};

export const journalContext = (tenantId = 1): Context => ({
  tenantId,
  actor: 'system:test',
  origin: undefined,
  requestId: undefined,
  now: new Date('2026-11-22T08:00:00Z'),
});

/** An entry of an object that changes for the first time, unless told otherwise. */
export const testEntry = (
  object: { tenantId?: number; id?: Id<'vendor'>; version?: number } = {},
): JournalEntry => {
  const { tenantId = 1, id = newId('vendor'), version = 1 } = object;
  return makeEntry(journalContext(tenantId), {
    kind: 'vendor.updated',
    object: { type: 'vendor', id, version },
    snapshot: { id, version },
  });
};

/** Writes entries in one transaction and gives them. */
export const writeEntries = async (db: Db, count: number): Promise<JournalEntry[]> => {
  const entries = Array.from({ length: count }, () => testEntry());
  await appendEntries(db, entries);
  return entries;
};

/** The positions as they are, in order. */
export const positionsOf = async (
  db: Db,
): Promise<{ position: bigint; id: string; object_id: string | null; object_version: number | null }[]> => {
  const { rows } = await sql<{
    position: bigint;
    id: string;
    object_id: string | null;
    object_version: number | null;
  }>`
    select p.position, e.id, e.object_id, e.object_version
    from journal.positions p left join journal.entries e on e.tenant_id = p.tenant_id and e.id = p.entry_id
    order by p.position
  `.execute(db);
  return rows;
};
