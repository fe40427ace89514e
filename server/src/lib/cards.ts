import { AppError, type FieldFault } from './errors.ts';

/**
 * Whether a text holds what looks like a payment card number (PCI DSS 3.3–3.5): 13 to 19 digits, together or
 * in groups, with the first digits of a card scheme and a right check digit (Luhn, ISO/IEC 7812-1). A time in
 * milliseconds is none, and about one order number in thirty that is as long as a card number is taken for
 * one.
 */
export const holdsCardNumber = (text: string): boolean => {
  for (const [run] of text.matchAll(digitRuns)) {
    const groups = run.split(separator);
    for (let first = 0; first < groups.length; first++) {
      let digits = '';
      for (let last = first; last < groups.length && digits.length < digitsMax; last++) {
        digits += groups[last] ?? '';
        if (isCardNumber(digits)) return true;
      }
    }
  }
  return false;
};

/**
 * Refuses texts that hold a card number, all at once. The number itself appears in no message.
 * @param fields texts by the name of their field; one that is an object is looked at with its keys
 * @throws AppError `invalid_request`
 */
export const refuseCardNumbers = (
  fields: Readonly<Record<string, Text | Readonly<Record<string, Text>>>>,
): void => {
  const faults = Object.entries(fields).flatMap(([field, value]) => faultsOf(field, value));
  if (faults.length === 0) return;
  throw new AppError(
    'invalid_request',
    faults.map(({ field, message }) => `${field}: ${message}`).join('; '),
    { faults },
  );
};

type Text = string | null | undefined;

const faultsOf = (field: string, value: Text | Readonly<Record<string, Text>>): FieldFault[] => {
  const fault = { field, message: 'must not hold a card number; Florin stores none' };
  if (value === null || value === undefined) return [];
  if (typeof value === 'string') return holdsCardNumber(value) ? [fault] : [];
  return Object.entries(value).flatMap(([name, text]) =>
    holdsCardNumber(name) ? [fault] : faultsOf(`${field}.${name}`, text),
  );
};

const digitsMax = 19;
const separator = /[\s._-]/;
const digitRuns = /\d(?:[\s._-]?\d){12,}/g;

const schemes = new RegExp(
  [
    '4(?:\\d{12}|\\d{15}|\\d{18})', // Visa
    '(?:5[1-5]\\d\\d|222[1-9]|22[3-9]\\d|2[3-6]\\d\\d|27[01]\\d|2720)\\d{12}', // Mastercard
    '3[47]\\d{13}', // American Express
    '3(?:0[0-5]|[689]\\d)\\d{11}', // Diners Club
    '35(?:2[89]|[3-8]\\d)\\d{12,15}', // JCB
    '6\\d{15,18}', // Discover, UnionPay, RuPay, Maestro
    '5[0678]\\d{14,17}', // Maestro
  ]
    .map((scheme) => `^${scheme}$`)
    .join('|'),
);

const isCardNumber = (digits: string): boolean => {
  if (!schemes.test(digits)) return false;
  let sum = 0;
  for (let place = 0; place < digits.length; place++) {
    const digit = Number(digits[digits.length - 1 - place]) * (place % 2 === 0 ? 1 : 2);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 === 0;
};
