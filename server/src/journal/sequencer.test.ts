import { sql } from 'kysely';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { manualClock } from '../lib/clock.ts';
import { openDatabase, type Db } from '../lib/database.ts';
import { newId, toUuid } from '../lib/ids.ts';
import { repeat, startJobs } from '../lib/jobs.ts';
import { testDatabase, type TestDatabase } from '../../test/setup/database.ts';
import { listHeads, listKeys } from './heads.ts';
import { appendEntries } from './journal.ts';
import { edgeOf, verifyConsistency, verifyInclusion } from './merkle.ts';
import { isSignedBy, signingKeyPath, withNewKey } from './signing.ts';
import {
  memoryKeys,
  positionsOf,
  sealAll,
  startSequencer,
  testEntry,
  untilSealed,
  writeEntries,
} from './testing.ts';
import { consistencyProof, entryLeaf, inclusionProof, readEdge } from './tree.ts';
import { sealWaiting } from './waiting.ts';

const open = async (): Promise<TestDatabase> => {
  const database = await testDatabase();
  onTestFinished(() => database[Symbol.asyncDispose]());
  return database;
};

/** A transaction that stays open until it is told to commit or roll back. */
const openTransaction = (db: Db) => db.startTransaction().execute();

/** Every entry once, at positions from 0 without gaps. */
const expectWhole = async (db: Db): Promise<Awaited<ReturnType<typeof positionsOf>>> => {
  const positions = await positionsOf(db);
  expect(positions.map(({ position }) => Number(position))).toEqual(positions.map((_, index) => index));
  const { rows } = await sql<{ id: string }>`select id from journal.entries`.execute(db);
  expect(positions.map(({ id }) => id).sort()).toEqual(rows.map(({ id }) => id).sort());
  return positions;
};

const holders = async (db: Db): Promise<number[]> => {
  const { rows } = await sql<{ pid: number }>`
    select l.pid from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and a.datname = current_database() and a.application_name = 'florin-sequencer'
  `.execute(db);
  return rows.map(({ pid }) => pid);
};

