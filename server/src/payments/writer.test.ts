import fc from 'fast-check';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { createAccounts } from '../ledger/ledger.ts';
import { verifyLedger } from '../ledger/verify.ts';
import { manualClock } from '../lib/clock.ts';
import { clientConfig, type Statement } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { refund } from './payments.ts';
import { create } from './create.ts';
import type { CreatePaymentBody } from './schema.ts';
import { contextFor, newTenant, paymentIn, testNow, testPayments } from './testing.ts';
import { verifyPayments } from './verify.ts';
import { createPaymentWriter } from './writer.ts';

const database = await testDatabase();
const { module, terms, close } = testPayments(database);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});

type Attempt = { tenant: number; key?: string | undefined; body?: Partial<CreatePaymentBody> };

/** Sends all at once, so that most travel in one batch; gives `created`, `replayed` or the refusal's code, each. */
const sendTogether = (attempts: readonly Attempt[]): Promise<string[]> =>
  Promise.all(
    attempts.map(async ({ tenant, key, body }) => {
      const request = { amount: '1.00', currency: 'USD', ...body };
      try {
        const answer = await create(module, { context: contextFor(tenant), key }, request);
        return answer.replayed ? 'replayed' : 'created';
      } catch (error) {
        return error instanceof AppError ? error.code : 'internal_error';
      }
    }),
  );

const countOf = async (tenant: number): Promise<number> => {
  const { rows } = await sql<{ count: bigint }>`
    select count(*) from payments.payments where tenant_id = ${tenant}
  `.execute(database.db);
  return Number(rows[0]?.count);
};

const verified = async (): Promise<string[]> =>
  [...(await verifyLedger(database.db)), ...(await verifyPayments(database.db))].flatMap(
    ({ difference }) => difference ?? [],
  );

