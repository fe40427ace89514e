import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { testDatabase } from '../../test/setup/database.ts';
import { dumpSchema } from './schema-dump.ts';

const file = fileURLToPath(new URL('../../schema.sql', import.meta.url));
const update = 'node bin/launch.mjs vitest run server/src/lib/schema-dump.test.ts --update';

test('server/schema.sql shows what the migrations and functions make, on every PostgreSQL version', async () => {
  await using database = await testDatabase();
  const dump = await dumpSchema(database.superuser);
  await expect(
    dump,
    `server/schema.sql is out of date. Review the change after: ${update}`,
  ).toMatchFileSnapshot(file);
});

test('a column, an index, a constraint, a right and a signature can’t change without a change of the dump', async () => {
  await using database = await testDatabase();
  const before = await dumpSchema(database.superuser);
  await sql`
    alter table ledger.entries add column extra integer default 7, add check (extra > 0);
    create index entries_extra on ledger.entries (extra);
    grant delete, update (extra) on ledger.entries to florin_maintenance;
    create function ledger.more(amount bigint) returns bigint language sql stable set search_path = '' as 'select amount';
    create view ledger.more as select account_id from ledger.entries`.execute(database.superuser);
  const added = (await dumpSchema(database.superuser))
    .split('\n')
    .filter((line) => !before.split('\n').includes(line));
  expect(added).toEqual([
    '  extra integer default 7,',
    '  constraint entries_amount_check CHECK (amount <> 0),',
    '  constraint entries_extra_check CHECK (extra > 0)',
    'CREATE INDEX entries_extra ON ledger.entries USING btree (extra);',
    'grant delete, select, update (extra) on ledger.entries to florin_maintenance;',
    'create view ledger.more (',
    '  account_id uuid',
    ') as select … from ledger.entries;',
    'create function ledger.more(amount bigint) returns bigint language sql stable set search_path="";',
  ]);
});
