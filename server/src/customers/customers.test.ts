import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { requestHash } from '../journal/idempotency.ts';
import { inTransaction } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { fromUuid, newId, toUuid, type Id } from '../lib/ids.ts';
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
import { contextFor, erase, everythingStored, findOrCreateCustomer, testKeys } from './testing.ts';

const { keys, clock, encryption } = testKeys();
const tenantId = 1;
const context = contextFor(tenantId, clock.now());
const ada = { email: 'Ada.Lovelace@Example.com', name: 'Ada Lovelace' };

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

let addresses = 0;
const freshEmail = (): string => `person.${++addresses}@example.com`;

const create = async (
  body: Partial<Parameters<typeof createCustomer>[3]> = {},
  key?: string,
  within = context,
) => {
  const person = { email: freshEmail(), name: 'Grace Hopper', ...body };
  const answer = await createCustomer(database.db, keys, { context: within, key }, person);
  return { answer, id: answer.entry.object?.id as Id<'customer'>, ...person };
};

type Changes = Omit<Parameters<typeof updateCustomer>[3], 'id'>;
const update = (id: Id<'customer'>, changes: Changes, key?: string, within = context) =>
  updateCustomer(database.db, keys, { context: within, key }, { id, ...changes });

const refusalOf = async (run: Promise<unknown>): Promise<AppError> => {
  const error: unknown = await run.then(
    () => undefined,
    (refused: unknown) => refused,
  );
  if (error instanceof AppError) return error;
  throw new Error('It was expected to be refused.', { cause: error });
};

type Entry = { kind: string; object_version: number; snapshot: unknown };
const entriesOf = async (id: Id<'customer'>): Promise<Entry[]> =>
  (
    await sql<Entry>`
      select kind, object_version, snapshot from journal.entries
      where object_id = ${toUuid(id)} order by object_version
    `.execute(database.superuser)
  ).rows;

describe('createCustomer', () => {
  test('stores the person sealed, and one journal entry without personal data', async () => {
    const { answer, id } = await create({ ...ada, phone: '+49 30 901820', metadata: { order: '1042' } });
    expect(answer.status).toBe(201);
    expect(await getCustomer(database.db, keys, tenantId, id)).toEqual({
      id,
      object: 'customer',
      ...ada,
      phone: '+49 30 901820',
      metadata: { order: '1042' },
      version: 1,
      created_at: '2026-11-22T08:00:00.000Z',
      updated_at: '2026-11-22T08:00:00.000Z',
      erased_at: null,
    });
    const snapshot = {
      id,
      object: 'customer',
      metadata: { order: '1042' },
      version: 1,
      created_at: '2026-11-22T08:00:00.000Z',
      updated_at: '2026-11-22T08:00:00.000Z',
      erased_at: null,
    };
    expect(await entriesOf(id)).toEqual([{ kind: 'customer.created', object_version: 1, snapshot }]);
  });

  test('a known email, in whatever case, is refused and the customer to use is named', async () => {
    const { id, email } = await create();
    const refused = await refusalOf(create({ email: ` ${email.toUpperCase()} ` }));
    expect(refused.code).toBe('already_exists');
    expect(refused.message).toContain(id);
    expect(refused.message).not.toContain('@');
  });

  test('the same request with the same key gives the same customer, with another body it is refused', async () => {
    const [email, key] = [freshEmail(), 'create-1'];
    const first = await create({ email }, key);
    const again = await create({ email }, key);
    expect(again.answer.replayed).toBe(true);
    expect(again.id).toBe(first.id);
    expect(await completeAnswer(database.db, keys, tenantId, again.answer)).toEqual(
      await completeAnswer(database.db, keys, tenantId, first.answer),
    );
    expect((await refusalOf(create({ email: freshEmail() }, key))).code).toBe('idempotency_key_reused');
  });

  test('the same email in two tenants is two customers who know nothing of each other', async () => {
    const other = contextFor(2, clock.now());
    const { id, email } = await create();
    const theirs = await create({ email }, undefined, other);
    expect(theirs.id).not.toBe(id);
    expect((await refusalOf(getCustomer(database.db, keys, tenantId, theirs.id))).code).toBe('not_found');
    expect((await refusalOf(update(theirs.id, { name: 'x' }))).code).toBe('not_found');
    expect((await describeCustomers(database.db, keys, tenantId, [theirs.id])).get(theirs.id)).toBeNull();
    const indexes = await sql<{ email_index: Buffer }>`
      select email_index from customers.customers where id in (${toUuid(id)}, ${toUuid(theirs.id)})
    `.execute(database.superuser);
    expect(indexes.rows[0]?.email_index.equals(indexes.rows[1]?.email_index ?? Buffer.of())).toBe(false);
  });
});

