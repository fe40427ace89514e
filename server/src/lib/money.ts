import currencyCodes from 'currency-codes';
import { invalidField } from './errors.ts';

/** An exact amount: minor units of an ISO 4217 currency, e.g. `{ minor: 1050n, currency: 'USD' }` is 10.50 USD. */
export type Money = { minor: bigint; currency: string };

/** The largest amount of one request: 15 digits of minor units leave room for 9,000 of them in a 64-bit balance. */
export const maxAmountMinor = 999_999_999_999_999n;

/**
 * Decimal places per currency, from the ISO 4217 list and never from `Intl`, whose data disagrees for 29 codes.
 * Funds, metals and test codes, which have no minor unit in the list, are no payment currencies.
 */
const exponents = new Map(
  currencyCodes.data
    .filter(({ code }) => !/^(XAU|XAG|XPT|XPD|XDR|XBA|XBB|XBC|XBD|XSU|XTS|XXX|XUA)$/.test(code))
    .map(({ code, digits }) => [code, digits] as const),
);

/** Every currency that a payment can have. */
export const currencies: readonly string[] = [...exponents.keys()].sort();

/**
 * Decimal places of a currency, e.g. 2 for USD, 0 for JPY, 3 for KWD.
 * @throws AppError `invalid_request` naming `field` when the code is not in ISO 4217
 */
export const exponentOf = (currency: string, field = 'currency'): number => {
  const exponent = exponents.get(currency);
  if (exponent === undefined) {
    throw invalidField(field, 'must be an ISO 4217 currency code such as "USD"');
  }
  return exponent;
};

const decimal = /^(0|[1-9]\d*)(?:\.(\d+))?$/;

/**
 * Reads an amount from outside. A string counts as it stands; a JSON number by its shortest decimal form, so `0.1` is
 * exactly 0.1. Trailing zeros within the currency's precision are fine, anything finer is refused, not rounded.
 * @throws AppError `invalid_request` naming `field`: not a plain decimal, zero or negative, too precise, too large
 */
export const parseAmount = (amount: string | number, currency: string, field = 'amount'): bigint => {
  const exponent = exponentOf(currency);
  const match = decimal.exec(String(amount));
  if (!match) {
    throw invalidField(
      field,
      'must be a positive decimal number without sign, exponent or separators, such as "10.50"',
    );
  }
  const [, whole = '', fraction = ''] = match;
  if (fraction.length > exponent) {
    throw invalidField(
      field,
      `${currency} has ${exponent} decimal places, this amount has ${fraction.length}`,
    );
  }
  if (whole.length > 18) throw tooLarge(field, currency);
  const minor = BigInt(whole + fraction.padEnd(exponent, '0'));
  if (minor === 0n) throw invalidField(field, 'must be more than zero');
  if (minor > maxAmountMinor) throw tooLarge(field, currency);
  return minor;
};

/** Writes an amount with all decimal places of its currency: `formatAmount(1050n, 'USD')` is `10.50`. */
export const formatAmount = (minor: bigint, currency: string): string => {
  const exponent = exponentOf(currency);
  const digits = (minor < 0n ? -minor : minor).toString().padStart(exponent + 1, '0');
  const whole = digits.slice(0, digits.length - exponent);
  const sign = minor < 0n ? '-' : '';
  return exponent === 0 ? sign + whole : `${sign}${whole}.${digits.slice(-exponent)}`;
};

const tooLarge = (field: string, currency: string) =>
  invalidField(field, `must be at most ${formatAmount(maxAmountMinor, currency)} ${currency}`);
