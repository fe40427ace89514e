import { currencies, exponentOf } from '../../lib/money.ts';

/** Where Stripe's smallest unit is another one than that of ISO 4217 (docs.stripe.com/currencies). */
const decimalsAtStripe: Readonly<Record<string, number>> = { ISK: 2, UGX: 2, MGA: 0 };

const isoToStripe = (currency: string): number =>
  (decimalsAtStripe[currency] ?? exponentOf(currency)) - exponentOf(currency);

/** An amount as Stripe counts it, or nothing when it has no such amount. */
export const toStripe = (amountMinor: bigint, currency: string): number | undefined => {
  const shift = isoToStripe(currency);
  const unit = 10n ** BigInt(Math.abs(shift));
  if (shift < 0 && amountMinor % unit !== 0n) return undefined;
  const amount = shift < 0 ? amountMinor / unit : amountMinor * unit;
  return amount <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(amount) : undefined;
};

/**
 * An amount of Stripe's in minor units, with its currency.
 * @throws Error for a currency that nobody knows, or what is no whole number of our minor units
 */
export const fromStripe = (
  amount: number,
  stripeCurrency: string,
): { amountMinor: bigint; currency: string } => {
  const currency = stripeCurrency.toUpperCase();
  if (!currencies.includes(currency)) throw new Error('Stripe named a currency that is not in ISO 4217');
  const shift = isoToStripe(currency);
  const unit = 10n ** BigInt(Math.abs(shift));
  const counted = BigInt(amount);
  if (shift > 0 && counted % unit !== 0n)
    throw new Error('Stripe named an amount that no payment of ours has');
  return { amountMinor: shift > 0 ? counted / unit : counted * unit, currency };
};
