import { elapsedMs, type Clock } from '../lib/clock.ts';
import {
  blindIndex,
  deriveKey,
  keyFrom,
  localKeyWrapper,
  newKey,
  open,
  seal,
  type Key,
  type KeyWrapper,
} from '../lib/crypto.ts';
import type { Id } from '../lib/ids.ts';
import type { Secret } from '../lib/secret.ts';

/** What is known about a person. Only ever stored sealed. */
export type Person = { email: string; name: string | null; phone: string | null };

/** Everything that needs a key: sealing persons under their own key, and finding them by email. */
export type CustomerKeys = {
  /** A new data key for a new customer. Calls the key wrapper: not inside a transaction. */
  newDataKey(id: Id<'customer'>): Promise<{ dataKey: Key; wrapped: Buffer }>;
  /**
   * Unwraps a customer's data key, or takes it from the cache. Calls the key wrapper: not inside a
   * transaction.
   */
  dataKeyOf(id: Id<'customer'>, wrapped: Buffer): Promise<Key>;
  /** The blind index of an email under the current master key, then those under earlier ones. */
  emailIndexes(tenantId: number, email: string): [Buffer, ...Buffer[]];
  /**
   * A keyed fingerprint of personal data, where equal has to be told from different without keeping either.
   */
  fingerprint(text: string): string;
};

type KeysOptions = {
  clock: Clock;
  /** A KMS; the master key unless given. */
  wrapper?: KeyWrapper;
  /** How many data keys stay unwrapped in memory, and for how long. */
  cacheMax?: number;
  cacheAgeMs?: number;
};

/** The keys of customers under the configured master key; `Config['encryption']` fits the first argument. */
export const openCustomerKeys = (
  encryption: { masterKey: Secret; previousMasterKey?: Secret | undefined },
  { clock, wrapper, cacheMax = 10_000, cacheAgeMs = 300_000 }: KeysOptions,
): CustomerKeys => {
  const current = keyFrom(encryption.masterKey);
  const previous = encryption.previousMasterKey && keyFrom(encryption.previousMasterKey);
  const wrapping = wrapper ?? localKeyWrapper({ current, previous });
  const indexKey = deriveKey(current, 'customers.email-index');
  const previousIndexKeys = previous ? [deriveKey(previous, 'customers.email-index')] : [];
  const fingerprintKey = deriveKey(current, 'customers.fingerprint');
  const unwrapped = keyCache({ clock, max: cacheMax, ageMs: cacheAgeMs });
  return {
    newDataKey: async (id) => {
      const dataKey = newKey();
      return { dataKey, wrapped: await wrapping.wrap(dataKey, wrappedContext(id)) };
    },
    dataKeyOf: (id, wrapped) =>
      unwrapped(wrapped.toString('base64'), () => wrapping.unwrap(wrapped, wrappedContext(id))),
    emailIndexes: (tenantId, email) => {
      // The tenant is part of it, so that no one sees in the tables that two vendors share a customer.
      const value = `${tenantId}:${normalised(email)}`;
      return [blindIndex(indexKey, value), ...previousIndexKeys.map((key) => blindIndex(key, value))];
    },
    fingerprint: (text) => blindIndex(fingerprintKey, text).toString('hex'),
  };
};

/** Seals a person under their own data key, for the column `sealed` of this customer and no other. */
export const sealPerson = (dataKey: Key, id: Id<'customer'>, { email, name, phone }: Person): Buffer =>
  seal(dataKey, JSON.stringify({ email, name, phone }), sealedContext(id));

/** @throws Error when the value was altered or belongs to another customer */
export const openPerson = (dataKey: Key, id: Id<'customer'>, sealed: Buffer): Person =>
  // It opened, so `sealPerson` made it.
  JSON.parse(open(dataKey, sealed, sealedContext(id)).toString('utf8')) as Person;

/**
 * The form in which emails are compared. Strictly, RFC 5321 lets a mail server tell `Ada@` from `ada@`; none
 * that matters does, and people type their own address in both ways. Dots and `+tags` do tell people apart.
 */
const normalised = (email: string): string => email.trim().normalize('NFC').toLowerCase();

const sealedContext = (id: Id<'customer'>): string => `customers.customers:${id}:sealed`;
const wrappedContext = (id: Id<'customer'>): string => `customers.keys:${id}:wrapped_key`;

/**
 * Keeps a bounded number of unwrapped keys for a bounded time; the longest unused goes first. Callers that
 * ask for one key at the same time share one call of the wrapper. A failed call is not kept.
 */
const keyCache = ({ clock, max, ageMs }: { clock: Clock; max: number; ageMs: number }) => {
  const kept = new Map<string, { key: Promise<Key>; untilMs: number }>();
  return (name: string, unwrap: () => Promise<Key>): Promise<Key> => {
    const nowMs = elapsedMs(clock);
    const known = kept.get(name);
    const entry = known && known.untilMs > nowMs ? known : { key: unwrap(), untilMs: nowMs + ageMs };
    kept.delete(name);
    kept.set(name, entry);
    if (entry !== known) entry.key.catch(() => kept.get(name) === entry && kept.delete(name));
    const [longestUnused] = kept.keys();
    if (kept.size > max && longestUnused !== undefined) kept.delete(longestUnused);
    return entry.key;
  };
};
