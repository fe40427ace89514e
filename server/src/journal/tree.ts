import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import {
  consistencyRanges,
  edgeOf,
  foldLevel,
  foldSubtrees,
  inclusionRanges,
  leafHash,
  storedLevelStep,
  subtreesOf,
  type Edge,
  type Range,
  type Subtree,
} from './merkle.ts';

/*
 * The Merkle tree as it is stored: its leaves in journal.positions, every fourth level above them in journal.nodes.
 */

/** The leaf of an entry at its position: both are hashed, so that two rows which change places are both found. */
export const entryLeaf = (position: bigint, entryHash: Uint8Array): Buffer => {
  const data = Buffer.alloc(40);
  data.writeBigUInt64BE(position);
  data.set(entryHash, 8);
  return leafHash(data);
};

/** The hashes that prove that a position is in the tree of that size, from the leaf upwards. */
export const inclusionProof = (db: Db, position: bigint, size: bigint): Promise<Buffer[]> =>
  readRanges(db, inclusionRanges(position, size));

/** The hashes that prove that the tree of size `second` begins with that of size `first`. */
export const consistencyProof = (db: Db, first: bigint, second: bigint): Promise<Buffer[]> =>
  readRanges(db, consistencyRanges(first, second));

/** The tree of that size, ready to be continued or to give its root. */
export const readEdge = async (db: Db, size: bigint): Promise<Edge> =>
  edgeOf(size, await readSubtrees(db, subtreesOf({ start: 0n, end: size })));

const readRanges = async (db: Db, ranges: readonly Range[]): Promise<Buffer[]> => {
  const parts = ranges.map(subtreesOf);
  const hashes = await readSubtrees(db, parts.flat());
  let at = 0;
  return parts.map(({ length }) => foldSubtrees(hashes.slice(at, (at += length))));
};

/** The hashes of complete subtrees, each from at most eight stored ones below it: two queries for all of them. */
const readSubtrees = async (db: Db, subtrees: readonly Subtree[]): Promise<Buffer[]> => {
  const wanted = subtrees.map(storedBelow);
  const leaves = wanted.flat().filter(({ level }) => level === 0);
  const nodes = wanted.flat().filter(({ level }) => level > 0);
  const found = new Map([...(await readLeaves(db, leaves)), ...(await readNodes(db, nodes))]);
  return wanted.map((below) =>
    foldLevel(
      below.map((one) => {
        const hash = found.get(keyOf(one));
        if (hash === undefined) throw new Error(`the journal has lost node ${keyOf(one)} of its tree`);
        return hash;
      }),
    ),
  );
};

const keyOf = ({ level, index }: Subtree): string => `(${level}, ${index})`;

const storedBelow = ({ level, index }: Subtree): Subtree[] => {
  const above = level % storedLevelStep;
  const first = index << BigInt(above);
  return Array.from({ length: 2 ** above }, (_, at) => ({ level: level - above, index: first + BigInt(at) }));
};

type Found = [key: string, hash: Buffer][];

const readLeaves = async (db: Db, leaves: readonly Subtree[]): Promise<Found> => {
  if (leaves.length === 0) return [];
  const { rows } = await sql<{ position: bigint; leaf: Buffer }>`
    select position, leaf from journal.positions where position = any(${leaves.map(({ index }) => index)}::bigint[])
  `.execute(db);
  return rows.map(({ position, leaf }) => [keyOf({ level: 0, index: position }), leaf]);
};

const readNodes = async (db: Db, nodes: readonly Subtree[]): Promise<Found> => {
  if (nodes.length === 0) return [];
  const { rows } = await sql<{ level: number; index: bigint; hash: Buffer }>`
    select n.level, n.index, n.hash
    from unnest(${nodes.map(({ level }) => level)}::smallint[], ${nodes.map(({ index }) => index)}::bigint[]) as w(level, index)
    join journal.nodes n using (level, index)
  `.execute(db);
  return rows.map(({ hash, ...node }) => [keyOf(node), hash]);
};
