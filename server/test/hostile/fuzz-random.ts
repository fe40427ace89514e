/** Random choices; the same seed makes the same ones. */
export type Random = {
  /** A whole number from 0 on that is less than this. */
  below(limit: number): number;
  chance(probability: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
  /** One of them, the first as likely as its weight says. */
  weighted<Item>(choices: readonly (readonly [weight: number, item: Item])[]): Item;
};

/** Mulberry32: 32 bits of state, quick, and random enough to choose inputs. */
export const seeded = (seed: number): Random => {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  const pick = <Item>(items: readonly Item[]): Item => {
    if (items.length === 0) throw new RangeError('There is nothing to pick from.');
    return items[below(items.length)] as Item; // below its length
  };
  return {
    below,
    pick,
    chance: (probability) => next() < probability,
    weighted: (choices) => {
      let place = next() * choices.reduce((sum, [weight]) => sum + weight, 0);
      for (const [weight, item] of choices) {
        place -= weight;
        if (place < 0) return item;
      }
      return pick(choices)[1];
    },
  };
};
