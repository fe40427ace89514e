import { agedCache } from '../access/cache.ts';
import { elapsedMs, type Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import type { PaymentsModule, TenantTerms } from '../payments/module.ts';
import { beginRevocations, listRevocations } from '../vendors/credentials.ts';
import { findTenantSettings } from '../vendors/vendors.ts';

/** How old a vendor's terms may be when a payment is taken on them. */
const termsAgeMs = 1_000;

/** Nothing is kept longer, whatever was said of it. */
const keptMaxMs = 60_000;

/**
 * The terms of tenants, kept until their vendor changes: once a second, whoever needs terms first asks which vendors did.
 * (Read anew each second, the terms of ten thousand busy vendors were a query a payment.)
 */
export const keptTerms = (db: Db, clock: Clock): PaymentsModule['termsOf'] => {
  type Kept = { vendorId: string; terms: TenantTerms };
  const kept = agedCache<Kept>({ clock, maxAgeMs: keptMaxMs, maxEntries: 100_000 });
  let last: string | undefined;
  let askedAtMs = -Infinity;
  let asking: Promise<void> | undefined;

  const forgetChanged = async (): Promise<void> => {
    const asked = elapsedMs(clock);
    if (last === undefined) ({ last } = await beginRevocations(db, clock.now()));
    for (
      let next = await listRevocations(db, last);
      next.last !== last;
      next = await listRevocations(db, last)
    ) {
      const changed = new Set(
        next.revocations.filter(({ kind }) => kind === 'vendor').map(({ subject }) => subject),
      );
      if (changed.size > 0) kept.drop((_, { vendorId }) => changed.has(vendorId));
      last = next.last;
    }
    askedAtMs = asked;
  };

  const catchUp = (): Promise<void> =>
    (asking ??= forgetChanged().finally(() => {
      asking = undefined;
    }));

  const load = async (tenantId: number): Promise<Kept> => {
    const settings = await findTenantSettings(db, tenantId);
    if (!settings)
      throw new AppError('vendor_required', 'Name the vendor to act for in the header Florin-Vendor.');
    const { vendorId, feeFixedMinor } = settings;
    return { vendorId, terms: { ...settings, feeFixed: Object.fromEntries(feeFixedMinor) } };
  };

  return async (tenantId) => {
    if (elapsedMs(clock) - askedAtMs >= termsAgeMs) await catchUp();
    const { terms } = await kept.through(String(tenantId), () => load(tenantId));
    return terms;
  };
};
