import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Db } from '../lib/database.ts';
import { fromUuid, toUuid } from '../lib/ids.ts';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { findHead, insertHead, listHeads, publishKeys } from './heads.ts';
import { appendEntries } from './journal.ts';
import { openSigner, signerOf, signingKeyPath, withNewKey, withoutOldKey } from './signing.ts';
import { memoryKeys, sealAll, testEntry, writeEntries } from './testing.ts';
import { verifyJournal, type VerifyOptions } from './verify.ts';

const noTransfers = async () => new Map();

const differencesIn = async (db: Db, options: VerifyOptions = {}): Promise<string[]> =>
  (await verifyJournal(db, noTransfers, options)).flatMap(({ difference }) => difference ?? []);

/** A log of 40 positions under four heads, signed by two keys. */
const sealedJournal = async () => {
  const database = await testDatabase();
  const secrets = memoryKeys();
  const stored = async () => {
    const secret = await secrets.read(signingKeyPath);
    if (!secret) throw new Error('no key was made');
    return secret.value;
  };
  for (const count of [10, 6, 16, 8]) {
    await writeEntries(database.db, count);
    await sealAll(database, { secrets });
    if (count === 6) await secrets.write(signingKeyPath, withNewKey(await stored()));
    if (count === 16) await secrets.write(signingKeyPath, withoutOldKey(await stored()));
  }
  const { rows } = await sql<{ entry_id: string }>`
    select entry_id from journal.positions order by position
  `.execute(database.db);
  const signer = signerOf(await stored());
  return { database, signer, ids: rows.map((row) => fromUuid('journal_entry', row.entry_id)) };
};

