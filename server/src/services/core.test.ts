import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'kysely';
import pg from 'pg';
import { expect, test } from 'vitest';
import { testDatabase } from '../../test/setup/database.ts';
import { entriesChannel } from '../lib/bell.ts';
import { loadConfig } from '../lib/config/config.ts';
import { clientConfig, inTransaction } from '../lib/database.ts';
import { create } from '../payments/create.ts';
import { contextFor } from '../payments/testing.ts';
import { openCore } from './core.ts';
import { testParts } from './testing.ts';

test('the core rings for the worker after a payment and every other transaction that committed', async () => {
  await using database = await testDatabase();
  await using parts = await testParts(database);
  const { connection, db } = database;
  const secret = Buffer.alloc(32, 'abcdefghijk').toString('base64');
  const env = { PAYMENTS_ENCRYPTION_MASTER_KEY: secret, PAYMENTS_AUTH_SERVICE_SECRET: secret };
  const { config } = loadConfig({ service: 'sapi', env });
  const core = openCore({ ...parts, config, connection });
  const listener = new pg.Client(clientConfig(connection, 'test-listener'));
  let rings = 0;
  listener.on('notification', () => (rings += 1));
  await listener.connect();
  await listener.query(`listen ${entriesChannel}`);
  const ringsOf = async (work: () => Promise<unknown>): Promise<number> => {
    rings = 0;
    await work().catch(() => undefined);
    // Longer than the pause between two rings; what was sent before this answer was heard before it.
    await wait(50);
    await listener.query('select 1');
    return rings;
  };
  try {
    const { rows } = await sql<{
      id: number;
    }>`select id from vendors.tenants where mode = 'test' limit 1`.execute(db);
    const write = { context: contextFor(rows[0]?.id ?? 0), key: undefined };
    const body = { amount: '10.00', currency: 'USD' };
    const pay = () => create(core.parts.payments, write, body);
    // The first opens the accounts too.
    await ringsOf(pay);
    expect(await ringsOf(pay)).toBe(1);
    expect(await ringsOf(() => inTransaction(core.parts.db, (tx) => sql`select 1`.execute(tx)))).toBe(1);
    expect(await ringsOf(() => inTransaction(core.parts.db, (tx) => sql`no statement`.execute(tx)))).toBe(0);
  } finally {
    await listener.end();
    await core.close();
  }
});
