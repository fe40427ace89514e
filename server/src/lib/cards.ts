import type { FieldFault } from './errors.ts';

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
 * Finds the texts of a JSON value that hold a card number, each with the path of its field. The number itself is in no
 * message: a member that is named like one is told by the object that has it.
 * @param value nested no deeper than what was parsed from a body (`lib/http/text.ts`)
 */
export const cardFaults = (value: unknown, field = 'body'): FieldFault[] => {
  if (typeof value === 'string') return holdsCardNumber(value) ? [faultAt(field)] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    if (holdsCardNumber(name)) return [faultAt(field)];
    return cardFaults(member, field === 'body' ? name : `${field}.${name}`);
  });
};

const faultAt = (field: string): FieldFault => ({
  field,
  message: 'must not hold a card number; Florin stores none',
});

const digitsMax = 19;
const separator = /[\s._-]/;

// Groups of digits that touch no letter, so that the parts of a UUID are rarely taken for one. Digits in one piece count
// wherever they stand, but after a plus sign, where a phone number has 15 at most (E.164).
const digitRuns =
  /(?<![\da-z+])\d(?:[\s._-]?\d){12,}(?![\da-z])|(?<![\d+])\d{13,19}(?!\d)|(?<=\+)\d{16,19}(?!\d)/gi;

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