describe('updateCustomer', () => {
  test('changes what is given, keeps the rest, and counts versions without gaps', async () => {
    const { id, email } = await create({ phone: '+1 202 555 0100', metadata: { a: '1' } });
    await update(id, { name: ' Grace B. Hopper ' });
    await update(id, { phone: null, metadata: { b: '2' } });
    const moved = freshEmail();
    await update(id, { email: moved });
    expect(await getCustomer(database.db, keys, tenantId, id)).toMatchObject({
      email: moved,
      name: 'Grace B. Hopper',
      phone: null,
      metadata: { b: '2' },
      version: 4,
    });
    expect((await entriesOf(id)).map(({ kind, object_version }) => `${kind} ${object_version}`)).toEqual([
      'customer.created 1',
      'customer.updated 2',
      'customer.updated 3',
      'customer.updated 4',
    ]);
    // The old address is free again, the new one leads to this customer.
    expect(await findOrCreateCustomer(database.db, keys, context, { email })).not.toBe(id);
    expect(await findOrCreateCustomer(database.db, keys, context, { email: moved })).toBe(id);
  });

  test("another customer's email is refused, one's own in another spelling is not", async () => {
    const [first, second] = [await create(), await create()];
    const refused = await refusalOf(update(second.id, { email: first.email.toUpperCase() }));
    expect(refused.code).toBe('already_exists');
    expect(refused.message).toContain(first.id);
    await update(first.id, { email: first.email.toUpperCase() });
    expect((await getCustomer(database.db, keys, tenantId, first.id)).email).toBe(first.email.toUpperCase());
  });

  test('30 changes at once all happen, one after the other', async () => {
    const { id } = await create();
    await Promise.all(Array.from({ length: 30 }, (_, i) => update(id, { metadata: { last: String(i) } })));
    const entries = await entriesOf(id);
    expect(entries.map((entry) => entry.object_version)).toEqual(Array.from({ length: 31 }, (_, i) => i + 1));
    expect(await getCustomer(database.db, keys, tenantId, id)).toMatchObject(
      entries.at(-1)?.snapshot as object,
    );
  });

  test('20 customers who want one address at once: one gets it', async () => {
    const customers = await Promise.all(Array.from({ length: 20 }, () => create()));
    const wanted = freshEmail();
    const outcomes = await Promise.allSettled(customers.map(({ id }) => update(id, { email: wanted })));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'already_exists' });
    }
  });

  test('a repeated change with one key happens once', async () => {
    const { id } = await create();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => update(id, { name: 'Once' }, 'update-1')),
    );
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect((await getCustomer(database.db, keys, tenantId, id)).version).toBe(2);
  });

  test('an unknown customer is not found', async () => {
    expect((await refusalOf(update(newId('customer'), { name: 'x' }))).code).toBe('not_found');
  });
});

