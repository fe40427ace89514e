import type { FieldFault } from './errors.ts';

/**
 * Whether a text holds what looks like a payment card number (PCI DSS 3.3–3.5): 13 to 19 digits, together or
 * in groups, with the first digits of a card scheme and a right check digit (Luhn, ISO/IEC 7812-1). A time in
 * milliseconds is none, and about one order number in thirty that is as long as a card number is taken for
 * one.
 */
export const holdsCardNumber = (text: string): boolean => {
  if (!thirteenDigits.test(text)) return false;
  for (const [run] of text.matchAll(digitRuns)) if (runHoldsCardNumber(run)) return true;
  return false;
};

/**
 * Looks at every 13 to 19 digits of a run that begin and end with a group. The check digits of all of them come from
 * sums that are made once, so that a text full of digits takes no more time than its length.
 */
const runHoldsCardNumber = (run: string): boolean => {
  const groups = run.split(separator);
  const digits = groups.join('');
  const ends = new Uint8Array(digits.length + 1);
  const starts: number[] = [];
  let at = 0;
  for (const group of groups) {
    starts.push(at);
    at += group.length;
    ends[at] = 1;
  }
  const sums = luhnSums(digits);
  return starts.some((start) => {
    if (!firstDigits.has(digits[start] ?? '')) return false;
    for (let end = start + 13; end <= Math.min(start + 19, digits.length); end++) {
      const sum = sums[end % 2];
      const isChecked = ends[end] === 1 && sum && ((sum[end] ?? 0) - (sum[start] ?? 0)) % 10 === 0;
      if (isChecked && schemes.test(digits.slice(start, end))) return true;
    }
    return false;
  });
};

/** Running sums of a number's digits as Luhn weighs them: for a last digit at an odd place, and at an even one. */
const luhnSums = (digits: string): readonly [Int32Array, Int32Array] => {
  const sums = [new Int32Array(digits.length + 1), new Int32Array(digits.length + 1)] as const;
  for (let place = 0; place < digits.length; place++) {
    const digit = digits.charCodeAt(place) - 48;
    const doubled = digit > 4 ? digit * 2 - 9 : digit * 2;
    const isEven = place % 2 === 0;
    sums[0][place + 1] = (sums[0][place] ?? 0) + (isEven ? doubled : digit);
    sums[1][place + 1] = (sums[1][place] ?? 0) + (isEven ? digit : doubled);
  }
  return sums;
};

/**
 * Finds the texts of a JSON value that hold a card number, each with the path of its field. The number itself is in no
 * message: a member that is named like one is told by the object that has it.
 * @param value nested no deeper than what was parsed from a body (`lib/http/text.ts`)
 */
export const cardFaults = (value: unknown): FieldFault[] => {
  const faults: FieldFault[] = [];
  walk(value, '', faults);
  return faults;
};

const faultsMax = 100;

/** Longer texts fit in no field, so their schema refuses them; reading them here would only take time. */
const lengthMax = 10_000;

const walk = (value: unknown, field: string, faults: FieldFault[]): void => {
  if (typeof value === 'string') {
    if (value.length <= lengthMax && holdsCardNumber(value)) faults.push(faultAt(field));
    return;
  }
  if (typeof value !== 'object' || value === null || faults.length >= faultsMax) return;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++)
      walk(value[index], joined(field, String(index)), faults);
    return;
  }
  for (const [name, member] of Object.entries(value)) {
    if (name.length <= lengthMax && holdsCardNumber(name)) faults.push(faultAt(field));
    else walk(member, joined(field, name), faults);
  }
};

const joined = (field: string, name: string): string => (field === '' ? name : `${field}.${name}`);

const faultAt = (field: string): FieldFault => ({
  field: field || 'body',
  message: 'must not hold a card number; Florin stores none',
});

/** What almost no text has, found fast. */
const thirteenDigits = /(?:\d[\s._-]?){13}/;

/** With what the numbers of all schemes begin. */
const firstDigits = new Set(['2', '3', '4', '5', '6']);

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
