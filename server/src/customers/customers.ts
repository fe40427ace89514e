import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append } from '../journal/journal.ts';
import type { JournalEntry } from '../journal/entry.ts';
import { canonicalJson, type Json } from '../lib/canonical.ts';
import type { Context } from '../lib/caller.ts';
import type { Key } from '../lib/crypto.ts';
import { sqlStateOf, type Db, type Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { newId, type Id } from '../lib/ids.ts';
import { openPerson, sealPerson, type CustomerKeys, type Person } from './keys.ts';
import type { CreateCustomerBody, CustomerAnswer, CustomerSnapshot, UpdateCustomerBody } from './schema.ts';
import * as store from './store.ts';
import type { StoredCustomer } from './store.ts';

/** One write of a caller: its circumstances and its Idempotency-Key. */
export type Write = { context: Context; key: string | undefined };

/**
 * Makes a customer. An email that the tenant has already is refused rather than answered with the known
 * customer: the caller gave a name and metadata that would silently be lost. The refusal names the customer
 * to use or change.
 * @throws AppError `already_exists`, `invalid_request` for a card number
 */
export const createCustomer = async (
  db: Db,
  keys: CustomerKeys,
  { context, key }: Write,
  body: CreateCustomerBody,
): Promise<GivenAnswer> => {
  const { tenantId } = context;
  const { email, name, phone = null, metadata = {} } = body;
  const draft = await drafted(keys, context, { person: { email, name, phone }, metadata });
  const request = requestOf(keys, body);
  return answerOnce(db, { context, operation: 'customers.create', key, request }, async (tx) => {
    const known = await store.findIdByEmail(tx, tenantId, draft.emailIndexes);
    const entry = known === undefined ? await insert(tx, context, draft) : undefined;
    if (entry) return { status: 201, entry };
    throw emailTaken(known ?? (await store.findIdByEmail(tx, tenantId, draft.emailIndexes)));
  });
};

/**
 * Changes what is given and leaves the rest. Changes of one customer happen one after the other.
 * @throws AppError `not_found`, `already_exists` for another customer's email, `invalid_state` once erased
 */
export const updateCustomer = async (
  db: Db,
  keys: CustomerKeys,
  { context, key }: Write,
  { id, ...changes }: UpdateCustomerBody & { id: Id<'customer'> },
): Promise<GivenAnswer> => {
  // The data key is unwrapped before the transaction begins: a KMS is a network call.
  const dataKey = await dataKeyOf(keys, await store.getCustomer(db, context.tenantId, id));
  const emailIndexes =
    changes.email === undefined ? undefined : keys.emailIndexes(context.tenantId, changes.email);
  const request = { id, ...requestOf(keys, changes) };
  return answerOnce(db, { context, operation: 'customers.update', key, request }, async (tx) => {
    const before = await store.lockCustomer(tx, context.tenantId, id);
    if (before.sealed === undefined || before.wrappedKey === undefined || dataKey === undefined) {
      throw new AppError('invalid_state', 'This customer was erased and can no longer be changed.');
    }
    const person = changedPerson(openPerson(dataKey, id, before.sealed), changes);
    const customer = {
      ...before,
      version: before.version + 1,
      sealed: sealPerson(dataKey, id, person),
      metadata: changes.metadata ?? before.metadata,
      updatedAt: context.now,
    };
    await storeChange(tx, context.tenantId, { customer, emailIndexes });
    return { status: 200, entry: await record(tx, context, 'customer.updated', customer) };
  });
};

/** A customer who pays: known, or made in the transaction of the payment, so that a refused one leaves nobody behind. */
export type Payer = Id<'customer'> | { create(tx: Tx): Promise<Id<'customer'>> };

/**
 * The customer of an email: one email is one customer of a tenant, however many payments arrive at once. A name given
 * for a known customer changes nothing.
 */
export const payerOf = async (
  db: Db,
  keys: CustomerKeys,
  context: Context,
  { email, name }: { email: string; name?: string | undefined },
): Promise<Payer> => {
  const emailIndexes = keys.emailIndexes(context.tenantId, email);
  const find = (on: Db | Tx) => store.findIdByEmail(on, context.tenantId, emailIndexes);
  const known = await find(db);
  if (known) return known;
  const person = { email, name: name ?? null, phone: null };
  const draft = await drafted(keys, context, { person, metadata: {} });
  const create = async (tx: Tx): Promise<Id<'customer'>> => {
    if (await insert(tx, context, draft)) return draft.customer.id;
    // Somebody else made the customer while the insert waited; this statement sees it.
    const made = await find(tx);
    if (made) return made;
    throw new AppError('unavailable', 'This customer is being changed. Try again.', { retryAfterS: 1 });
  };
  return { create };
};

/** @throws AppError `not_found`, also for a customer of another tenant */
export const getCustomer = async (
  db: Db,
  keys: CustomerKeys,
  tenantId: number,
  id: Id<'customer'>,
): Promise<CustomerAnswer> => {
  const customer = await store.getCustomer(db, tenantId, id);
  return customerAnswer(snapshotOf(customer), await personOf(keys, customer));
};

type ListOptions = { email?: string | undefined; before: Id<'customer'> | undefined; limit: number };

/** The newest customers first, those made before the customer `before`; with an email only that customer. */
export const listCustomers = async (
  db: Db,
  keys: CustomerKeys,
  tenantId: number,
  { email, before, limit }: ListOptions,
): Promise<CustomerAnswer[]> => {
  const emailIndexes = email === undefined ? undefined : keys.emailIndexes(tenantId, email);
  const customers = await store.listCustomers(db, tenantId, { emailIndexes, before, limit });
  return Promise.all(
    customers.map(async (each) => customerAnswer(snapshotOf(each), await personOf(keys, each))),
  );
};

/**
 * Who these customers are, to complete an answer or event just before it is sent; null for erased and unknown
 * ones.
 */
export const describeCustomers = async (
  db: Db | Tx,
  keys: CustomerKeys,
  tenantId: number,
  ids: readonly Id<'customer'>[],
): Promise<Map<Id<'customer'>, Person | null>> => {
  const described = new Map<Id<'customer'>, Person | null>(ids.map((id) => [id, null]));
  const customers =
    ids.length === 0 ? [] : await store.listCustomersById(db, tenantId, [...described.keys()]);
  await Promise.all(customers.map(async (each) => described.set(each.id, await personOf(keys, each))));
  return described;
};

/** The answer to a write: the snapshot of its entry, completed with the person as known now. */
export const completeAnswer = async (
  db: Db,
  keys: CustomerKeys,
  tenantId: number,
  answer: GivenAnswer,
): Promise<CustomerAnswer> => {
  // Entries of this module carry its snapshots, see `record`.
  const snapshot = answer.entry.snapshot as unknown as CustomerSnapshot;
  const person = (await describeCustomers(db, keys, tenantId, [snapshot.id])).get(snapshot.id);
  return customerAnswer(snapshot, person ?? null);
};

/** A customer that is about to be made. The key is wrapped by now, so that no transaction waits for a KMS. */
type Draft = {
  customer: StoredCustomer & { sealed: Buffer; wrappedKey: Buffer };
  emailIndexes: [Buffer, ...Buffer[]];
};

const drafted = async (
  keys: CustomerKeys,
  { tenantId, now }: Context,
  { person, metadata }: { person: Person; metadata: Record<string, string> },
): Promise<Draft> => {
  const id = newId('customer');
  const { dataKey, wrapped } = await keys.newDataKey(id);
  const sealed = sealPerson(dataKey, id, trimmed(person));
  const customer = {
    id,
    version: 1,
    sealed,
    wrappedKey: wrapped,
    metadata,
    createdAt: now,
    updatedAt: now,
    erasedAt: undefined,
  };
  return { customer, emailIndexes: keys.emailIndexes(tenantId, person.email) };
};

/** Undefined when the email is taken. */
const insert = async (
  tx: Tx,
  context: Context,
  { customer, emailIndexes }: Draft,
): Promise<JournalEntry | undefined> => {
  const isNew = await store.insertCustomer(tx, context.tenantId, {
    ...customer,
    emailIndex: emailIndexes[0],
  });
  return isNew ? record(tx, context, 'customer.created', customer) : undefined;
};

type ChangedCustomer = { customer: StoredCustomer; emailIndexes: [Buffer, ...Buffer[]] | undefined };

const storeChange = async (
  tx: Tx,
  tenantId: number,
  { customer, emailIndexes }: ChangedCustomer,
): Promise<void> => {
  const holder = emailIndexes && (await store.findIdByEmail(tx, tenantId, emailIndexes));
  if (holder !== undefined && holder !== customer.id) throw emailTaken(holder);
  try {
    await store.updateCustomer(tx, tenantId, { ...customer, emailIndex: emailIndexes?.[0] });
  } catch (error) {
    // 23505 unique_violation: another transaction took the address after it was looked up.
    throw sqlStateOf(error) === '23505' ? emailTaken(undefined, error) : error;
  }
};

const record = (
  tx: Tx,
  context: Context,
  kind: 'customer.created' | 'customer.updated',
  customer: StoredCustomer,
): Promise<JournalEntry> => {
  const object = { type: 'customer', id: customer.id, version: customer.version };
  return append(tx, context, { kind, object, snapshot: snapshotOf(customer) });
};

const snapshotOf = (customer: StoredCustomer): CustomerSnapshot => ({
  id: customer.id,
  object: 'customer',
  metadata: customer.metadata,
  version: customer.version,
  created_at: customer.createdAt.toISOString(),
  updated_at: customer.updatedAt.toISOString(),
  erased_at: customer.erasedAt?.toISOString() ?? null,
});

const customerAnswer = (snapshot: CustomerSnapshot, person: Person | null): CustomerAnswer => ({
  ...snapshot,
  email: person?.email ?? null,
  name: person?.name ?? null,
  phone: person?.phone ?? null,
});

/** Null once the person was erased: without the key, what is sealed is noise. */
const personOf = async (keys: CustomerKeys, customer: StoredCustomer): Promise<Person | null> => {
  const dataKey = await dataKeyOf(keys, customer);
  return dataKey && customer.sealed ? openPerson(dataKey, customer.id, customer.sealed) : null;
};

const dataKeyOf = async (keys: CustomerKeys, { id, wrappedKey }: StoredCustomer): Promise<Key | undefined> =>
  wrappedKey && keys.dataKeyOf(id, wrappedKey);

const changedPerson = (person: Person, { email, name, phone }: UpdateCustomerBody): Person =>
  trimmed({
    email: email ?? person.email,
    name: name ?? person.name,
    phone: phone === undefined ? person.phone : phone,
  });

const trimmed = ({ email, name, phone }: Person): Person => ({
  email: email.trim(),
  name: name?.trim() ?? null,
  phone: phone?.trim() ?? null,
});

/**
 * By this, a repeated request is recognised. A plain hash of an email could be guessed, and would outlive an
 * erasure.
 */
const requestOf = (keys: CustomerKeys, body: Json): { body: string } => ({
  body: keys.fingerprint(canonicalJson(body)),
});

const emailTaken = (id: Id<'customer'> | undefined, cause?: unknown): AppError =>
  new AppError(
    'already_exists',
    id === undefined
      ? 'A customer with this email exists already.'
      : `A customer with this email exists already: ${id}. Use it, or change it with PATCH /api/v1/customers/${id}.`,
    { cause },
  );
