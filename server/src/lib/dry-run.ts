import { AsyncLocalStorage } from 'node:async_hooks';
import type { PostgresPool, PostgresPoolClient } from 'kysely';
import type pg from 'pg';
import type { Id } from './ids.ts';

/**
 * A write that is done and taken back. While it runs, everything that its code asks of a database of `openDatabase` goes to
 * one transaction, which is rolled back at the end: a module need not know that it is rehearsed. What no rollback takes
 * back, it has to leave out: see `assertReal`.
 */
export type DryRun = {
  /** What would be answered. */
  answer?: { status: number; replayed: boolean; body: unknown };
  /** The backend that would be asked. It is taken to approve: what is written from then on depends on it. */
  assumes?: { connector: string; operation: string };
  /** What was written, in order, to be read before it is gone. */
  written: Written[];
};

type WrittenRow =
  | { what: 'entry'; tenantId: number; id: Id<'journal_entry'> }
  | { what: 'hold'; id: Id<'hold'>; ended: boolean };
export type Written = WrittenRow & { assumed: boolean };

type Rehearsal = {
  dryRun: DryRun;
  clients: Map<pg.Pool, Promise<pg.PoolClient>>;
  isOver: boolean;
};

const rehearsals = new AsyncLocalStorage<Rehearsal>();

/** The dry run that this code is part of, if it is part of one. */
export const currentDryRun = (): DryRun | undefined => rehearsals.getStore()?.dryRun;

/** Runs a write without any effect on the database. What `run` wants to know of what it wrote, it has to read itself. */
export const rehearse = async <T>(run: (dryRun: DryRun) => Promise<T>): Promise<T> => {
  const rehearsal: Rehearsal = { dryRun: { written: [] }, clients: new Map(), isOver: false };
  try {
    return await rehearsals.run(rehearsal, () => run(rehearsal.dryRun));
  } finally {
    rehearsal.isOver = true;
    await Promise.all([...rehearsal.clients.values()].map(takeBack));
  }
};

/** Notes a row that was written; does nothing outside of a dry run. */
export const noteWritten = (row: WrittenRow): void => {
  const dryRun = currentDryRun();
  dryRun?.written.push({ ...row, assumed: dryRun.assumes !== undefined });
};

/** Stands before effects that no rollback takes back. @throws Error in a dry run: whoever got here left out to ask */
export const assertReal = (effect: string): void => {
  if (currentDryRun()) throw new Error(`a dry run must not ${effect}`);
};

/** The pool as the query layer sees it: in a dry run it has one connection, that of the dry run. */
export const rehearsable = (pool: pg.Pool): PostgresPool => ({
  connect: async () => {
    const rehearsal = rehearsals.getStore();
    return rehearsal ? joining(rehearsal, pool) : pool.connect();
  },
  end: () => pool.end(),
  options: pool.options,
});

/** A dry run that stops in the middle of itself must not hold its locks for ever. */
const beginning = `begin; set local idle_in_transaction_session_timeout = '5s'`;

const begin = async (pool: pg.Pool): Promise<pg.PoolClient> => {
  const client = await pool.connect();
  try {
    await client.query(beginning);
    return client;
  } catch (error) {
    client.release(true);
    throw error;
  }
};

const takeBack = async (begun: Promise<pg.PoolClient>): Promise<void> => {
  // Whoever asked for a connection that could not be had was told so.
  const client = await begun.catch(() => undefined);
  try {
    await client?.query('rollback');
    client?.release();
  } catch {
    // The server rolls back what was begun on a connection that is lost.
    client?.release(true);
  }
};

/** Transactions of the rehearsed code become savepoints of the one transaction. */
const nested: Readonly<Record<string, string>> = {
  begin: 'savepoint rehearsed',
  commit: 'release savepoint rehearsed',
  rollback: 'rollback to savepoint rehearsed',
};

const joining = async (rehearsal: Rehearsal, pool: pg.Pool): Promise<PostgresPoolClient> => {
  const assertRunning = (): void => {
    if (rehearsal.isOver) throw new Error('a dry run asked the database for something after its end');
  };
  assertRunning();
  const known = rehearsal.clients.get(pool) ?? begin(pool);
  rehearsal.clients.set(pool, known);
  const client = await known;
  const query = (text: string, values: unknown[]) => {
    assertRunning();
    return client.query(nested[text] ?? text, values);
  };
  // Cursors, the other way to call `query`, are not used: the dialect is opened without them.
  return { query: query as unknown as PostgresPoolClient['query'], release: () => undefined };
};
