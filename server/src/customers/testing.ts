import { sql } from 'kysely';
import type { Context } from '../lib/caller.ts';
import { manualClock } from '../lib/clock.ts';
import { inTransaction, type Db } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { toUuid, type Id } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { createCustomer, payerOf, updateCustomer } from './customers.ts';
import { openCustomerKeys, type CustomerKeys } from './keys.ts';

/** Keys and clock of a test. */
export const testKeys = () => {
  const clock = manualClock('2026-11-22T08:00:00.000Z');
  const encryption = { masterKey: new Secret(Buffer.alloc(32, 5).toString('base64')) };
  return { clock, encryption, keys: openCustomerKeys(encryption, { clock }) };
};

/** A caller of this tenant, at this moment. */
export const contextFor = (tenantId: number, now: Date): Context => ({
  tenantId,
  actor: 'client:test_client_id',
  origin: '192.0.2.1',
  requestId: 'req_test',
  now,
});

/** Makes and changes customers of a tenant, each with an address of its own. @param open the database, once it is there */
export const testCustomers = (open: () => Db, tenantId: number) => {
  const { keys, clock, encryption } = testKeys();
  const context = contextFor(tenantId, clock.now());
  let addresses = 0;
  const freshEmail = (): string => `person.${++addresses}@example.com`;
  const create = async (
    body: Partial<Parameters<typeof createCustomer>[3]> = {},
    key?: string,
    within = context,
  ) => {
    const person = { email: freshEmail(), name: 'Grace Hopper', ...body };
    const answer = await createCustomer(open(), keys, { context: within, key }, person);
    // The entry of a new customer is about that customer.
    return { answer, id: answer.entry.object?.id as Id<'customer'>, ...person };
  };
  type Changes = Omit<Parameters<typeof updateCustomer>[3], 'id'>;
  const update = (id: Id<'customer'>, changes: Changes, key?: string, within = context) =>
    updateCustomer(open(), keys, { context: within, key }, { id, ...changes });
  return { keys, clock, encryption, context, freshEmail, create, update };
};

/** The refusal that something ends with. @throws Error when it does not */
export const refusalOf = async (run: Promise<unknown>): Promise<AppError> => {
  const error: unknown = await run.then(
    () => undefined,
    (refused: unknown) => refused,
  );
  if (error instanceof AppError) return error;
  throw new Error('It was expected to be refused.', { cause: error });
};

/** Every row of every table of ours, as texts in every form that could betray what is in them. */
export const everythingStored = async (superuser: Db): Promise<string> => {
  const { rows: tables } = await sql<{ name: string }>`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema')
  `.execute(superuser);
  const texts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await sql<
      Record<string, unknown>
    >`select t.*, t::text as whole_row from ${sql.raw(name)} t`.execute(superuser);
    for (const value of rows.flatMap((row) => Object.values(row))) {
      // A Buffer's bytes as characters, so that text inside binary columns is seen; anything else as JSON.
      texts.push(
        Buffer.isBuffer(value) ? value.toString('latin1') : (JSON.stringify(value, bigintsAsText) ?? ''),
      );
    }
  }
  return texts.join('\n');
};

const bigintsAsText = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;

/** What an erasure does: without the key, nobody reads what was sealed. */
export const erase = async (superuser: Db, tenantId: number, id: Id<'customer'>, at: Date): Promise<void> => {
  await sql`delete from customers.keys where tenant_id = ${tenantId} and customer_id = ${toUuid(id)}`.execute(
    superuser,
  );
  await sql`
    update customers.customers set sealed = null, email_index = null, erased_at = ${at}, version = version + 1
    where tenant_id = ${tenantId} and id = ${toUuid(id)}
  `.execute(superuser);
};

/** The customer of an address, made as a payment makes it: in a transaction, if nobody has the address. */
export const findOrCreateCustomer = async (
  db: Db,
  keys: CustomerKeys,
  context: Context,
  person: { email: string; name?: string },
): Promise<Id<'customer'>> => {
  const payer = await payerOf(db, keys, context, person);
  return typeof payer === 'string' ? payer : inTransaction(db, (tx) => payer.create(tx));
};
