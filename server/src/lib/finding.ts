import { sql, type RawBuilder } from 'kysely';
import type { Db } from './database.ts';
import { fromUuid, type IdKind } from './ids.ts';

/** A check of stored data: how much it looked at, and the first thing that is wrong, by name. */
export type Finding = { check: string; looked: number; difference: string | undefined };

type Difference = { kind: IdKind; id: string; found: string };

/** Runs a query that gives one row per fault (only the first is asked for) and names the object. */
export const firstDifference = async (
  db: Db,
  check: string,
  counted: RawBuilder<unknown>,
  faults: RawBuilder<Difference>,
): Promise<Finding> => {
  const count = await sql<{ looked: bigint }>`select count(*) as looked from ${counted}`.execute(db);
  const { rows } = await sql<Difference>`select * from (${faults}) f order by f.id limit 1`.execute(db);
  const fault = rows[0];
  return {
    check,
    looked: Number(count.rows[0]?.looked ?? 0),
    difference: fault && `${fromUuid(fault.kind, fault.id)}: ${fault.found}`,
  };
};
