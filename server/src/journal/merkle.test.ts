import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  consistencyRanges,
  edgeOf,
  emptyRoot,
  foldLevel,
  foldSubtrees,
  inclusionRanges,
  leafHash,
  storedLevelStep,
  subtreesOf,
  verifyConsistency,
  verifyInclusion,
  type Range,
} from './merkle.ts';

/*
 * Held against the definitions of RFC 9162, section 2.1, written down as they stand there, and against the vectors that
 * implementations of RFC 6962 share.
 */

const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

const cut = (n: number): number => {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
};

/** 2.1.1, MTH */
const mth = (d: readonly Buffer[]): Buffer => {
  if (d.length === 0) return sha256();
  if (d.length === 1) return sha256(Buffer.of(0), d[0] ?? Buffer.of());
  const k = cut(d.length);
  return sha256(Buffer.of(1), mth(d.slice(0, k)), mth(d.slice(k)));
};

/** 2.1.3.1, PATH */
const path = (m: number, d: readonly Buffer[]): Buffer[] => {
  if (d.length === 1) return [];
  const k = cut(d.length);
  return m < k
    ? [...path(m, d.slice(0, k)), mth(d.slice(k))]
    : [...path(m - k, d.slice(k)), mth(d.slice(0, k))];
};

/** 2.1.4.1, SUBPROOF */
const subproof = (m: number, d: readonly Buffer[], isWhole: boolean): Buffer[] => {
  if (m === d.length) return isWhole ? [] : [mth(d)];
  const k = cut(d.length);
  return m <= k
    ? [...subproof(m, d.slice(0, k), isWhole), mth(d.slice(k))]
    : [...subproof(m - k, d.slice(k), false), mth(d.slice(0, k))];
};

/** What the code under test makes of a range, from nothing but its leaves. */
const hashOf = (data: readonly Buffer[], { start, end }: Range): Buffer =>
  foldSubtrees(
    subtreesOf({ start, end }).map(({ level, index }) => {
      const from = Number(index << BigInt(level));
      return foldLevel(data.slice(from, from + 2 ** level).map(leafHash));
    }),
  );

const grown = (data: readonly Buffer[]) => {
  const edge = edgeOf(0n, []);
  const nodes = data.flatMap((one) => edge.append(leafHash(one)));
  return { edge, nodes };
};

const leaves = (max: number): fc.Arbitrary<Buffer[]> =>
  fc.nat(max).map((count) => Array.from({ length: count }, (_, index) => Buffer.from(`leaf ${index}`)));

/** Flips one bit of one part of a proof. */
const flipped = (proof: readonly Buffer[], at: number): Buffer[] =>
  proof.map((part, index) => {
    if (index !== at % proof.length) return part;
    const changed = Buffer.from(part);
    changed[at % 32] = (changed[at % 32] ?? 0) ^ 1;
    return changed;
  });

describe('vectors of RFC 6962 implementations', () => {
  const data = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ].map((hex) => Buffer.from(hex, 'hex'));
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];

  test('roots', () => {
    expect(emptyRoot.toString('hex')).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    const edge = edgeOf(0n, []);
    expect(edge.root()).toEqual(emptyRoot);
    for (const [index, one] of data.entries()) {
      edge.append(leafHash(one));
      expect(edge.root().toString('hex')).toBe(roots[index]);
    }
  });

  const hex = (proof: readonly Range[]): string[] =>
    proof.map((range) => hashOf(data, range).toString('hex'));

  test('inclusion proofs', () => {
    expect(hex(inclusionRanges(0n, 8n))).toEqual([
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ]);
    expect(hex(inclusionRanges(5n, 8n))).toEqual([
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]);
    expect(hex(inclusionRanges(1n, 5n))).toEqual([
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ]);
  });

  test('consistency proofs', () => {
    expect(hex(consistencyRanges(1n, 1n))).toEqual([]);
    expect(hex(consistencyRanges(1n, 8n))).toEqual([
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ]);
    expect(hex(consistencyRanges(6n, 8n))).toEqual([
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]);
  });
});