describe('positions', () => {
  test('are given to what was there before, and to what comes, from 0 and without gaps', async () => {
    const database = await open();
    await writeEntries(database.db, 1_234);
    await using sequencer = startSequencer(database);
    await untilSealed(database.db);
    for (let more = 1; more <= 20; more += 1) await writeEntries(database.db, more);
    await untilSealed(database.db);
    expect(await expectWhole(database.db)).toHaveLength(1_234 + 210);
    await sequencer.stop();
  });

  test('a backlog of more than one look is sealed while new entries come', async () => {
    const database = await open();
    await using _ = startSequencer(database);
    await untilSealed(database.db);
    const tx = await openTransaction(database.db);
    for (let part = 0; part < 6; part += 1) {
      await appendEntries(
        tx,
        Array.from({ length: 1_000 }, () => testEntry()),
      );
    }
    await tx.commit().execute();
    await writeEntries(database.db, 10);
    await untilSealed(database.db);
    expect(await expectWhole(database.db)).toHaveLength(6_010);
  });

  test('who commits late is not passed over, and holds up nobody', async () => {
    const database = await open();
    await using _ = startSequencer(database);
    const late = await openTransaction(database.db);
    const lateEntry = testEntry();
    await appendEntries(late, [lateEntry]);
    const meanwhile = await writeEntries(database.db, 50);
    await untilSealed(database.db);
    expect(await expectWhole(database.db)).toHaveLength(50);
    await writeEntries(database.db, 3);
    await untilSealed(database.db);
    await late.commit().execute();
    await untilSealed(database.db);
    const ids = (await expectWhole(database.db)).map(({ id }) => id);
    expect(ids.at(-1)).toBe(toUuid(lateEntry.id));
    expect(ids.slice(0, 50).sort()).toEqual(meanwhile.map(({ id }) => toUuid(id)).sort());
  });

  test('what was rolled back gets none', async () => {
    const database = await open();
    await using _ = startSequencer(database);
    const rolledBack = await openTransaction(database.db);
    await appendEntries(rolledBack, [testEntry()]);
    await writeEntries(database.db, 1);
    await rolledBack.rollback().execute();
    await writeEntries(database.db, 1);
    await untilSealed(database.db);
    expect(await expectWhole(database.db)).toHaveLength(2);
  });

  test('an object’s versions keep their order, also when the later one’s transaction began earlier', async () => {
    const database = await open();
    const id = newId('vendor');
    const earlier = await openTransaction(database.db);
    await appendEntries(earlier, [testEntry()]); // takes its transaction number
    await appendEntries(database.db, [testEntry({ id, version: 1 })]);
    await appendEntries(earlier, [testEntry({ id, version: 2 })]);
    await earlier.commit().execute();
    await sealAll(database);
    const versions = (await expectWhole(database.db)).filter(({ object_id }) => object_id === toUuid(id));
    expect(versions.map(({ object_version }) => object_version)).toEqual([1, 2]);
  });

  test('one look keeps the order of commits and of versions, however ids and transactions are numbered', async () => {
    const database = await open();
    const { rows } = await sql<{ since: string }>`select pg_current_snapshot()::text as since`.execute(
      database.db,
    );
    const id = newId('vendor');
    // Made first, so that their ids are the smallest; committed last.
    const [second, last] = [testEntry({ id, version: 2 }), testEntry()];
    const older = await openTransaction(database.db);
    await appendEntries(older, [testEntry()]);
    const first = testEntry({ id, version: 1 });
    await appendEntries(database.db, [first]);
    await appendEntries(older, [second]);
    await older.commit().execute();
    await appendEntries(database.db, [last]);
    await sealWaiting(database.db, { since: rows[0]?.since ?? '', start: 0n, limit: 100 });
    const ids = (await expectWhole(database.db)).map((position) => position.id);
    expect(ids.slice(1)).toEqual([first, second, last].map((entry) => toUuid(entry.id)));
    const again = await sealWaiting(database.db, { since: rows[0]?.since ?? '', start: 4n, limit: 100 });
    expect(again).toMatchObject({ leaves: [], waiting: 0, oldest: undefined });
  });

  test('race: many writers, some slow to commit, some rolling back: everybody once, in the order of commits', async () => {
    const database = await open();
    await using writers = openDatabase({
      connection: database.connection,
      poolMax: 12,
      applicationName: 'test-writers',
    });
    await using _ = startSequencer(database);
    const order: { id: string; begunAfter: number; committed: number }[] = [];
    let time = 0;
    const write = async (writer: number): Promise<void> => {
      for (let round = 0; round < 15; round += 1) {
        const entry = testEntry({ tenantId: writer + 1 });
        const begunAfter = (time += 1);
        const tx = await openTransaction(writers.db);
        await appendEntries(tx, [entry]);
        for (let pause = 0; pause < (writer * round) % 7; pause += 1) await sql`select 1`.execute(tx);
        if ((writer + round) % 5 === 0) {
          await tx.rollback().execute();
        } else {
          await tx.commit().execute();
          order.push({ id: toUuid(entry.id), begunAfter, committed: (time += 1) });
        }
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_unused, writer) => write(writer)));
    await untilSealed(database.db);
    const place = new Map((await expectWhole(database.db)).map(({ id, position }) => [id, position]));
    expect(place.size).toBe(order.length);
    const wrong = order.flatMap((first) =>
      order.filter(
        (second) =>
          first.committed < second.begunAfter && (place.get(first.id) ?? -1n) > (place.get(second.id) ?? -1n),
      ),
    );
    expect(wrong).toEqual([]);
  });

  test('entries of another cluster, with numbers of its transactions, are not lost', async () => {
    const database = await open();
    await writeEntries(database.db, 5);
    await sealAll(database);
    // As a dump of another cluster brings them: three that were not sealed, with numbers far above and below ours.
    const restored = await writeEntries(database.superuser, 3);
    await sql`update journal.heads set cluster = cluster + 1`.execute(database.superuser);
    for (const [index, { id }] of restored.entries()) {
      await sql`update journal.entries set xid = ${['3', '900000000', '1'][index]}::xid8 where id = ${toUuid(id)}`.execute(
        database.superuser,
      );
    }
    await using _ = startSequencer(database);
    await untilSealed(database.db);
    await writeEntries(database.db, 2);
    await untilSealed(database.db);
    expect(await expectWhole(database.db)).toHaveLength(10);
  });
});