describe('verify', () => {
  let log: Awaited<ReturnType<typeof sealedJournal>>;
  let database: TestDatabase;
  beforeAll(async () => {
    log = await sealedJournal();
    database = log.database;
  });
  afterAll(() => database[Symbol.asyncDispose]());

  /** What is found after these changes of a superuser, which are rolled back afterwards. */
  const foundAfter = async (
    change: (tx: Db) => Promise<unknown>,
    options?: VerifyOptions,
  ): Promise<string> => {
    const tx = await database.superuser.startTransaction().execute();
    try {
      await change(tx);
      return (await differencesIn(tx, options)).join('\n');
    } finally {
      await tx.rollback().execute();
    }
  };
  const run =
    (...statements: string[]) =>
    async (tx: Db): Promise<void> => {
      for (const statement of statements) await sql.raw(statement).execute(tx);
    };
  const uuid = (position: number): string => `'${toUuid(log.ids[position] ?? 'evt_')}'`;

  test('finds nothing in an honest log, and looks at all of it', async () => {
    const progress: string[] = [];
    const findings = await verifyJournal(database.db, noTransfers, {
      keys: log.signer.keys,
      now: new Date('2100-01-01T00:00:00Z'),
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    expect(findings.filter(({ difference }) => difference !== undefined)).toEqual([]);
    expect(findings.map(({ looked }) => looked)).toEqual([40, 40, 40, 2, 4, 4, 2, 40, 0, 40]);
    expect(progress).toEqual(['40/40']);
  });

  test('finds nothing while entries wait to be sealed', async () => {
    expect(await foundAfter((tx) => writeEntries(tx, 3))).toBe('');
  });

  describe('names', () => {
    test('an entry that was altered', async () => {
      const found = await foundAfter(
        run(`update journal.entries set actor = 'client:someone' where id = ${uuid(11)}`),
      );
      expect(found).toContain(`${log.ids[11]} (vendor.updated): it or its transfer was changed`);
    });

    test('an entry that was altered with its hash', async () => {
      const found = await foundAfter(
        run(`update journal.entries set hash = sha256(hash) where id = ${uuid(11)}`),
      );
      expect(found).toContain(`position 11: ${log.ids[11]} as it is now is not what was sealed here`);
    });

    test('an entry that was removed', async () => {
      const found = await foundAfter(run(`delete from journal.entries where id = ${uuid(11)}`));
      expect(found).toContain(`position 11: its entry ${log.ids[11]} is missing`);
    });

    test('an entry that was inserted behind the back of the sequencer', async () => {
      const forged = testEntry();
      const found = await foundAfter(async (tx) => {
        await appendEntries(tx, [forged]);
        await sql`update journal.entries set xid = '3' where id = ${toUuid(forged.id)}`.execute(tx);
      });
      expect(found).toContain(`${forged.id}: vendor.updated has no position`);
    });

    test('an entry that was inserted with its position', async () => {
      const forged = testEntry();
      const found = await foundAfter(async (tx) => {
        await appendEntries(tx, [forged]);
        await run(
          `insert into journal.positions select 40, 1, '${toUuid(forged.id)}', leaf from journal.positions where position = 3`,
        )(tx);
      });
      expect(found).toContain(`position 40: ${forged.id} as it is now is not what was sealed here`);
    });

    test('entries whose ids were exchanged', async () => {
      const found = await foundAfter(
        run(
          `update journal.positions set entry_id = gen_random_uuid() where position = 4`,
          `update journal.positions set entry_id = ${uuid(4)} where position = 30`,
          `update journal.positions set entry_id = ${uuid(30)} where position = 4`,
        ),
      );
      expect(found).toContain(`position 4: ${log.ids[30]} as it is now is not what was sealed here`);
    });

    test('positions that were exchanged, leaves and all', async () => {
      const found = await foundAfter(
        run(
          'update journal.positions set position = 1000 where position = 5',
          'update journal.positions set position = 5 where position = 6',
          'update journal.positions set position = 6 where position = 1000',
        ),
      );
      expect(found).toContain(`position 5: ${log.ids[6]} as it is now is not what was sealed here`);
    });

    test('a position that was removed, and the entry that had it', async () => {
      const found = await foundAfter(run('delete from journal.positions where position = 20'));
      expect(found).toContain(`position 20 is missing; the next one is 21, ${log.ids[21]}`);
      expect(found).toContain(`${log.ids[20]}: vendor.updated has no position`);
    });

    test('the last positions, removed with their entries', async () => {
      const found = await foundAfter(
        run(
          'delete from journal.entries e using journal.positions p where p.entry_id = e.id and p.position >= 38',
          'delete from journal.positions where position >= 38',
        ),
      );
      expect(found).toContain('position 38 and what followed are missing: head 4 is over 40 positions');
    });

    test('a leaf that was altered', async () => {
      const found = await foundAfter(
        run('update journal.positions set leaf = sha256(leaf) where position = 17'),
      );
      expect(found).toContain(`position 17: ${log.ids[17]} as it is now is not what was sealed here`);
      expect(found).toContain('node (4, 1) over positions 16 to 31 is not their hash');
      expect(found).toContain('head 3 is not the root of the first 32 positions');
    });

    test.each([
      [
        'altered',
        'update journal.nodes set hash = sha256(hash) where index = 1',
        'node (4, 1) over positions 16 to 31 is not their hash',
      ],
      [
        'removed',
        'delete from journal.nodes where index = 1',
        'node (4, 1) over positions 16 to 31 is missing',
      ],
      [
        'inserted',
        'insert into journal.nodes select 4, 2, hash from journal.nodes where index = 1',
        'node (4, 2) is over positions that the log does not have',
      ],
    ])('a node that was %s', async (_, statement, difference) => {
      expect(await foundAfter(run(statement))).toContain(difference);
    });

    test('nodes that were exchanged', async () => {
      const exchange =
        'update journal.nodes set index = index + 10; update journal.nodes set index = 11 - index';
      expect(await foundAfter(run(...exchange.split('; ')))).toContain(
        'node (4, 0) over positions 0 to 15 is not',
      );
    });

    test.each([
      [
        'its root',
        'update journal.heads set root = sha256(root) where number = 2',
        /head 2 is not the root of the first 16[^]*head 2 is not what the key/,
      ],
      [
        'its size',
        'update journal.heads set size = 15 where number = 2',
        /head 2 is not the root of the first 15[^]*head 2 is not what the key/,
      ],
      [
        'its time',
        "update journal.heads set timestamp = timestamp + interval '1 ms' where number = 1",
        /head 1 is not what the key/,
      ],
      [
        'its signature',
        'update journal.heads set signatures = (select signatures from journal.heads where number = 4) where number = 2',
        /head 2 is not what the key/,
      ],
      [
        'its signatures away',
        "update journal.heads set signatures = '[]' where number = 2",
        /head 2 is not signed/,
      ],
    ])('a head that was altered: %s', async (_, statement, difference) => {
      expect(await foundAfter(run(statement))).toMatch(difference);
    });

    test('a head that was removed', async () => {
      expect(await foundAfter(run('delete from journal.heads where number = 2'))).toContain(
        'head 2 is missing',
      );
    });

    test('heads that were exchanged', async () => {
      const found = await foundAfter(
        run(
          'update journal.heads set number = 1000 where number = 2',
          'update journal.heads set number = 2 where number = 3',
          'update journal.heads set number = 3 where number = 1000',
        ),
      );
      expect(found).toMatch(/head 2 is not what the key/);
    });

    test('the newest head that was removed, once it is missed', async () => {
      const remove = run('delete from journal.heads where number = 4');
      expect(await foundAfter(remove, { now: new Date('2026-11-22T09:00:00Z') })).toContain(
        'position 32 and what follows are under no head',
      );
    });

    test('a head that somebody else signed', async () => {
      const forged = signerOf(withNewKey(await otherKey()));
      const sign = async (tx: Db): Promise<void> => {
        const [head] = await listHeads(tx, { limit: 1 });
        if (!head) throw new Error('no head');
        await run('delete from journal.heads where number = 4')(tx);
        await insertHead(tx, { ...head, signatures: forged.sign(head) });
      };
      expect(await foundAfter(sign)).toContain(
        `head 4 is signed by the key ${forged.keys[0]?.id}, which is not known`,
      );
      const withKeys = async (tx: Db): Promise<void> => {
        await sign(tx);
        await publishKeys(tx, forged, new Date());
      };
      const found = await foundAfter(withKeys, { keys: log.signer.keys });
      expect(found).toContain('head 4, the newest, is not signed by the key that signs heads now');
      expect(found).toContain(`key ${forged.keys[1]?.id}: no key before it vouches for it`);
    });

    test.each([
      [
        'altered',
        'update journal.keys set public_key = set_byte(public_key, 40, get_byte(public_key, 40) # 1) where endorsed_by is not null',
        /key [0-9a-f]{32}: it was altered/,
      ],
      [
        'removed',
        'delete from journal.keys where endorsed_by is null',
        /is signed by the key [0-9a-f]{32}, which is not known/,
      ],
      [
        'made the successor of another',
        'update journal.keys set endorsement = set_byte(endorsement, 4, get_byte(endorsement, 4) # 1) where endorsed_by is not null',
        /key [0-9a-f]{32}: the key [0-9a-f]{32} does not vouch for it/,
      ],
    ])('a key that was %s', async (_, statement, difference) => {
      expect(await foundAfter(run(statement))).toMatch(difference);
    });
  });

  describe('since a head that was kept', () => {
    const kept = async (size: bigint) => {
      const head = await findHead(database.db, size);
      if (!head) throw new Error(`no head of ${size}`);
      return { size, root: head.root };
    };

    test('looks at what came after it alone', async () => {
      const findings = await verifyJournal(database.db, noTransfers, { since: await kept(16n) });
      expect(findings.filter(({ difference }) => difference !== undefined)).toEqual([]);
      expect(findings.map(({ looked }) => looked).slice(0, 5)).toEqual([24, 24, 24, 1, 3]);
    });

    test('finds a log that was rewritten whole, signatures and all', async () => {
      const since = await kept(16n);
      const forged = { size: 16n, root: Buffer.from(since.root.toReversed()) };
      expect((await differencesIn(database.db, { since: forged })).join()).toContain(
        'the log does not begin like the head that you gave',
      );
    });

    test('finds a log that was cut off, heads and all', async () => {
      const cutOff = run(
        'delete from journal.positions where position >= 16',
        'delete from journal.heads where number > 2',
      );
      expect(await foundAfter(cutOff, { since: await kept(32n) })).toContain(
        'the log has 16 positions, fewer than the 32 of the head that you gave',
      );
    });
  });
});

const otherKey = async () => {
  const secrets = memoryKeys();
  await openSigner(secrets);
  const stored = await secrets.read(signingKeyPath);
  if (!stored) throw new Error('no key was made');
  return stored.value;
};
