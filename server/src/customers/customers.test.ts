import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { inTransaction } from '../lib/database.ts';
import { newId, toUuid, type Id } from '../lib/ids.ts';
import { completeAnswer, describeCustomers, getCustomer, listCustomers } from './customers.ts';
import { contextFor, findOrCreateCustomer, refusalOf, testCustomers } from './testing.ts';

const tenantId = 1;
const ada = { email: 'Ada.Lovelace@Example.com', name: 'Ada Lovelace' };

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const { keys, clock, context, freshEmail, create, update } = testCustomers(() => database.db, tenantId);

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