describe('one sequencer', () => {
  test('at a time; another takes over when its connection is killed, and loses and doubles nothing', async () => {
    const database = await open();
    const sequencers = [1, 2, 3].map(() => startSequencer(database));
    const running = startJobs(
      sequencers.map(({ job }, index) => ({ ...job, name: `sequencer-${index}` })),
      {
        log: pino({ enabled: false }),
        graceMs: 5_000,
        pauseMs: { first: 10, max: 10 },
      },
    );
    await Promise.all(sequencers.map(({ stop }) => stop()));
    const written = new AbortController();
    const writing = repeat(written.signal, 5, async () => {
      await writeEntries(database.db, 20);
      return 'idle';
    });
    for (let kill = 0; kill < 5; kill += 1) {
      await expect.poll(() => holders(database.superuser), { timeout: 5_000, interval: 5 }).toHaveLength(1);
      const [holder] = await holders(database.superuser);
      await sql`select pg_terminate_backend(${holder}::integer)`.execute(database.superuser);
      await expect
        .poll(() => holders(database.superuser), { timeout: 5_000, interval: 5 })
        .toEqual([expect.not.toSatisfy((pid) => pid === holder)]);
    }
    written.abort();
    await writing;
    await untilSealed(database.db);
    await running.stop();
    await expectWhole(database.db);
    const heads = await listHeads(database.db, { limit: 100 });
    for (const { size, root } of heads) expect((await readEdge(database.db, size)).root()).toEqual(root);
  });

  test('leads, while the others go on asking for its place', async () => {
    const database = await open();
    const sequencers = [1, 2, 3].map(() => startSequencer(database));
    const asking = async (): Promise<unknown[]> => {
      const { rows } = await sql`
        select pid from pg_stat_activity
        where datname = current_database() and application_name = 'florin-sequencer'
          and query like '%select pg_try_advisory_lock%'
      `.execute(database.superuser);
      return rows;
    };
    await writeEntries(database.db, 20);
    await untilSealed(database.db);
    await expect.poll(asking, { timeout: 5_000, interval: 5 }).toHaveLength(2);
    expect(await holders(database.superuser)).toHaveLength(1);
    await Promise.all(sequencers.map(({ stop }) => stop()));
  });

  test('adds nothing to a log that was cut off or rewritten', async () => {
    const database = await open();
    await writeEntries(database.db, 20);
    await sealAll(database);
    await writeEntries(database.db, 1);
    const tamper = async (statement: string, message: RegExp): Promise<void> => {
      await sql.raw(statement).execute(database.superuser);
      await expect(startSequencer(database).ended).rejects.toThrow(message);
    };
    await tamper(
      'update journal.positions set leaf = sha256(leaf) where position = 18',
      /journal was rewritten/,
    );
    await tamper('delete from journal.positions where position >= 18', /journal was cut off/);
    expect(await positionsOf(database.db)).toHaveLength(18);
  });

  test('writes its tables as the service and may change nothing in them', async () => {
    const database = await open();
    await writeEntries(database.db, 20);
    await sealAll(database);
    for (const table of ['positions', 'nodes', 'heads', 'keys']) {
      for (const statement of [`delete from journal.${table}`, `truncate journal.${table}`])
        await expect(sql.raw(statement).execute(database.db)).rejects.toThrow('permission denied');
    }
    for (const statement of [
      'update journal.positions set position = position',
      'update journal.nodes set hash = hash',
      'update journal.heads set root = root',
      'update journal.keys set public_key = public_key',
    ])
      await expect(sql.raw(statement).execute(database.db)).rejects.toThrow('permission denied');
  });
});

