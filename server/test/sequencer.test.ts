import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { untilSealed, writeEntries } from '../src/journal/testing.ts';
import { verifyJournal } from '../src/journal/verify.ts';
import { repeat } from '../src/lib/jobs.ts';
import { testDatabase } from './setup/database.ts';

const script = fileURLToPath(new URL('setup/start-sequencer.ts', import.meta.url));
const database = await testDatabase();
const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await database[Symbol.asyncDispose]();
});

const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });

/** Starts a process; `leads` once it orders the journal. */
const start = (): { child: ChildProcess; leads: Promise<unknown> } => {
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const connection = { ...database.connection, password: database.connection.password?.reveal() };
  child.stdin.end(JSON.stringify({ connection, pem }));
  const lines = createInterface(child.stdout);
  const { promise: leads, resolve } = Promise.withResolvers<unknown>();
  lines.on('line', (line) => line.includes('This process orders the journal') && resolve(line));
  return { child, leads };
};

const kill = async ({ child }: { child: ChildProcess }): Promise<void> => {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
};

test('a process that is killed in the middle of its work is followed by another, without gaps, losses or doubles', async () => {
  const written = new AbortController();
  const writing = repeat(written.signal, 10, async () => {
    await writeEntries(database.db, 50);
    return 'idle';
  });
  let leader = start();
  await leader.leads;
  for (let turn = 0; turn < 3; turn += 1) {
    const next = start();
    await sealedMore();
    await kill(leader);
    const killedAt = performance.now();
    await next.leads;
    // The connection of a killed process ends at once; another process asks each second.
    expect(performance.now() - killedAt).toBeLessThan(10_000);
    leader = next;
  }
  written.abort();
  await writing;
  await untilSealed(database.db);
  const findings = await verifyJournal(database.db, async () => new Map());
  expect(findings.filter(({ difference }) => difference !== undefined)).toEqual([]);
  const { rows } = await sql<{ sealed: bigint; entries: bigint }>`
    select (select max(position) + 1 from journal.positions) as sealed, count(*) as entries from journal.entries
  `.execute(database.db);
  expect(rows[0]?.sealed).toBe(rows[0]?.entries);
}, 60_000);

/** Waits until the present sequencer has done something. */
const sealedMore = async (): Promise<void> => {
  const sealed = async (): Promise<bigint> => {
    const { rows } = await sql<{ size: bigint }>`select count(*) as size from journal.positions`.execute(
      database.db,
    );
    return rows[0]?.size ?? 0n;
  };
  const before = await sealed();
  await expect.poll(sealed, { timeout: 10_000, interval: 20 }).toBeGreaterThan(before);
};
