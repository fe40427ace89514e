import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sealAll } from '../src/journal/testing.ts';
import type { Db } from '../src/lib/database.ts';
import { fromUuid, newId } from '../src/lib/ids.ts';
import { create } from '../src/payments/create.ts';
import { cancel, capture, refund } from '../src/payments/payments.ts';
import { contextFor, newTenant, paymentIn, testPayments } from '../src/payments/testing.ts';
import { differencesIn } from './setup/api.ts';
import { testDatabase, type TestDatabase } from './setup/database.ts';

/*
 * One row of the books changed by a superuser: every table, every column, removed, inserted, exchanged. What is found has to
 * name the row, by one of the ids in it.
 */

/** What no check can tell from what an honest writer may have written, or what nothing is decided by. */
const unchecked: Readonly<Record<string, readonly string[]>> = {
  // A setting, when it was opened, and whether it was opened at all while nothing has moved on it.
  'ledger.accounts': ['non_negative', 'created_at', 'inserted'],
  // How a call is carried out and looked after; what it is about and how it ended is checked.
  'payments.operations': [
    'id',
    'request',
    'key',
    'fee',
    'call_until',
    'backend_reference',
    'created_at',
    'settled_at',
    'asks',
    'asked_at',
    'next_ask_at',
    'absent_since',
    'entry_id',
    'mismatches',
    'mismatched_at',
  ],
  // No part of an entry, but of how it was found.
  'journal.entries': ['xid'],
};

const tables = [
  'ledger.accounts',
  'ledger.transfers',
  'ledger.entries',
  'ledger.holds',
  'ledger.hold_endings',
  'payments.payments',
  'payments.refunds',
  'payments.operations',
  'journal.entries',
  'journal.positions',
];

/** Another value of a type. */
const others: Readonly<Record<string, (column: string) => string>> = {
  integer: (column) => `${column} + 1`,
  bigint: (column) => `${column} + 1`,
  text: (column) =>
    `case ${column} when 'live' then 'test' when 'test' then 'live' else ${column} || 'x' end`,
  uuid: () => 'gen_random_uuid()',
  boolean: (column) => `not ${column}`,
  'timestamp with time zone': (column) => `${column} + interval '1 second'`,
  jsonb: () => `'{"other":"1"}'`,
  bytea: (column) => `sha256(${column})`,
  'uuid[]': (column) => `array_prepend(gen_random_uuid(), ${column}[2:])`,
  'bigint[]': (column) => `array_prepend(${column}[1] + 1, ${column}[2:])`,
};

/** Books with a little of everything: captured, authorised, cancelled, refunded, declined, unknown; sealed. */
const populated = async (): Promise<TestDatabase> => {
  const database = await testDatabase();
  const { module: anonymous, terms, close } = testPayments(database);
  const module = { ...anonymous, payerOf: async () => newId('customer') };
  terms.feeBasisPoints = 250;
  for (const customer of [newTenant(), newTenant()]) {
    const write = { context: contextFor(customer), key: undefined };
    const full = { currency: 'USD', reference: 'R-1', description: 'Tea', metadata: { order: '1' } };
    const pay = async (body: object) =>
      paymentIn(await create(module, write, { amount: '100.00', ...full, ...body }));
    const back = { body: { amount: '10.00', reason: 'Cold' }, name: 'payments.refund' } as const;
    await refund(module, write, (await pay({})).id, back);
    await pay({ amount: '70.00' });
    await pay({ capture: false });
    await capture(module, write, (await pay({ capture: false })).id, { amount: '60.00' });
    await cancel(module, write, (await pay({ capture: false })).id);
    await pay({ payment_method: 'sandbox:decline_do_not_honor' });
    const approved = await pay({ payment_method: 'sandbox:approve' });
    await refund(module, write, approved.id, back);
    await capture(module, write, (await pay({ payment_method: 'sandbox:approve', capture: false })).id, {});
    const stubborn = await pay({ payment_method: 'sandbox:refund_declined' });
    await refund(module, write, stubborn.id, back);
    const silent = await pay({ payment_method: 'sandbox:refund_timeout' });
    await refund(module, write, silent.id, back);
    await pay({ payment_method: 'sandbox:timeout_before_charging' });
  }
  await close();
  await sealAll(database);
  return database;
};

type Column = { name: string; type: string };

const columnsOf = async (db: Db, table: string): Promise<Column[]> => {
  const { rows } = await sql<Column>`
    select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = ${table}::regclass and attnum > 0 and not attisdropped order by attnum
  `.execute(db);
  return rows;
};

/** Takes the constraints off the table, as somebody would who means it. */
const open = async (db: Db, table: string): Promise<void> => {
  const { rows } = await sql<{ statement: string }>`
    select format('alter table %s drop constraint %I cascade', conrelid::regclass, conname) as statement from pg_constraint
    where conrelid = ${table}::regclass and contype in ('c', 'p', 'u')
    union all
    select format('drop index %s', indexrelid::regclass) from pg_index
    where indrelid = ${table}::regclass and indisunique
      and not exists (select from pg_constraint where conindid = indexrelid)
  `.execute(db);
  for (const { statement } of rows) await sql.raw(statement).execute(db);
};

let database: TestDatabase;
beforeAll(async () => {
  database = await populated();
});
afterAll(() => database[Symbol.asyncDispose]());

