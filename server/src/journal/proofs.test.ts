import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalHash, type Json } from '../lib/canonical.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { checkProof, parseHead, parseProof, type Checked } from './check.ts';
import { makeEntry, type ReadTransfers, type TransferRecord } from './entry.ts';
import { appendEntries } from './journal.ts';
import { findHead, listHeads, listKeys } from './heads.ts';
import { findEntryOf, headJson, proveConsistency, proveEntry } from './proofs.ts';
import type { ProofJson } from './schema.ts';
import { pemOf, readPublicKeys, signingKeyPath, withNewKey, withoutOldKey } from './signing.ts';
import { journalContext, memoryKeys, sealAll, testEntry, writeEntries } from './testing.ts';

const transfer: TransferRecord = {
  id: 'trf_01h455vb4pex5vsknk084sn02q',
  kind: 'payment',
  postings: [
    { accountId: 'acct_01h455vb4pex5vsknk084sn02r', amountMinor: 9007199254740993n },
    { accountId: 'acct_01h455vb4pex5vsknk084sn02q', amountMinor: -9007199254740993n },
  ],
};
const readTransfers: ReadTransfers = async (ids) => new Map(ids.map((id) => [id, transfer]));

/** An entry with everything that one can have, text that JSON escapes, and numbers of every form. */
const fullEntry = makeEntry(
  { ...journalContext(7), origin: '192.0.2.7', requestId: 'req_1' },
  {
    kind: 'payment.succeeded',
    object: { type: 'payment', id: 'pay_01h455vb4pex5vsknk084sn02q', version: 1 },
    snapshot: {
      text: 'a "b" \u2028 ü 😀',
      numbers: [1, 1.5, 1e21, -0.000001],
      nothing: null,
      some: { b: 1, a: [] },
    },
    transfer,
  },
);

