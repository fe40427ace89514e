import fc from 'fast-check';
import { paymentMethods } from './commands.ts';
import type { Terms } from './books.ts';

/** One request before it is known what it is about: `target` and `of` choose among what there is by then. */
export type Plan =
  | { verb: 'create'; hasKey: boolean; amount: bigint; capture: boolean; method: string; isPoison: boolean }
  | { verb: 'capture'; hasKey: boolean; target: number; percent: number | undefined }
  | { verb: 'cancel'; hasKey: boolean; target: number }
  | { verb: 'refund'; hasKey: boolean; target: number; percent: number | undefined; isRest: boolean }
  /** Of what the vendor may spend by then. */
  | { verb: 'pay out'; percent: number }
  /** An earlier request of the tenant once more, with its key; altered, with another body under that key. */
  | { verb: 'again'; of: number; isAltered: boolean };

/** A tenant's requests: those of a round are sent at the same time, one round after the other. */
export type TenantPlan = { terms: Terms; rounds: readonly (readonly Plan[])[] };

/** Small amounts, so that fees and balances come to their edges. */
const amount = fc.oneof(
  { weight: 3, arbitrary: fc.bigInt({ min: 1n, max: 2_000n }) },
  { weight: 1, arbitrary: fc.constantFrom(1n, 29n, 30n, 31n, 100n, 1_000n) },
);
const target = fc.nat(1_000);
const hasKey = fc.boolean();

const create = fc.record({
  verb: fc.constant('create' as const),
  hasKey,
  amount,
  capture: fc.oneof(
    { weight: 2, arbitrary: fc.constant(true) },
    { weight: 1, arbitrary: fc.constant(false) },
  ),
  method: fc.oneof(
    { weight: 4, arbitrary: fc.constant('book') },
    // Its refunds stay open: what they hold can't be spent.
    { weight: 1, arbitrary: fc.constant('sandbox:refund_timeout') },
    { weight: 2, arbitrary: fc.constantFrom(...paymentMethods) },
  ),
  isPoison: fc.oneof(
    { weight: 9, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
});

/** Of what was asked for; sometimes more than that. */
const percent = fc.option(fc.integer({ min: 1, max: 115 }), { nil: undefined, freq: 3 });

const plan: fc.Arbitrary<Plan> = fc.oneof(
  { weight: 6, arbitrary: create },
  {
    weight: 2,
    arbitrary: fc.record({ verb: fc.constant('capture' as const), hasKey, target, percent }),
  },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('cancel' as const), hasKey, target }) },
  {
    weight: 5,
    arbitrary: fc.record({
      verb: fc.constant('refund' as const),
      hasKey,
      target,
      percent,
      isRest: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ verb: fc.constant('pay out' as const), percent: fc.constantFrom(40, 90, 100) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ verb: fc.constant('again' as const), of: target, isAltered: fc.boolean() }),
  },
);

const terms: fc.Arbitrary<Terms> = fc.constantFrom(
  { feeBasisPoints: 0, feeFixed: {}, overdraftAllowed: false },
  { feeBasisPoints: 290, feeFixed: { USD: 30n }, overdraftAllowed: false },
  { feeBasisPoints: 1_250, feeFixed: {}, overdraftAllowed: true },
  { feeBasisPoints: 10_000, feeFixed: {}, overdraftAllowed: false },
);

/** Requests of several tenants, which are served at the same time. */
export const tenantPlans: fc.Arbitrary<TenantPlan[]> = fc.array(
  fc.record({
    terms,
    // At most three at once: every order of their steps is tried against the model.
    rounds: fc.array(fc.array(plan, { minLength: 1, maxLength: 3, size: 'max' }), {
      minLength: 3,
      maxLength: 12,
      size: 'max',
    }),
  }),
  { minLength: 2, maxLength: 4 },
);

/** How property tests run: `FLORIN_TEST_SEED` repeats a run, and the seed is in the report of a failure. */
export const propertyOptions = (numRuns: number): fc.Parameters<unknown> => {
  const seed = process.env['FLORIN_TEST_SEED'];
  return { numRuns, ...(seed !== undefined && { seed: Number(seed) }) };
};
