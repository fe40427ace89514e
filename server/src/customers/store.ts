import { sql, type RawBuilder } from 'kysely';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';

/** A customer as stored: whoever wants to know who it is has to open `sealed`. */
export type StoredCustomer = {
  id: Id<'customer'>;
  version: number;
  /** Both are undefined once the person was erased. */
  sealed: Buffer | undefined;
  wrappedKey: Buffer | undefined;
  metadata: Record<string, string>;
  createdAt: Date;
  updatedAt: Date;
  erasedAt: Date | undefined;
};

type CustomerRow = {
  id: string;
  version: number;
  sealed: Buffer | null;
  wrapped_key: Buffer | null;
  metadata: Record<string, string>;
  created_at: Date;
  updated_at: Date;
  erased_at: Date | null;
};

/** @throws AppError `not_found`, also for a customer of another tenant */
export const getCustomer = async (
  db: Db | Tx,
  tenantId: number,
  id: Id<'customer'>,
): Promise<StoredCustomer> => getOne(db, sql`c.tenant_id = ${tenantId} and c.id = ${toUuid(id)}`);

/** The customer, locked until the transaction ends: changes of one customer happen one after the other. */
export const lockCustomer = async (tx: Tx, tenantId: number, id: Id<'customer'>): Promise<StoredCustomer> =>
  getOne(tx, sql`c.tenant_id = ${tenantId} and c.id = ${toUuid(id)} for no key update of c`);

const getOne = async (db: Db | Tx, condition: RawBuilder<unknown>): Promise<StoredCustomer> => {
  const [customer] = await select(db, condition);
  if (!customer) throw notFound('customer');
  return customer;
};

/** Those of these customers that exist, in no particular order. */
export const listCustomersById = async (
  db: Db | Tx,
  tenantId: number,
  ids: readonly Id<'customer'>[],
): Promise<StoredCustomer[]> =>
  select(db, sql`c.tenant_id = ${tenantId} and c.id = any(${ids.map((id) => toUuid(id))}::uuid[])`);

type ListOptions = { emailIndexes: Buffer[] | undefined; before: Id<'customer'> | undefined; limit: number };

/** The newest customers first, those before the customer `before`. */
export const listCustomers = async (
  db: Db,
  tenantId: number,
  options: ListOptions,
): Promise<StoredCustomer[]> => {
  const ofEmail = options.emailIndexes
    ? sql`and c.email_index = any(${options.emailIndexes}::bytea[])`
    : sql``;
  const older = options.before ? sql`and c.id < ${toUuid(options.before)}` : sql``;
  return select(
    db,
    sql`c.tenant_id = ${tenantId} ${ofEmail} ${older} order by c.id desc limit ${options.limit}`,
  );
};

const select = async (db: Db | Tx, condition: RawBuilder<unknown>): Promise<StoredCustomer[]> => {
  const { rows } = await sql<CustomerRow>`
    select c.id, c.version, c.sealed, k.wrapped_key, c.metadata, c.created_at, c.updated_at, c.erased_at
    from customers.customers c
    left join customers.keys k on k.tenant_id = c.tenant_id and k.customer_id = c.id
    where ${condition}
  `.execute(db);
  return rows.map(customerOf);
};

/** The customer of an email, if there is one. */
export const findIdByEmail = async (
  db: Db | Tx,
  tenantId: number,
  emailIndexes: Buffer[],
): Promise<Id<'customer'> | undefined> => {
  const { rows } = await sql<{ id: string }>`
    select id from customers.customers
    where tenant_id = ${tenantId} and email_index = any(${emailIndexes}::bytea[])
    order by id limit 1
  `.execute(db);
  return rows[0] && fromUuid('customer', rows[0].id);
};

type NewCustomer = { emailIndex: Buffer; sealed: Buffer; wrappedKey: Buffer };

/** False when a customer with this email exists; waits for one that is being made at this moment. */
export const insertCustomer = async (
  tx: Tx,
  tenantId: number,
  customer: StoredCustomer & NewCustomer,
): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    insert into customers.customers
      (tenant_id, id, version, email_index, sealed, metadata, created_at, updated_at)
    values
      (${tenantId}, ${toUuid(customer.id)}, ${customer.version}, ${customer.emailIndex}, ${customer.sealed},
       ${JSON.stringify(customer.metadata)}::jsonb, ${customer.createdAt}, ${customer.updatedAt})
    on conflict (tenant_id, email_index) where email_index is not null do nothing
  `.execute(tx);
  if (numAffectedRows !== 1n) return false;
  await sql`
    insert into customers.keys (tenant_id, customer_id, wrapped_key)
    values (${tenantId}, ${toUuid(customer.id)}, ${customer.wrappedKey})
  `.execute(tx);
  return true;
};

/** Stores a changed customer; without `emailIndex` the email stays findable as it was. The row is locked. */
export const updateCustomer = async (
  tx: Tx,
  tenantId: number,
  customer: StoredCustomer & { emailIndex: Buffer | undefined },
): Promise<void> => {
  await sql`
    update customers.customers
    set version = ${customer.version}, sealed = ${customer.sealed}, updated_at = ${customer.updatedAt},
        metadata = ${JSON.stringify(customer.metadata)}::jsonb,
        email_index = coalesce(${customer.emailIndex}::bytea, email_index)
    where tenant_id = ${tenantId} and id = ${toUuid(customer.id)}
  `.execute(tx);
};

const customerOf = (row: CustomerRow): StoredCustomer => ({
  id: fromUuid('customer', row.id),
  version: row.version,
  sealed: row.sealed ?? undefined,
  wrappedKey: row.wrapped_key ?? undefined,
  metadata: row.metadata,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  erasedAt: row.erased_at ?? undefined,
});