describe('the tree', () => {
  test('has the root that RFC 9162 defines, grown leaf by leaf or taken up in the middle', () => {
    fc.assert(
      fc.property(leaves(300), fc.nat(), (data, place) => {
        expect(grown(data).edge.root()).toEqual(mth(data));
        const size = place % (data.length + 1);
        const before = subtreesOf({ start: 0n, end: BigInt(size) });
        const resumed = edgeOf(
          BigInt(size),
          before.map(({ level, index }) =>
            hashOf(data, { start: index << BigInt(level), end: (index + 1n) << BigInt(level) }),
          ),
        );
        for (const one of data.slice(size)) resumed.append(leafHash(one));
        expect(resumed.root()).toEqual(mth(data));
        expect(resumed.size).toBe(BigInt(data.length));
      }),
    );
  });

  test('gives every complete node of the stored levels, once', () => {
    const data = Array.from({ length: 600 }, (_, index) => Buffer.from(`leaf ${index}`));
    const { nodes } = grown(data);
    expect(nodes).toHaveLength(Math.floor(600 / 16) + Math.floor(600 / 256));
    for (const { level, index, hash } of nodes) {
      expect(level % storedLevelStep).toBe(0);
      const from = Number(index) * 2 ** level;
      expect(hash).toEqual(mth(data.slice(from, from + 2 ** level)));
    }
  });
});

describe('inclusion', () => {
  test('proofs are those of RFC 9162, hold, and hold for nothing else', () => {
    fc.assert(
      fc.property(leaves(200), fc.nat(), fc.nat(), (data, place, at) => {
        fc.pre(data.length > 0);
        const [position, size] = [place % data.length, data.length];
        const proof = inclusionRanges(BigInt(position), BigInt(size)).map((range) => hashOf(data, range));
        expect(proof).toEqual(path(position, data));
        const leaf = leafHash(data[position] ?? Buffer.of());
        const tree = { size: BigInt(size), root: mth(data) };
        const holds = (changes: object, parts = proof, other = tree): boolean =>
          verifyInclusion({ leaf, position: BigInt(position), ...changes }, other, parts);
        expect(holds({})).toBe(true);
        expect(holds({ leaf: leafHash(Buffer.from('another')) })).toBe(false);
        expect(holds({ position: BigInt(at % size) })).toBe(at % size === position);
        expect(holds({ position: BigInt(size) })).toBe(false);
        expect(holds({}, [...proof, leaf])).toBe(false);
        if (proof.length > 0) {
          expect(holds({}, flipped(proof, at))).toBe(false);
          expect(holds({}, proof.slice(1))).toBe(false);
        }
        expect(holds({}, proof, { ...tree, root: leafHash(tree.root) })).toBe(false);
      }),
    );
  });

  test('of a leaf that the tree does not have is refused', () => {
    expect(() => inclusionRanges(3n, 3n)).toThrow(RangeError);
    expect(() => inclusionRanges(-1n, 3n)).toThrow(RangeError);
  });
});

describe('consistency', () => {
  test('proofs are those of RFC 9162, hold, and hold for nothing else', () => {
    fc.assert(
      fc.property(leaves(200), fc.nat(), fc.nat(), (data, place, at) => {
        fc.pre(data.length > 0);
        const [m, n] = [(place % data.length) + 1, data.length];
        const proof = consistencyRanges(BigInt(m), BigInt(n)).map((range) => hashOf(data, range));
        expect(proof).toEqual(subproof(m, data, true));
        const first = { size: BigInt(m), root: mth(data.slice(0, m)) };
        const second = { size: BigInt(n), root: mth(data) };
        expect(verifyConsistency(first, second, proof)).toBe(true);
        const rewritten = data.with(at % m, Buffer.from('another'));
        const forged = { ...second, root: mth(rewritten) };
        const forgedProof = consistencyRanges(first.size, second.size).map((range) =>
          hashOf(rewritten, range),
        );
        expect(verifyConsistency(first, forged, forgedProof)).toBe(false);
        expect(verifyConsistency(first, second, [...proof, first.root])).toBe(false);
        if (proof.length > 0) {
          expect(verifyConsistency(first, second, flipped(proof, at))).toBe(false);
          expect(verifyConsistency(first, second, proof.slice(1))).toBe(false);
        }
        if (m < n) expect(verifyConsistency(second, first, proof)).toBe(false);
      }),
    );
  });

  test('of trees in the wrong order, or of none, is refused', () => {
    expect(() => consistencyRanges(0n, 3n)).toThrow(RangeError);
    expect(() => consistencyRanges(4n, 3n)).toThrow(RangeError);
    expect(verifyConsistency({ size: 0n, root: emptyRoot }, { size: 1n, root: emptyRoot }, [])).toBe(false);
  });
});
