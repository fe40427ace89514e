import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import type { Finding } from '../lib/finding.ts';
import { fromUuid } from '../lib/ids.ts';
import { listHeadsUp, type StoredHead } from './heads.ts';
import type { Edge, Node } from './merkle.ts';
import type { EntryRow } from './row.ts';
import type { PublicKey } from './signing.ts';
import { entryLeaf, readEdge } from './tree.ts';

export type LogOptions = {
  /** Only what was sealed after this head, which was verified before and kept; the log has to begin like that still. */
  since?: { size: bigint; root: Buffer } | undefined;
  /** Keys that are known from elsewhere, such as the vault: one of them has to have signed the newest head. */
  keys?: readonly PublicKey[] | undefined;
  /** The time now, to tell a log whose newest heads are missing from one that is signed in a moment. */
  now?: Date | undefined;
  onProgress?: ((done: bigint, total: bigint) => void) | undefined;
};

/** How many positions are read at once. */
const pageSize = 1_000n;

type Row = {
  position: bigint;
  entry_id: string;
  leaf: Buffer;
  entry: EntryRow | null;
};

/** Finds the first of these entries whose hash is not that of its content. */
type CheckHashes = (entries: readonly EntryRow[]) => Promise<string | undefined>;

/** Goes through the log from its first position (or from `since`) to its last, once, and computes everything anew. */
export const verifyLog = async (
  db: Db,
  checkHashes: CheckHashes,
  { since, onProgress }: LogOptions,
): Promise<Finding[]> => {
  const checks = newChecks();
  const { rows } = await sql<{ size: bigint }>`
    select coalesce(max(position) + 1, 0) as size from journal.positions
  `.execute(db);
  const size = rows[0]?.size ?? 0n;
  const start = since?.size ?? 0n;
  const walk: Walk = {
    db,
    checks,
    next: start,
    edge: await startOf(db, size, checks, since),
    roots: rootsAfter(db, start),
  };
  for (let from = start; from < size;) {
    const page = await readPage(db, from);
    const entries = page.flatMap(({ entry }) => entry ?? []);
    note(checks.hashes, entries.length, await checkHashes(entries));
    await followPage(walk, page);
    from = page.length > 0 ? from + pageSize : await endOfGap(db, from);
    onProgress?.(from < size ? from : size, size);
  }
  await checkEnd(walk);
  return Object.values(checks);
};

type Checks = ReturnType<typeof newChecks>;

const newChecks = () => {
  const check = (name: string): Finding => ({ check: name, looked: 0, difference: undefined });
  return {
    hashes: check('every sealed journal entry has the hash of its content and transfer'),
    positions: check('positions count from 0 without gaps, and the entry of each is there'),
    leaves: check('every leaf is that of its entry at its position'),
    nodes: check('stored nodes are the hashes of what is below them'),
    roots: check('signed heads are the roots of the log'),
  };
};

/** Adds to what a check looked at; the first difference counts. */
const note = (check: Finding, looked: number, difference: string | undefined): void => {
  check.looked += looked;
  check.difference ??= difference;
};

type Walk = {
  db: Db;
  checks: Checks;
  /** The position that comes next. */
  next: bigint;
  /** The tree up to there; given up once a position is missing, since nothing follows from then on. */
  edge: Edge | undefined;
  /** The heads in order. */
  roots: AsyncGenerator<StoredHead, undefined>;
  /** The next of them. */
  root?: StoredHead | undefined;
};

const startOf = async (
  db: Db,
  size: bigint,
  checks: Checks,
  since: LogOptions['since'],
): Promise<Edge | undefined> => {
  const start = since?.size ?? 0n;
  if (since && start > size) {
    note(
      checks.roots,
      1,
      `the log has ${size} positions, fewer than the ${start} of the head that you gave: it was cut off`,
    );
    return undefined;
  }
  try {
    const edge = await readEdge(db, start);
    const isSame = !since || edge.root().equals(since.root);
    note(
      checks.roots,
      since ? 1 : 0,
      isSame
        ? undefined
        : `the log does not begin like the head that you gave, ${start} positions: it was rewritten`,
    );
    return edge;
  } catch (error) {
    note(checks.nodes, 0, error instanceof Error ? error.message : String(error));
    return undefined;
  }
};

/** How many heads are read at once. */
const headsMax = 1_000;

async function* rootsAfter(db: Db, start: bigint): AsyncGenerator<StoredHead, undefined> {
  for (let after = 0n; ;) {
    const page = await listHeadsUp(db, after, headsMax);
    yield* page.filter(({ size }) => size > start);
    const last = page.at(-1);
    if (!last || page.length < headsMax) return undefined;
    after = last.number;
  }
}

