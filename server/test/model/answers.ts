import { isDeepStrictEqual } from 'node:util';
import type { Stored, StoredChange, StoredKey } from './stored.ts';

/** What a client was told: the status and the body. */
export type KnownAnswer = { status: number; body: Readonly<Record<string, unknown>> };

/**
 * A write that a client asked for, once or often under one key, and everything it was told. A client writes the key into
 * what it makes, the `reference` of a payment or the `reason` of a refund: so it is seen how often that was made.
 */
export type KnownCall = {
  tenantId: number;
  /** As keys are scoped: `payments.create`. */
  operation: string;
  key: string;
  answers: readonly KnownAnswer[];
};

/** What is wrong between what clients were told and what is stored: lost, doubled, or told otherwise. */
export const answerFaults = (stored: Stored, calls: readonly KnownCall[]): string[] => {
  const index = indexOf(stored);
  return [
    ...calls.flatMap((call) => {
      const fault = callFault(index, call);
      return fault === undefined ? [] : [`${call.operation} with key ${call.key}: ${fault}`];
    }),
    ...unasked(stored, calls),
    ...keyFaults(stored, index),
  ];
};

type Index = {
  keys: ReadonlyMap<string, StoredKey>;
  entries: ReadonlyMap<string, StoredChange>;
  versions: ReadonlyMap<string, StoredChange>;
  /** How often something carries a mark. */
  marks: ReadonlyMap<string, number>;
};

const nameOf = ({ tenantId, operation, key }: { tenantId: number; operation: string; key: string }): string =>
  `${tenantId} ${operation} ${key}`;

const indexOf = ({ keys, changes, objects }: Stored): Index => {
  const marks = new Map<string, number>();
  for (const { mark } of objects.values()) if (mark !== null) marks.set(mark, (marks.get(mark) ?? 0) + 1);
  return {
    keys: new Map(keys.map((key) => [nameOf(key), key])),
    entries: new Map(changes.map((change) => [change.id, change])),
    versions: new Map(changes.map((change) => [`${change.snapshot.id} ${change.version}`, change])),
    marks,
  };
};

/** Answers that say nothing about the request itself: another time it may get another one. */
const passing = ['request_in_flight', 'idempotency_key_reused', 'rate_limited'];

const isPassing = ({ status, body }: KnownAnswer): boolean =>
  status >= 500 || passing.includes(String(body['code']));

const callFault = (index: Index, call: KnownCall): string | undefined => {
  const answers = call.answers.filter((answer) => !isPassing(answer));
  const stored = index.keys.get(nameOf(call));
  const made = index.marks.get(call.key) ?? 0;
  if (made > 1) return `made ${made} objects`;
  const makes = call.operation === 'payments.create' || call.operation.startsWith('payments.refund');
  if (stored?.refusal && made > 0) return `refused as ${stored.refusal}, and made all the same`;
  if (makes && stored?.entryId && made === 0) return 'is answered, and nothing was made';
  if (makes && !stored && made > 0) return 'made something, and its key is not stored';
  if (answers.length === 0) return undefined;
  const told = answers.filter(({ status }) => status !== 202);
  const first = told[0];
  const other = told.find((answer) => !sameAnswer(answer, first));
  if (first && other) return `was answered ${brief(first)}, then ${brief(other)}`;
  for (const answer of answers) {
    const fault = toldFault(index, answer, stored);
    if (fault !== undefined) return `was answered ${brief(answer)}, but ${fault}`;
  }
  return undefined;
};

/** Whether a client may be told so, given what is stored. A provisional 202 has been replaced since, or stands. */
const toldFault = (
  index: Index,
  { status, body }: KnownAnswer,
  stored: StoredKey | undefined,
): string | undefined => {
  // Refused validation is no answer that is kept.
  if (status === 400 || status === 404) return undefined;
  if (!stored) return 'its key is not stored';
  if (status >= 400) {
    return stored.refusal === body['code'] ? undefined : `stored is ${stored.refusal ?? stored.status}`;
  }
  const told = index.versions.get(`${String(body['id'])} ${String(body['version'])}`);
  if (!told) return 'nothing of it is stored';
  const { snapshot } = told;
  const wrong = Object.keys(snapshot).find((field) => !isDeepStrictEqual(snapshot[field], body[field]));
  if (wrong !== undefined) return `the journal says ${wrong} ${JSON.stringify(snapshot[wrong])}`;
  if (status === 202) return undefined;
  if (stored.status !== status) return `stored is the status ${stored.status}`;
  return stored.entryId === told.id ? undefined : 'stored is another journal entry';
};

/** Personal data is as it is now, and every request has a number of its own. */
const changing = ['request_id', 'customer_email', 'customer_name'];

const sameAnswer = (a: KnownAnswer, b: KnownAnswer | undefined): boolean =>
  a.status === b?.status && isDeepStrictEqual(lasting(a.body), lasting(b.body));

const lasting = (body: KnownAnswer['body']): object =>
  Object.fromEntries(Object.entries(body).filter(([field]) => !changing.includes(field)));

const brief = ({ status, body }: KnownAnswer): string =>
  JSON.stringify([status, body['code'], body['id'], body['status'], body['version']]);

/** Objects of these clients' tenants that carry a mark which nobody sent. */
const unasked = ({ objects }: Stored, calls: readonly KnownCall[]): string[] => {
  const [keys, tenants] = [new Set<string>(), new Set<number>()];
  for (const { key, tenantId } of calls) {
    keys.add(key);
    tenants.add(tenantId);
  }
  return [...objects].flatMap(([id, { mark, tenantId }]) =>
    mark === null || !tenants.has(tenantId) || keys.has(mark) ? [] : [`${id}: nobody asked for ${mark}`],
  );
};

/** One key, one effect: what each key names is there, of its tenant, and of no other key. */
const keyFaults = ({ keys, objects }: Stored, { entries }: Index): string[] => {
  const owners = new Map<string, string>();
  return keys.flatMap((key) => {
    const name = `${key.operation} with key ${key.key}`;
    if (key.entryId === null) return [];
    const entry = entries.get(key.entryId);
    if (!entry || entry.tenantId !== key.tenantId) return [`${name}: its journal entry is missing`];
    const { id } = entry.snapshot;
    if (!objects.has(id)) return [`${name}: ${id} is missing`];
    // At a backend the key is written with the claim, and its answer replaced later; a refund that is declined
    // there leaves the payment as it was, and answers with it.
    const isOutside = !isInBooks(entry);
    if (isOutside) return [];
    const owner = owners.get(key.entryId);
    owners.set(key.entryId, name);
    if (owner !== undefined) return [`${name}: has the effect of ${owner}`];
    return entry.xid === key.xid ? [] : [`${name}: was stored in another transaction than its effect`];
  });
};

const isInBooks = ({ type, snapshot }: StoredChange): boolean =>
  type === 'payment' && snapshot['payment_method'] === 'book';
