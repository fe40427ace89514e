import { setTimeout as wait } from 'node:timers/promises';
import { sql, type RawBuilder } from 'kysely';
import type { Db } from './database.ts';

/** A step looks at so many pages of a table; then it rests nine times as long as that took, for others. */
const pagesOfStep = 200;
const restFactor = 9;

/**
 * Goes over a whole table, step by step, and gives how many rows were removed. A step calls a function of the database with the
 * pages it may look at, the first and how many; it gives `next_page`, null at the end, and `removed`.
 */
export const sweep = async (
  db: Db,
  signal: AbortSignal,
  stepOver: (pages: RawBuilder<unknown>) => RawBuilder<unknown>,
): Promise<number> => {
  let removed = 0n;
  for (let page: bigint | null = 0n; page !== null && !signal.aborted;) {
    const startedAtMs = performance.now();
    const { rows } = await sql<{ next_page: bigint | null; removed: bigint }>`
      select * from ${stepOver(sql`${page}::bigint, ${pagesOfStep}`)}
    `.execute(db);
    removed += rows[0]?.removed ?? 0n;
    page = rows[0]?.next_page ?? null;
    const restMs = (performance.now() - startedAtMs) * restFactor;
    if (page !== null) await wait(restMs, undefined, { signal }).catch(() => undefined);
  }
  return Number(removed);
};

/** Removes what a function of the database finds too old, which gives how many rows that were. */
export const removeBy = async (db: Db, call: RawBuilder<unknown>): Promise<number> => {
  const { rows } = await sql<{ removed: bigint }>`select ${call} as removed`.execute(db);
  return Number(rows[0]?.removed ?? 0n);
};