describe('payerOf', () => {
  test('100 calls at once for one email give one customer', async () => {
    const email = freshEmail();
    const before = (await listCustomers(database.db, keys, tenantId, { before: undefined, limit: 1_000 }))
      .length;
    const ids = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        findOrCreateCustomer(database.db, keys, context, {
          email: i % 2 === 0 ? email : email.toUpperCase(),
          name: `Name ${i}`,
        }),
      ),
    );
    expect(new Set(ids).size).toBe(1);
    expect(
      await listCustomers(database.db, keys, tenantId, { before: undefined, limit: 1_000 }),
    ).toHaveLength(before + 1);
    const [id] = ids;
    expect(id && (await entriesOf(id)).length).toBe(1);
  });

  test('a customer made at the same time by POST is found, never doubled', async () => {
    for (let round = 0; round < 10; round++) {
      const email = freshEmail();
      await Promise.allSettled([
        findOrCreateCustomer(database.db, keys, context, { email }),
        create({ email }),
        findOrCreateCustomer(database.db, keys, context, { email }),
      ]);
      expect(
        await listCustomers(database.db, keys, tenantId, { email, before: undefined, limit: 10 }),
      ).toHaveLength(1);
    }
  });

  test('a new name does not overwrite the known one, and no name is null', async () => {
    const { id, email } = await create();
    expect(await findOrCreateCustomer(database.db, keys, context, { email, name: 'Somebody Else' })).toBe(id);
    expect((await getCustomer(database.db, keys, tenantId, id)).name).toBe('Grace Hopper');
    const nameless = await findOrCreateCustomer(database.db, keys, context, { email: freshEmail() });
    expect((await getCustomer(database.db, keys, tenantId, nameless)).name).toBeNull();
  });
});

describe('listCustomers', () => {
  test('pages hold every customer once, the newest first; an email finds its customer only', async () => {
    const within = contextFor(7, clock.now());
    const made: Awaited<ReturnType<typeof create>>[] = [];
    for (let i = 0; i < 5; i++) made.push(await create({}, undefined, within));
    const seen: string[] = [];
    let before: Id<'customer'> | undefined;
    for (let page = 0; page < 3; page++) {
      const rows = await listCustomers(database.db, keys, 7, { before, limit: 2 });
      seen.push(...rows.map(({ id }) => id));
      before = rows.at(-1)?.id;
    }
    expect(seen).toEqual(
      made
        .map(({ id }) => id)
        .toSorted()
        .toReversed(),
    );
    const [, second] = made;
    const found = await listCustomers(database.db, keys, 7, {
      email: second?.email.toUpperCase(),
      before: undefined,
      limit: 9,
    });
    expect(found.map(({ id }) => id)).toEqual([second?.id]);
    expect(
      await listCustomers(database.db, keys, 8, { email: second?.email, before: undefined, limit: 9 }),
    ).toEqual([]);
  });
});

describe('describeCustomers', () => {
  test('tells known ones, null for unknown ones, and asks the database once', async () => {
    const [one, unknown] = [await create(ada, undefined, contextFor(9, clock.now())), newId('customer')];
    const described = await describeCustomers(database.db, keys, 9, [one.id, unknown, one.id]);
    expect([...described]).toEqual([
      [one.id, { ...ada, phone: null }],
      [unknown, null],
    ]);
    expect(await describeCustomers(database.db, keys, 9, [])).toEqual(new Map());
    const inside = await inTransaction(database.db, (tx) => describeCustomers(tx, keys, 9, [one.id]));
    expect(inside.get(one.id)?.name).toBe('Ada Lovelace');
  });
});

describe('personal data', () => {
  test('no table holds an email, name or phone in clear, nor an unkeyed hash of a request', async () => {
    const planted = {
      email: 'Planted.Person@Secret-Shop.example',
      name: 'Plantina Personova',
      phone: '+49 171 5550199',
    };
    const { id } = await create(planted, 'scan-1');
    await update(id, { email: 'planted.person2@secret-shop.example', name: 'Plantina Zweitname' }, 'scan-2');
    await findOrCreateCustomer(database.db, keys, context, {
      email: 'planted3@secret-shop.example',
      name: 'Plantina III',
    });
    await refusalOf(create({ email: 'planted3@secret-shop.example', name: 'Plantina IV' }, 'scan-4'));
    const stored = await everythingStored(database.superuser);
    // The scan sees what is there: the metadata of other tests, and the kinds of entries.
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
