import fc from 'fast-check';
import { TypeID } from 'typeid-js';
import { describe, expect, test } from 'vitest';
import {
  fromUuid,
  idPattern,
  idPrefixes,
  isId,
  leastUuidOf,
  newId,
  newIdAt,
  toUuid,
  type Id,
  type IdKind,
} from './ids.ts';

const uuids = fc.uuid({ version: 7 });

describe('ids', () => {
  test('are the TypeIDs of the reference library, both ways', () => {
    fc.assert(
      fc.property(uuids, (uuid) => {
        const id = fromUuid('payment', uuid);
        expect(id).toBe(TypeID.fromUUID('pay', uuid).toString());
        expect(toUuid(id)).toBe(uuid);
      }),
    );
  });

  test("agree with the specification's vectors", () => {
    const vectors = [
      ['00000000-0000-0000-0000-000000000000', 'pay_00000000000000000000000000'],
      ['00000000-0000-0000-0000-000000000001', 'pay_00000000000000000000000001'],
      ['00000000-0000-0000-0000-00000000000a', 'pay_0000000000000000000000000a'],
      ['00000000-0000-0000-0000-000000000020', 'pay_00000000000000000000000010'],
      ['ffffffff-ffff-ffff-ffff-ffffffffffff', 'pay_7zzzzzzzzzzzzzzzzzzzzzzzzz'],
      ['01890a5d-ac96-774b-bcce-b302099a8057', 'pay_01h455vb4pex5vsknk084sn02q'],
    ] as const;
    for (const [uuid, id] of vectors) {
      expect(fromUuid('payment', uuid)).toBe(id);
      expect(toUuid(id)).toBe(uuid);
    }
  });

  test('are new each time, sort by when they were made, and are UUIDs of version 7', () => {
    const ids = Array.from({ length: 20_000 }, () => newId('payment'));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(ids);
    for (const id of ids.slice(0, 100)) {
      expect(isId('payment', id)).toBe(true);
      expect(toUuid(id)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
  });

  test('bear the time of their making', () => {
    const before = Date.now();
    const time = Number.parseInt(toUuid(newId('payment')).replaceAll('-', '').slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    // Ids of a busy millisecond borrow from the next ones.
    expect(time).toBeLessThanOrEqual(Date.now() + 20);
  });

  test('bear the time they are given, and lie in its range alone', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date(2 ** 48 - 2), noInvalidDate: true }), (time) => {
        const uuid = toUuid(newIdAt('payment', time));
        expect(uuid >= leastUuidOf(time)).toBe(true);
        expect(uuid < leastUuidOf(new Date(time.getTime() + 1))).toBe(true);
      }),
    );
  });

  test('of one given millisecond sort by when they were made, and none is made twice', () => {
    const time = new Date('2026-11-22T08:00:00Z');
    const ids = Array.from({ length: 2_000 }, () => newIdAt('payment', time));
    expect(ids.toSorted()).toEqual(ids);
    const many = Array.from({ length: 10_000 }, () => newIdAt('payment', time));
    expect(new Set([...ids, ...many]).size).toBe(12_000);
  });

  test('what is no id is refused, and never read as another one', () => {
    const bad = [
      'pay_8zzzzzzzzzzzzzzzzzzzzzzzzz',
      'pay_01h455vb4pex5vsknk084sn02',
      'pay_01h455vb4pex5vsknk084sn02qq',
      'pay_01h455vb4pex5vsknk084sn02l',
      'pay_01H455VB4PEX5VSKNK084SN02Q',
      'pay-01h455vb4pex5vsknk084sn02q',
      'pay_01h455vb4pex5vsknk084sn02é',
      '01h455vb4pex5vsknk084sn02q',
      '',
    ];
    for (const text of bad) {
      expect(isId('payment', text)).toBe(false);
      // As if it had passed the check.
      expect(() => toUuid(text as Id<'payment'>)).toThrow(TypeError);
    }
    for (const uuid of [
      '',
      'nonsense',
      '01890a5d-ac96-774b-bcce-b302099a805',
      '01890a5d-ac96-774b-bcce-b302099a80zz',
    ]) {
      expect(() => fromUuid('payment', uuid)).toThrow(TypeError);
    }
    expect(new RegExp(idPattern('payment')).test(newId('refund'))).toBe(false);
  });

  test('every text that passes for an id has a UUID, also one that no generator makes: it is unknown, not a fault', () => {
    const kinds = fc.constantFrom(...(Object.keys(idPrefixes) as IdKind[]));
    const ids = kinds.chain((kind) =>
      fc.tuple(fc.constant(kind), fc.stringMatching(new RegExp(idPattern(kind)))),
    );
    fc.assert(
      fc.property(ids, ([kind, text]) => {
        expect(isId(kind, text)).toBe(true);
        if (isId(kind, text)) expect(toUuid(text)).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      }),
      { seed: 1, numRuns: 100 },
    );
  });
});