describe('a proof', () => {
  let database: TestDatabase;
  const secrets = memoryKeys();
  let proof: ProofJson;

  beforeAll(async () => {
    database = await testDatabase();
    await writeEntries(database.db, 20);
    await sealAll(database, { secrets });
    await appendEntries(database.db, [fullEntry]);
    const stored = await secrets.read(signingKeyPath);
    if (stored) await secrets.write(signingKeyPath, withNewKey(stored.value));
    await writeEntries(database.db, 20);
    await sealAll(database, { secrets });
    const both = await secrets.read(signingKeyPath);
    if (both) await secrets.write(signingKeyPath, withoutOldKey(both.value));
    await writeEntries(database.db, 9);
    await sealAll(database, { secrets });
    proof = await proofOf({ tenantId: 7, id: fullEntry.id }, 20n);
  });
  afterAll(() => database[Symbol.asyncDispose]());

  const proofOf = async (
    entry: { tenantId: number; id: Id<'journal_entry'> },
    earlier?: bigint,
  ): Promise<ProofJson> =>
    // By way of a file, as auditors get it.
    parseProof(JSON.stringify(await proveEntry({ db: database.db, readTransfers }, entry, earlier)));

  const faultsOf = (changes: Partial<Record<keyof ProofJson, unknown>>, known = {}): string =>
    // What is wrong on purpose has no type.
    checkProof({ ...proof, ...changes } as ProofJson, known).faults.join('\n');

  test('holds, and says what it proves', () => {
    const { proven, faults } = checkProof(proof);
    expect(faults).toEqual([]);
    expect(proven.join('\n')).toMatch(
      /^The entry evt_\w+ \(payment.succeeded of pay_\w+, 2026-11-22T08:00:00.000Z\) has the hash [0-9a-f]{64}.\nIt is at position \d+ of a log of 50 entries with the root [0-9a-f]{64}.\nHead 3 .* is signed by the key .*\nThe log began like that of head 1 \(20 entries, .*\): nothing of it was changed since.\nHead 1 .* is signed by/,
    );
  });

  test('of every entry holds', async () => {
    const { rows } = await sql<{ tenant_id: number; id: string }>`
      select tenant_id, entry_id as id from journal.positions order by position
    `.execute(database.db);
    expect(rows).toHaveLength(50);
    for (const row of rows) {
      const id = fromUuid('journal_entry', row.id);
      const entry = { tenantId: row.tenant_id, id };
      expect(await findEntryOf(database.db, id)).toEqual(entry);
      expect(checkProof(await proofOf(entry)).faults).toEqual([]);
    }
  });

  test('holds against the keys that an auditor has, or that those vouch for; not against others', async () => {
    const keys = await listKeys(database.db);
    const pems = readPublicKeys(`The keys of Florin:\n${keys.map(({ key }) => pemOf(key)).join('and\n')}`);
    expect(pems.map(({ id }) => id)).toEqual(keys.map(({ id }) => id));
    const first = keys.filter(({ endorsed }) => endorsed === undefined);
    const { proven, faults } = checkProof(proof, { keys: first });
    expect(faults).toEqual([]);
    expect(proven.join('\n')).toMatch(/Head 3 .* for which the key that you gave vouches/);
    expect(proven.join('\n')).toMatch(/Head 1 .* which you gave/);
    const stranger = readPublicKeys(
      '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----',
    );
    expect(stranger).toHaveLength(1);
    expect(faultsOf({}, { keys: stranger })).toMatch(/Head 3 .* is not signed by the key that you gave/);
  });

  test('holds against a head that was kept, and shows one that was not of this log', async () => {
    const kept = async (size: bigint) => {
      const head = await findHead(database.db, size);
      if (!head) throw new Error(`no head of ${size}`);
      return parseHead(JSON.stringify(headJson(head)));
    };
    expect(checkProof(proof, { head: await kept(20n) }).proven.at(-1)).toBe(
      'The head that you kept, 20 entries, is a head of this log.',
    );
    expect(faultsOf({}, { head: { ...(await kept(20n)), root: 'f'.repeat(64) } })).toContain(
      'the log was rewritten',
    );
    expect(faultsOf({}, { head: await kept(41n) })).toContain('ask for one with --since 41');
  });

  test.each<[string, (proof: ProofJson) => Partial<Record<keyof ProofJson, unknown>>, RegExp]>([
    [
      'content',
      ({ entry }) => ({ entry: { ...entry, actor: 'client:someone' } }),
      /entry evt_\w+ was altered/,
    ],
    ['content and hash', ({ entry }) => ({ ...rehashed({ ...entry, tenant: 8 }) }), /^It is not at position/],
    ['amount', ({ entry }) => ({ entry: withAmount(entry, '9007199254740992') }), /was altered/],
    ['member', ({ entry }) => ({ entry: { ...entry, more: 1 } }), /was altered/],
    ['position', ({ position }) => ({ position: String(Number(position) + 1) }), /^It is not at position/],
    ['step', ({ steps }) => ({ steps: steps.with(2, 'a'.repeat(64)) }), /^It is not at position/],
    ['steps', ({ steps }) => ({ steps: steps.slice(1) }), /^It is not at position/],
    [
      'root',
      ({ head }) => ({ head: { ...head, root: 'a'.repeat(64) } }),
      /not at position[^]*Head 3 .* is not signed/,
    ],
    [
      'time',
      ({ head }) => ({ head: { ...head, timestamp: '2020-01-01T00:00:00.000Z' } }),
      /^Head 3 .* is not signed/,
    ],
    [
      'key',
      ({ keys }) => ({ keys: keys.map((key) => ({ ...key, id: keys[0]?.id })).slice(1) }),
      /is not signed by a key in this file/,
    ],
    [
      'earlier head',
      ({ earlier }) => ({
        earlier: earlier && { ...earlier, head: { ...earlier.head, root: 'a'.repeat(64) } },
      }),
      /did not begin like that of head 1[^]*Head 1 .* is not signed/,
    ],
    [
      'earlier steps',
      ({ earlier }) => ({ earlier: earlier && { ...earlier, steps: [] } }),
      /did not begin like/,
    ],
  ])('with another %s does not hold, and says why', (_, change, fault) => {
    expect(faultsOf(change(proof))).toMatch(fault);
  });

  test('that is none is refused with what is wrong', () => {
    expect(() => parseProof('{')).toThrow('This is not a proof of the journal: it is no JSON.');
    expect(() => parseProof('{}')).toThrow(/This is not a proof of the journal: .*(required|object)/);
    expect(() => parseHead('{"object":"journal_head"}')).toThrow('This is not a head of the journal');
  });

  test('of an entry of another tenant, or of none, is not found; of one that waits it comes later', async () => {
    const parts = { db: database.db, readTransfers };
    await expect(proveEntry(parts, { tenantId: 8, id: fullEntry.id })).rejects.toMatchObject({
      code: 'not_found',
    });
    const waiting = testEntry();
    await appendEntries(database.db, [waiting]);
    await expect(proveEntry(parts, waiting)).rejects.toMatchObject({ code: 'not_sealed', retryAfterS: 2 });
    await expect(proveConsistency(database.db, { first: 3n })).rejects.toMatchObject({ code: 'not_found' });
    await sql`delete from journal.entries where id = ${toUuid(waiting.id)}`.execute(database.superuser);
  });

  test('of an object is that of its newest entry', async () => {
    const id = 'pay_01h455vb4pex5vsknk084sn02q';
    expect(await findEntryOf(database.db, id)).toEqual({ tenantId: 7, id: fullEntry.id });
    expect(await findEntryOf(database.db, 'pay_01h455vb4pex5vsknk084sn0zz')).toBeUndefined();
  });

  test('between any two heads proves that the later continues the earlier', async () => {
    expect(await proveConsistency(database.db, {})).toMatchObject({
      first: { size: '41' },
      second: { size: '50' },
    });
    await expect(proveConsistency(database.db, { first: 50n, second: 41n })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    const sizes = (await listHeads(database.db, { limit: 10 })).map(({ size }) => size);
    expect(sizes).toEqual([50n, 41n, 20n]);
    for (const second of sizes) {
      for (const first of sizes.filter((size) => size <= second)) {
        const { steps, ...heads } = await proveConsistency(database.db, { first, second });
        const checked: Checked = checkProof({
          ...proof,
          head: heads.second,
          earlier: { head: heads.first, steps },
        });
        expect(checked.faults.filter((fault) => !fault.startsWith('It is not at position'))).toEqual([]);
      }
    }
  });
});

/** An entry with the hash that goes with it. It was parsed from JSON. */
const rehashed = (entry: object): object => ({ entry, hash: canonicalHash(entry as Json).toString('hex') });

const withAmount = (entry: ProofJson['entry'], amount: string): object => ({
  ...entry,
  transfer: entry.transfer && {
    ...entry.transfer,
    postings: entry.transfer.postings.map((posting) => ({ ...posting, amount })),
  },
});
