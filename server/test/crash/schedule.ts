import { stepNames, type StepName } from '../../src/lib/step.ts';

/** A source of numbers that a seed repeats: every `random()` is at least 0 and less than 1. */
export type Random = () => number;

/** Mulberry32, a generator of 32 bits; good enough to choose by, and the same everywhere. */
export const randomFrom = (seed: number): Random => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

export const chosen = <Item>(random: Random, items: readonly Item[]): Item => {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error('there is nothing to choose from');
  return item;
};

/** `backend` is one connection's process of PostgreSQL, `postmaster` the server itself. */
export type Victim = 'sapi' | 'eapi' | 'worker' | 'postmaster' | 'backend';

/** One kill: at the how-manieth time that a service comes to a step, or a while after. */
export type Kill = {
  /** How many requests are to be answered first. 0 strikes while the last victim is still coming back. */
  afterAnswers: number;
} & ({ step: StepName; occurrence: number; whom: StepVictim } | { victim: Victim; afterMs: number });

/** Who dies at a step: the service that came to it, or PostgreSQL. */
export type StepVictim = 'itself' | 'backend' | 'postmaster';

const stepVictims: readonly StepVictim[] = ['itself', 'itself', 'itself', 'itself', 'backend', 'postmaster'];

/** How much of the run strikes at a step; the rest at random moments. */
const stepShare = 0.6;

const victims: readonly Victim[] = [
  'sapi',
  'sapi',
  'sapi',
  'eapi',
  'worker',
  'postmaster',
  'postmaster',
  'backend',
  'backend',
];

/** Every kill of a run, by its seed: steps in turn, so that each is struck as often as any other. */
export const scheduleOf = (seed: number, kills: number): Kill[] => {
  const random = randomFrom(seed);
  let turn: StepName[] = [];
  return Array.from({ length: kills }, () => {
    const afterAnswers = random() < 0.15 ? 0 : 1 + Math.floor(random() * 20);
    if (random() >= stepShare)
      return { afterAnswers, victim: chosen(random, victims), afterMs: random() * 60 };
    if (turn.length === 0) turn = shuffled(random, stepNames);
    const step = turn.pop() ?? stepNames[0];
    const occurrence = 1 + Math.floor(random() * 3);
    const whom = chosen(random, stepVictims);
    return { afterAnswers, step, occurrence: rare.test(step) ? 1 : occurrence, whom };
  });
};

/** A poisonous row has to meet others in a batch, and a call has to stay without an answer for a while. */
const rare = /^(batch\.halved|resolver\..*)$/;

const shuffled = <Item>(random: Random, items: readonly Item[]): Item[] =>
  items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