/** The ids in a row, as public ids end. */
const suffixesOf = (row: object): string[] =>
  Object.entries(row)
    .filter(([name]) => name !== 'snapshot')
    .flatMap(
      ([, value]) => JSON.stringify(value)?.match(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [],
    )
    .map((uuid) => fromUuid('request', uuid).slice('req_'.length));

/** What is found after this change, which is rolled back afterwards. */
const foundAfter = async (table: string, change: (tx: Db) => Promise<unknown>): Promise<string> => {
  const tx = await database.superuser.startTransaction().execute();
  try {
    await open(tx, table);
    await change(tx);
    return (await differencesIn(tx)).map(({ difference }) => difference).join('\n');
  } finally {
    await tx.rollback().execute();
  }
};

/** The first and last rows, of those that have something in this column. */
const rowsOf = async (db: Db, table: string, column?: string): Promise<{ ctid: string; row: object }[]> => {
  const where = column === undefined ? '' : `where ${column} is not null`;
  const { rows } = await sql
    .raw<{ ctid: string; row: object }>(
      `select ctid::text, to_jsonb(t) as row from ${table} t ${where} order by ctid`,
    )
    .execute(db);
  return rows.length > 1 ? [rows[0], rows.at(-1)].flatMap((row) => row ?? []) : rows;
};

const names = (found: string, ...rows: object[]): boolean =>
  rows.some(
    (row) =>
      suffixesOf(row).some((suffix) => found.includes(suffix)) ||
      ('position' in row && found.includes(`position ${String(row.position)} `)),
  );

test('honest books have no difference', async () => {
  expect(await differencesIn(database.db)).toEqual([]);
});

describe.each(tables)('%s', { timeout: 120_000 }, (table) => {
  const isChecked = (what: string): boolean => !unchecked[table]?.includes(what);

  test('a row that is altered in any column is named', async () => {
    const missed: string[] = [];
    for (const { name, type } of await columnsOf(database.superuser, table)) {
      if (!isChecked(name)) continue;
      const other = others[type];
      if (!other) throw new Error(`say in \`others\` what another value of ${type} is`);
      const rows = await rowsOf(database.superuser, table, name);
      if (rows.length === 0) missed.push(`${name}: no row has any`);
      for (const { ctid, row } of rows) {
        const found = await foundAfter(table, (tx) =>
          sql.raw(`update ${table} set ${name} = ${other(name)} where ctid = '${ctid}'`).execute(tx),
        );
        if (!names(found, row))
          missed.push(`${name} ${ctid} of ${JSON.stringify(row)}: found ${found || 'nothing'}`);
      }
    }
    expect(missed).toEqual([]);
  });

  test('a row that is removed is named', async () => {
    for (const { ctid, row } of await rowsOf(database.superuser, table)) {
      const found = await foundAfter(table, (tx) =>
        sql.raw(`delete from ${table} where ctid = '${ctid}'`).execute(tx),
      );
      expect(names(found, row), `${JSON.stringify(row)}: found ${found}`).toBe(true);
    }
  });

  test.runIf(isChecked('inserted'))('a row that is inserted is named', async () => {
    const columns = (await columnsOf(database.superuser, table)).map(({ name }) => name);
    const fresh = columns.includes('id') ? 'id' : columns.includes('entry_id') ? 'entry_id' : columns[0];
    for (const { ctid, row } of await rowsOf(database.superuser, table)) {
      const made = crypto.randomUUID();
      const values = columns.map((name) =>
        name === fresh ? `'${made}'` : name === 'position' ? '1000' : name,
      );
      const found = await foundAfter(table, (tx) =>
        sql
          .raw(`insert into ${table} select ${values.join()} from ${table} where ctid = '${ctid}'`)
          .execute(tx),
      );
      expect(names(found, { made }, row), `found ${found || 'nothing'}`).toBe(true);
    }
  });

  test('two rows that exchange what they hold are named', async () => {
    const missed: string[] = [];
    for (const { name } of await columnsOf(database.superuser, table)) {
      if (!isChecked(name)) continue;
      const { rows } = await sql
        .raw<{ a: string; b: string; row: object; other: object }>(
          `select a.ctid::text as a, b.ctid::text as b, to_jsonb(a) as row, to_jsonb(b) as other from ${table} a, ${table} b
           where a.ctid < b.ctid and a.${name} is distinct from b.${name} limit 1`,
        )
        .execute(database.superuser);
      const [pair] = rows;
      if (!pair) continue;
      const found = await foundAfter(table, async (tx) => {
        await sql
          .raw(
            `create temp table held on commit drop as select ${name} as value from ${table} where ctid = '${pair.a}'`,
          )
          .execute(tx);
        await sql
          .raw(
            `create temp table other on commit drop as select ${name} as value from ${table} where ctid = '${pair.b}'`,
          )
          .execute(tx);
        await sql
          .raw(`update ${table} set ${name} = (select value from other) where ctid = '${pair.a}'`)
          .execute(tx);
        await sql
          .raw(`update ${table} set ${name} = (select value from held) where ctid = '${pair.b}'`)
          .execute(tx);
      });
      if (!names(found, pair.row, pair.other)) missed.push(`${name}: found ${found || 'nothing'}`);
    }
    expect(missed).toEqual([]);
  });
});