/** The bounds are positions, so that the plan is the same whatever statistics say of a table that grows. */
const readPage = async (db: Db, from: bigint): Promise<Row[]> => {
  const { rows } = await sql<Row>`
    select p.position, p.entry_id, p.leaf, to_jsonb(e) as entry
    from journal.positions p left join journal.entries e on e.tenant_id = p.tenant_id and e.id = p.entry_id
    where p.position >= ${from} and p.position < ${from + pageSize} order by p.position
  `.execute(db);
  return rows;
};

/** Where a gap ends that is longer than a page. */
const endOfGap = async (db: Db, from: bigint): Promise<bigint> => {
  const { rows } = await sql<{ next: bigint | null }>`
    select min(position) as next from journal.positions where position >= ${from}
  `.execute(db);
  return rows[0]?.next ?? from + pageSize;
};

const followPage = async (walk: Walk, page: readonly Row[]): Promise<void> => {
  const nodes: Node[] = [];
  for (const { position, entry_id: uuid, leaf, entry } of page) {
    const id = fromUuid('journal_entry', uuid);
    const { checks } = walk;
    if (position !== walk.next) {
      note(checks.positions, 0, `position ${walk.next} is missing; the next one is ${position}, ${id}`);
      walk.edge = undefined;
    }
    note(checks.positions, 1, entry ? undefined : `position ${position}: its entry ${id} is missing`);
    if (entry) {
      const isSame = entryLeaf(position, Buffer.from(entry.hash.slice(2), 'hex')).equals(leaf);
      note(
        checks.leaves,
        1,
        isSame ? undefined : `position ${position}: ${id} as it is now is not what was sealed here`,
      );
    }
    walk.next = position + 1n;
    if (walk.edge) {
      nodes.push(...walk.edge.append(leaf));
      await checkRoot(walk, walk.edge);
    }
  }
  await checkNodes(walk, nodes);
};

const checkRoot = async (walk: Walk, edge: Edge): Promise<void> => {
  walk.root ??= (await walk.roots.next()).value;
  // Several heads can't be over the same positions; one that has been passed is over fewer than the one before it.
  if (walk.root?.size !== edge.size) return;
  const { number, size, root } = walk.root;
  const isSame = edge.root().equals(root);
  note(
    walk.checks.roots,
    1,
    isSame
      ? undefined
      : `head ${number} is not the root of the first ${size} positions: it, or one of them, was changed`,
  );
  walk.root = undefined;
};

const checkNodes = async ({ db, checks }: Walk, nodes: readonly Node[]): Promise<void> => {
  if (nodes.length === 0) return;
  const { rows } = await sql<{ hash: Buffer | null }>`
    select n.hash
    from unnest(${nodes.map(({ level }) => level)}::smallint[], ${nodes.map(({ index }) => index)}::bigint[])
           with ordinality as w(level, index, ordinal)
    left join journal.nodes n on n.level = w.level and n.index = w.index
    order by w.ordinal
  `.execute(db);
  for (const [at, { level, index, hash }] of nodes.entries()) {
    const stored = rows[at]?.hash;
    const first = index << BigInt(level);
    const over = `node (${level}, ${index}) over positions ${first} to ${first + (1n << BigInt(level)) - 1n}`;
    const fault = stored
      ? `${over} is not their hash: it, or one of them, was changed`
      : `${over} is missing`;
    note(checks.nodes, 1, stored?.equals(hash) ? undefined : fault);
  }
};

/** Heads and nodes over more than there is now; the log may have grown meanwhile. */
const checkEnd = async ({ db, checks }: Walk): Promise<void> => {
  const end = sql`(select coalesce(max(position) + 1, 0) from journal.positions)`;
  const { rows: heads } = await sql<{ number: bigint; size: bigint; end: bigint }>`
    select number, size, ${end} as end from journal.heads where size > ${end} order by number limit 1
  `.execute(db);
  const [head] = heads;
  const cutOff =
    head &&
    `position ${head.end} and what followed are missing: head ${head.number} is over ${head.size} positions`;
  note(checks.positions, 0, cutOff);
  const { rows: nodes } = await sql<{ level: number; index: bigint }>`
    select level, index from journal.nodes where (index + 1)::numeric * (2::numeric ^ level) > ${end}
    order by level, index limit 1
  `.execute(db);
  const [node] = nodes;
  note(
    checks.nodes,
    0,
    node && `node (${node.level}, ${node.index}) is over positions that the log does not have`,
  );
};
