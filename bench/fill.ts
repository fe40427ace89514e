import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import type { ConnectionOptions } from '../server/src/lib/database.ts';
import { withClient } from './postgres.ts';

const perStatement = 20_000;
const perLine = 250_000;

/**
 * Removes the payments of the warm-up, so that services are connected to a database without any, and notes the accounts
 * that the warm-up opened. `connection` is the superuser's.
 */
export const emptyPayments = (connection: ConnectionOptions): Promise<void> =>
  withClient(connection, async (client) => {
    await client.query(
      `truncate payments.payments, journal.entries, journal.idempotency_keys, ledger.transfers, ledger.entries;
       create schema bench;
       create table bench.vendors as
       select row_number() over (order by tenant_id) - 1 as number, tenant_id,
              (array_agg(id) filter (where code = 'external:book'))[1] as external,
              (array_agg(id) filter (where code = 'payable'))[1] as payable,
              (array_agg(id) filter (where code = 'fees'))[1] as fees
       from ledger.accounts where currency = 'USD' group by tenant_id;
       create unique index on bench.vendors (number);
       analyze bench.vendors`,
    );
  });

/** Stores the payments from number `first` up to `end` of those that there will be, on two connections. */
export const storePayments = async (
  connection: ConnectionOptions,
  { first, end, log }: { first: number; end: number; log: (line: string) => void },
): Promise<void> => {
  const statement = await readFile(new URL('fill.sql', import.meta.url), 'utf8');
  let stored = 0;
  const storeHalf = (half: number): Promise<void> =>
    withClient(connection, async (client) => {
      await client.query('set synchronous_commit = off');
      for (let from = first; from < end; from += perStatement) {
        const to = Math.min(end, from + perStatement);
        await client.query({ name: 'fill', text: statement, values: [from, to, end, half] });
        const before = Math.floor(stored / perLine);
        stored += (to - from) / 2;
        if (Math.floor(stored / perLine) > before) log(`${stored + first} payments stored of ${end}`);
      }
    });
  await withClient(connection, (client) => setDurability(client, 'off'));
  await Promise.all([storeHalf(0), storeHalf(1)]);
  await withClient(connection, async (client) => {
    await setDurability(client, 'on');
    // As autovacuum and the checkpointer would have done by then; else they would do it while something is measured.
    await client.query('vacuum (analyze)');
    await client.query('checkpoint');
  });
};

/** Whether the server may lose what it has when the machine fails. Only while nothing is measured. */
const setDurability = async (client: pg.Client, value: 'on' | 'off'): Promise<void> => {
  for (const name of ['fsync', 'full_page_writes']) await client.query(`alter system set ${name} = ${value}`);
  await client.query('select pg_reload_conf()');
};