describe('the stored tree', () => {
  test('gives the roots and proofs of the tree that its leaves make', async () => {
    const database = await open();
    await writeEntries(database.db, 300);
    await sealAll(database);
    const { rows } = await sql<{ leaf: Buffer; hash: Buffer; position: bigint }>`
      select p.leaf, e.hash, p.position from journal.positions p join journal.entries e on e.id = p.entry_id order by p.position
    `.execute(database.db);
    const edge = edgeOf(0n, []);
    const roots = rows.map(({ leaf, hash, position }) => {
      expect(entryLeaf(position, hash)).toEqual(leaf);
      edge.append(leaf);
      return edge.root();
    });
    for (const size of [1n, 2n, 15n, 16n, 17n, 255n, 256n, 257n, 300n]) {
      const root = roots[Number(size) - 1] ?? Buffer.of();
      expect((await readEdge(database.db, size)).root()).toEqual(root);
      for (const position of [0n, size / 2n, size - 1n]) {
        const leaf = rows[Number(position)]?.leaf ?? Buffer.of();
        const proof = await inclusionProof(database.db, position, size);
        expect(verifyInclusion({ leaf, position }, { size, root }, proof)).toBe(true);
        const first = { size: position + 1n, root: roots[Number(position)] ?? Buffer.of() };
        const steps = await consistencyProof(database.db, first.size, size);
        expect(verifyConsistency(first, { size, root }, steps)).toBe(true);
      }
    }
  });
});

describe('heads', () => {
  test('come at most as often as they may, when there is news, and one more at the end', async () => {
    const database = await open();
    const clock = manualClock('2026-11-22T08:00:00Z');
    await using sequencer = startSequencer(database, { clock, headIntervalMs: 1_000 });
    const sizes = async () => (await listHeads(database.db, { limit: 100 })).map(({ size }) => Number(size));
    const sealed = async () => (await positionsOf(database.db)).length;
    await writeEntries(database.db, 1);
    await expect.poll(sizes).toEqual([1]);
    await writeEntries(database.db, 1);
    await expect.poll(sealed).toBe(2);
    await writeEntries(database.db, 1);
    await expect.poll(sealed).toBe(3);
    expect(await sizes()).toEqual([1]);
    clock.advance(1_000);
    await expect.poll(sizes).toEqual([3, 1]);
    clock.advance(60_000);
    await writeEntries(database.db, 1);
    await expect.poll(sizes).toEqual([4, 3, 1]);
    await writeEntries(database.db, 1);
    await expect.poll(sealed).toBe(5);
    await sequencer.stop();
    expect(await sizes()).toEqual([5, 4, 3, 1]);
    const text = await sequencer.metrics.text();
    expect(text).toContain('payments_journal_position 5');
    expect(text).toContain('payments_journal_heads_total 4');
    expect(text).toContain('payments_journal_sequencer_leader 0');
    expect(text).toMatch(/payments_journal_lag_entries \d/);
    expect(text).toMatch(/payments_journal_lag_seconds \d/);
  });

  test('are signed by the key of the vault, by old and new while one replaces the other; old ones still hold', async () => {
    const database = await open();
    const secrets = memoryKeys();
    const stored = async () => {
      const secret = await secrets.read(signingKeyPath);
      if (!secret) throw new Error('no key was made');
      return secret.value;
    };
    await writeEntries(database.db, 1);
    await sealAll(database, { secrets });
    const first = (await listKeys(database.db))[0];
    await secrets.write(signingKeyPath, withNewKey(await stored()));
    await writeEntries(database.db, 1);
    await sealAll(database, { secrets });
    await secrets.write(signingKeyPath, withNewKey(await stored()));
    await writeEntries(database.db, 1);
    await sealAll(database, { secrets });
    const keys = await listKeys(database.db);
    const heads = await listHeads(database.db, { limit: 10 });
    expect(keys).toHaveLength(3);
    const signers = heads.map((head) => keys.filter((key) => isSignedBy(head, key)).map(({ id }) => id));
    expect(signers.map(({ length }) => length)).toEqual([2, 2, 1]);
    expect(signers[2]).toEqual([first?.id]);
    expect(signers[1]).toContain(first?.id);
    expect(signers[0]).not.toContain(first?.id);
  });

  test('wait for a key that can not be made, and say how to make it; positions do not wait', async () => {
    const database = await open();
    await writeEntries(database.db, 3);
    await using sequencer = startSequencer(database, { secrets: memoryKeys({ writable: false }) });
    await expect.poll(() => positionsOf(database.db)).toHaveLength(3);
    await sequencer.stop();
    expect(await listHeads(database.db, { limit: 1 })).toEqual([]);
    const complaints = sequencer.lines.filter(({ level }) => level === 50);
    expect(complaints).toHaveLength(1);
    expect(JSON.stringify(complaints)).toContain('openssl genpkey -algorithm ed25519');
  });
});
