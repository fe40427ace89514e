import { hash } from 'node:crypto';

/*
 * The Merkle tree of RFC 9162, section 2.1: pure functions. Positions and sizes count leaves; a range is [start, end).
 */

/** A complete subtree: the leaves from `index · 2^level` on, 2^level of them. */
export type Subtree = { level: number; index: bigint };

/** A complete subtree with its hash. */
export type Node = Subtree & { hash: Buffer };

export type Range = { start: bigint; end: bigint };

/** Nodes of these levels are kept (0 are the leaves); those between are computed from at most eight of them. */
export const storedLevelStep = 4;

const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');

const leafPrefix = Buffer.of(0x00);
const nodePrefix = Buffer.of(0x01);

/** The hash of a leaf: SHA-256(0x00 ‖ data). */
export const leafHash = (data: Uint8Array): Buffer => sha256(Buffer.concat([leafPrefix, data]));

/** The hash of a node: SHA-256(0x01 ‖ left ‖ right). */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer =>
  sha256(Buffer.concat([nodePrefix, left, right]));

/** The root of a tree without leaves. */
export const emptyRoot = sha256(Buffer.alloc(0));

/**
 * The complete subtrees of a range, from left to right and so from large to small. The range begins where the tree can be
 * cut: at a multiple of the largest power of two in its length.
 */
export const subtreesOf = ({ start, end }: Range): Subtree[] => {
  const subtrees: Subtree[] = [];
  for (let from = start; from < end;) {
    const level = (end - from).toString(2).length - 1;
    subtrees.push({ level, index: from >> BigInt(level) });
    from += 1n << BigInt(level);
  }
  return subtrees;
};

/** The hash over a range from the hashes of its complete subtrees, from left to right. */
export const foldSubtrees = (hashes: readonly Buffer[]): Buffer =>
  hashes.length === 0 ? emptyRoot : hashes.reduceRight((right, left) => nodeHash(left, right));

/** The hash of a complete subtree from 2^n hashes of one level below it. */
export const foldLevel = (hashes: readonly Buffer[]): Buffer => {
  const [first, ...others] = hashes;
  if (first === undefined) throw new RangeError('nothing to hash');
  if (others.length === 0) return first;
  const half = hashes.length / 2;
  return nodeHash(foldLevel(hashes.slice(0, half)), foldLevel(hashes.slice(half)));
};

/** Where a tree of that many leaves is cut: the largest power of two below it. */
const cutOf = (size: bigint): bigint => 1n << BigInt((size - 1n).toString(2).length - 1);

/**
 * The ranges whose hashes are the inclusion proof of a position, from the leaf upwards (RFC 9162, 2.1.3.1).
 * @throws RangeError when the tree has no such leaf
 */
export const inclusionRanges = (position: bigint, size: bigint): Range[] => {
  if (position < 0n || position >= size) throw new RangeError(`no position ${position} below ${size}`);
  const ranges: Range[] = [];
  for (let [start, end] = [0n, size]; end - start > 1n;) {
    const middle = start + cutOf(end - start);
    ranges.push(position < middle ? { start: middle, end } : { start, end: middle });
    if (position < middle) end = middle;
    else start = middle;
  }
  return ranges.toReversed();
};

/**
 * The ranges whose hashes prove that the tree of `second` leaves begins with the tree of `first` (RFC 9162, 2.1.4.1).
 * @throws RangeError unless 0 < first ≤ second
 */
export const consistencyRanges = (first: bigint, second: bigint): Range[] => {
  if (first <= 0n || first > second) throw new RangeError(`no proof from ${first} to ${second}`);
  const ranges: Range[] = [];
  let [start, end, isWhole] = [0n, second, true];
  while (first !== end) {
    const middle = start + cutOf(end - start);
    ranges.push(first <= middle ? { start: middle, end } : { start, end: middle });
    if (first <= middle) {
      end = middle;
    } else {
      start = middle;
      isWhole = false;
    }
  }
  return [...(isWhole ? [] : [{ start, end }]), ...ranges.toReversed()];
};

/** Whether a leaf is at a position of the tree with this root (RFC 9162, 2.1.3.2). */
export const verifyInclusion = (
  { leaf, position }: { leaf: Uint8Array; position: bigint },
  { size, root }: { size: bigint; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean => {
  if (position < 0n || position >= size) return false;
  let [fn, sn] = [position, size - 1n];
  let computed: Buffer = Buffer.from(leaf);
  for (const part of proof) {
    if (sn === 0n) return false;
    if (isOdd(fn) || fn === sn) {
      computed = nodeHash(part, computed);
      while (!isOdd(fn) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      computed = nodeHash(computed, part);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && computed.equals(root);
};

/** Whether the tree of `second` begins with the tree of `first` (RFC 9162, 2.1.4.2). */
export const verifyConsistency = (
  first: { size: bigint; root: Uint8Array },
  second: { size: bigint; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean => {
  if (first.size <= 0n || first.size > second.size) return false;
  if (first.size === second.size) return proof.length === 0 && Buffer.from(first.root).equals(second.root);
  // A power of two is a node of the later tree: its hash is known and left out of the proof.
  const isNode = (first.size & (first.size - 1n)) === 0n;
  const [start, ...rest] = isNode ? [first.root, ...proof] : proof;
  if (start === undefined) return false;
  let [fn, sn] = [first.size - 1n, second.size - 1n];
  while (isOdd(fn)) [fn, sn] = [fn >> 1n, sn >> 1n];
  let [firstRoot, secondRoot]: [Buffer, Buffer] = [Buffer.from(start), Buffer.from(start)];
  for (const part of rest) {
    if (sn === 0n) return false;
    if (isOdd(fn) || fn === sn) {
      [firstRoot, secondRoot] = [nodeHash(part, firstRoot), nodeHash(part, secondRoot)];
      while (!isOdd(fn) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      secondRoot = nodeHash(secondRoot, part);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && firstRoot.equals(first.root) && secondRoot.equals(second.root);
};

const isOdd = (number: bigint): boolean => (number & 1n) === 1n;

/** The right edge of a tree: all that appending needs. */
export type Edge = {
  readonly size: bigint;
  /** Adds a leaf (its hash); gives the nodes of stored levels that it completed. */
  append(leaf: Buffer): Node[];
  root(): Buffer;
};

/** The edge of a tree of that size, from the hashes of its complete subtrees (`subtreesOf` the whole). */
export const edgeOf = (start: bigint, hashes: readonly Buffer[]): Edge => {
  let size = start;
  /** By level: the complete subtree that still waits for its sibling. */
  const waiting: (Buffer | undefined)[] = [];
  for (const [at, { level }] of subtreesOf({ start: 0n, end: start }).entries()) waiting[level] = hashes[at];
  return {
    get size() {
      return size;
    },
    append: (leaf) => {
      const completed: Node[] = [];
      let [node, level] = [leaf, 0];
      for (let left = waiting[0]; left !== undefined; left = waiting[level]) {
        node = nodeHash(left, node);
        waiting[level] = undefined;
        level += 1;
        if (level % storedLevelStep === 0)
          completed.push({ level, index: size >> BigInt(level), hash: node });
      }
      waiting[level] = node;
      size += 1n;
      return completed;
    },
    root: () => foldSubtrees(waiting.filter((one) => one !== undefined).toReversed()),
  };
};