describe('one batch', () => {
  test('duplicates, replays, other bodies, overflow and poison each get their own right answer', async () => {
    const [one, full] = [newTenant(), newTenant()];
    await sendTogether([{ tenant: one, key: 'old' }, { tenant: full }]);
    await sql`
      update ledger.accounts set posted = 9223372036854775807 where tenant_id = ${full} and code = 'payable'
    `.execute(database.superuser);
    const outcomes = await sendTogether([
      { tenant: one },
      { tenant: one },
      { tenant: one, key: 'a' },
      { tenant: one, key: 'old' },
      { tenant: one, key: 'a' },
      { tenant: full, key: 'overflow' },
      { tenant: one, body: { description: 'poison \u0000' } },
      { tenant: one, key: 'a', body: { amount: '2.00' } },
      { tenant: full },
      { tenant: one, key: 'b' },
      { tenant: one, key: 'poison', body: { metadata: { broken: '\ud800' } } },
      { tenant: one },
    ]);
    expect(outcomes).toEqual([
      'created',
      'created',
      'created',
      'replayed',
      'replayed',
      'balance_overflow',
      'internal_error',
      'idempotency_key_reused',
      'balance_overflow',
      'created',
      'internal_error',
      'created',
    ]);
    expect(await countOf(one)).toBe(6);
    expect(await sendTogether([{ tenant: full, key: 'overflow' }])).toEqual(['balance_overflow']);
    await sql`
      update ledger.accounts a set posted = e.balance from ledger.entries e
      where a.tenant_id = ${full} and a.code = 'payable' and e.account_id = a.id and e.version = a.version
    `.execute(database.superuser);
    expect(await verified()).toEqual([]);
  });

  test('a batch of 300 from 30 tenants is written in order of arrival per tenant', async () => {
    const tenants = Array.from({ length: 30 }, newTenant);
    // Opening accounts takes its time; afterwards requests arrive in the order in which they were sent.
    await sendTogether(tenants.map((tenant) => ({ tenant })));
    const attempts = Array.from({ length: 300 }, (_, index) => ({
      tenant: tenants[index % 30] ?? 0,
      key: `k${index % 150}`,
    }));
    const outcomes = await sendTogether(attempts);
    expect(outcomes.filter((outcome) => outcome === 'created')).toHaveLength(150);
    expect(outcomes.slice(0, 150).every((outcome) => outcome === 'created')).toBe(true);
    expect(await verified()).toEqual([]);
  });

  test('the plan of a batch made while the tables were empty still serves when they have grown', async () => {
    await using empty = await testDatabase();
    // Tables known to be empty invite plans that read them whole.
    await sql`
      vacuum analyze ledger.accounts, ledger.transfers, ledger.entries, journal.entries, journal.idempotency_keys,
                     payments.payments
    `.execute(empty.superuser);
    const client = new pg.Client(clientConfig(empty.connection, 'test-plan'));
    await client.connect();
    const query = async <Row>(statement: Statement): Promise<Row[]> => (await client.query(statement)).rows;
    const close = () => client.end();
    const writer = createPaymentWriter({ query, close, [Symbol.asyncDispose]: close }, manualClock(testNow));
    const onOneSession = { ...module, db: empty.db, accounts: createAccounts(), writer };
    const tenant = newTenant();
    // The accounts are opened before the transaction begins: other sessions could wait for its end otherwise.
    const body = { amount: '1.00', currency: 'USD' };
    for (let count = 0; count < 10; count += 1)
      await create(onOneSession, { context: contextFor(tenant), key: undefined }, body);
    // What the session has planned by now was planned for empty tables.
    await sql`
      insert into ledger.accounts (id, tenant_id, currency, code, non_negative, created_at)
      select gen_random_uuid(), 0, 'USD', 'other ' || i, true, ${testNow} from generate_series(1, 20000) i
    `.execute(empty.superuser);
    // One transaction, so that the session's own counters tell what its statements read.
    await client.query('begin');
    for (let round = 0; round < 15; round += 1) {
      const keys = Array.from({ length: 250 }, (_, index) => `r${round}-${index}`);
      await Promise.all(
        keys.map((key) =>
          create(onOneSession, { context: contextFor(tenant), key }, { amount: '1.00', currency: 'USD' }),
        ),
      );
    }
    const { rows } = await client.query<{ table: string; read: bigint }>(
      'select schemaname || $1 || relname as table, seq_tup_read as read from pg_stat_xact_user_tables where seq_tup_read > 0',
      ['.'],
    );
    const probes = await client.query<{ fetched: bigint }>(
      "select idx_tup_fetch as fetched from pg_stat_xact_user_tables where relname = 'accounts'",
    );
    await client.end();
    expect(rows).toEqual([]);
    // A few probes an account and batch, whatever else is in the table.
    expect(Number(probes.rows[0]?.fetched)).toBeLessThan(15 * 250 * 10);
  });
});

describe('any operations of many tenants', () => {
  test('keep the books right, whatever their order (property, seeded)', async () => {
    terms.feeBasisPoints = 290;
    const amount = fc.integer({ min: 1, max: 500 }).map((cents) => (cents / 100).toFixed(2));
    const operation = fc.record({
      tenant: fc.integer({ min: 0, max: 2 }),
      kind: fc.constantFrom('pay', 'pay', 'authorise', 'sandbox', 'refund'),
      amount,
      key: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 40 }), async (operations) => {
        const tenants = [newTenant(), newTenant(), newTenant()];
        const paid = await create(
          module,
          { context: contextFor(tenants[0] ?? 0), key: undefined },
          { amount: '5.00', currency: 'USD' },
        );
        await Promise.allSettled(
          operations.map(({ tenant, kind, amount: value, key }) => {
            const write = {
              context: contextFor(tenants[tenant] ?? 0),
              key: key === undefined ? undefined : `key-${key}`,
            };
            const body = { amount: value, currency: 'USD' };
            if (kind === 'refund') {
              return refund(module, { ...write, context: contextFor(tenants[0] ?? 0) }, paymentIn(paid).id, {
                body: { amount: value },
                name: 'payments.refund',
              });
            }
            const method = kind === 'sandbox' ? { payment_method: 'sandbox:approve' } : {};
            return create(module, write, { ...body, ...method, capture: kind !== 'authorise' });
          }),
        );
        expect(await verified()).toEqual([]);
      }),
      { numRuns: 12, seed: 20_261_122 },
    );
    terms.feeBasisPoints = 0;
  });
});
