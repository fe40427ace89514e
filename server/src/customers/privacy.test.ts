import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { requestHash } from '../journal/idempotency.ts';
import { fromUuid, toUuid } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import {
  completeAnswer,
  createCustomer,
  describeCustomers,
  getCustomer,
  listCustomers,
  updateCustomer,
} from './customers.ts';
import { openCustomerKeys } from './keys.ts';
import { erase, everythingStored, findOrCreateCustomer, refusalOf, testCustomers } from './testing.ts';

const tenantId = 1;

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const { keys, clock, encryption, context, create, update } = testCustomers(() => database.db, tenantId);

describe('personal data', () => {
  test('no table holds an email, name or phone in clear, nor an unkeyed hash of a request', async () => {
    const planted = {
      email: 'Planted.Person@Secret-Shop.example',
      name: 'Plantina Personova',
      phone: '+49 171 5550199',
    };
    const { id } = await create({ ...planted, metadata: { order: '1042' } }, 'scan-1');
    await update(id, { email: 'planted.person2@secret-shop.example', name: 'Plantina Zweitname' }, 'scan-2');
    await findOrCreateCustomer(database.db, keys, context, {
      email: 'planted3@secret-shop.example',
      name: 'Plantina III',
    });
    await refusalOf(create({ email: 'planted3@secret-shop.example', name: 'Plantina IV' }, 'scan-4'));
    const stored = await everythingStored(database.superuser);
    // The scan sees what is there: metadata, and the kinds of entries.
    expect(stored.includes('customer.created') && stored.includes('"order":"1042"')).toBe(true);
    const hexed = (text: string): string => Buffer.from(text).toString('hex');
    const told = [
      'planted',
      'Planted',
      'secret-shop',
      'Secret-Shop',
      'Plantina',
      'Zweitname',
      '5550199',
      '"email"',
    ];
    expect(told.filter((text) => stored.includes(text) || stored.includes(hexed(text)))).toEqual([]);
    expect(stored.includes(requestHash(planted).toString('latin1'))).toBe(false);
  });

  test('the stored hash of a request depends on our key: nobody finds an address by hashing likely ones', async () => {
    const other = openCustomerKeys(
      { masterKey: new Secret(Buffer.alloc(32, 7).toString('base64')) },
      { clock },
    );
    for (const [index, each] of [keys, other].entries()) {
      const write = { context: { ...context, tenantId: 2 + index }, key: 'guess' };
      await createCustomer(database.db, each, write, { email: 'guess@example.com', name: 'Guess' });
    }
    const { rows } = await sql`
      select distinct request_hash from journal.idempotency_keys where key = 'guess'
    `.execute(database.db);
    expect(rows).toHaveLength(2);
  });

  test('once the key is destroyed, reads show nulls, changes are refused, replays still answer, the email is free', async () => {
    const { id, email } = await create({}, 'erased-1');
    const updated = await update(id, { name: 'Soon Gone' }, 'erased-2');
    await describeCustomers(database.db, keys, tenantId, [id]);
    await erase(database.superuser, tenantId, id, clock.now());
    const nobody = { email: null, name: null, phone: null };
    expect(await getCustomer(database.db, keys, tenantId, id)).toMatchObject({
      id,
      ...nobody,
      erased_at: expect.any(String),
    });
    expect((await describeCustomers(database.db, keys, tenantId, [id])).get(id)).toBeNull();
    const listed = await listCustomers(database.db, keys, tenantId, { before: undefined, limit: 100 });
    expect(listed.find((customer) => customer.id === id)).toMatchObject(nobody);
    expect((await refusalOf(update(id, { name: 'Back' }))).code).toBe('invalid_state');
    const replay = await update(id, { name: 'Soon Gone' }, 'erased-2');
    expect(replay).toMatchObject({ replayed: true, entry: { id: updated.entry.id } });
    expect(await completeAnswer(database.db, keys, tenantId, replay)).toMatchObject(nobody);
    expect(await findOrCreateCustomer(database.db, keys, context, { email })).not.toBe(id);
  });

  test('a destroyed key alone suffices: what is left is not readable', async () => {
    const { id } = await create();
    await sql`delete from customers.keys where customer_id = ${toUuid(id)}`.execute(database.superuser);
    expect((await getCustomer(database.db, keys, tenantId, id)).email).toBeNull();
  });

  test("one customer's sealed data under another's id does not open", async () => {
    const [one, two] = [await create(), await create()];
    await sql`
      update customers.customers c set sealed = o.sealed from customers.customers o
      where c.id = ${toUuid(one.id)} and o.id = ${toUuid(two.id)}
    `.execute(database.superuser);
    await expect(getCustomer(database.db, keys, tenantId, one.id)).rejects.toThrow(/altered|not configured/);
    await sql`
      update customers.keys c set wrapped_key = o.wrapped_key from customers.keys o
      where c.customer_id = ${toUuid(one.id)} and o.customer_id = ${toUuid(two.id)}
    `.execute(database.superuser);
    await expect(getCustomer(database.db, keys, tenantId, one.id)).rejects.toThrow('belongs elsewhere');
  });

  test('under a new master key, customers of the previous one are read, found and not doubled', async () => {
    const { id, email } = await create();
    const next = openCustomerKeys(
      {
        masterKey: new Secret(Buffer.alloc(32, 6).toString('base64')),
        previousMasterKey: encryption.masterKey,
      },
      { clock },
    );
    expect((await getCustomer(database.db, next, tenantId, id)).email).toBe(email);
    expect(await findOrCreateCustomer(database.db, next, context, { email })).toBe(id);
    const again = { context, key: undefined };
    expect((await refusalOf(createCustomer(database.db, next, again, { email, name: 'x' }))).code).toBe(
      'already_exists',
    );
    await updateCustomer(database.db, next, again, { id, email });
    expect(await findOrCreateCustomer(database.db, next, context, { email })).toBe(id);
  });
});

describe('the service role', () => {
  test.each([
    'delete from customers.customers',
    'delete from customers.keys',
    'update customers.keys set wrapped_key = wrapped_key',
    'update customers.customers set created_at = created_at',
    'truncate customers.customers',
    'alter table customers.customers add column x text',
  ])('may not: %s', async (statement) => {
    await expect(sql.raw(statement).execute(database.db)).rejects.toThrow(/permission denied|must be owner/);
  });

  test('ids in the tables are those that the API shows', async () => {
    const { id } = await create();
    expect(fromUuid('customer', toUuid(id))).toBe(id);
  });
});
