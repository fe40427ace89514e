import type { FieldFault } from './errors.ts';

/**
 * Whether a text holds what looks like a payment card number (PCI DSS 3.3–3.5): 14 to 19 digits with the first digits
 * of a card scheme and a right check digit (Luhn, ISO/IEC 7812-1), in one piece or grouped as cards are printed and
 * people type them. An order number beside a time is none; about one number in ten that is as long as a card number and
 * begins like one is taken for one.
 */
export const holdsCardNumber = (text: string): boolean => {
  if (!fourteenDigits.test(text)) return false;
  for (const [run] of text.matchAll(digitRuns)) if (runHoldsCardNumber(run)) return true;
  return false;
};

/**
 * Looks at every group of digits and those that follow it. The check digits of all of them come from sums that are made
 * once, so that a text full of digits takes no more time than its length.
 */
const runHoldsCardNumber = (run: string): boolean => {
  const groups = run.split(separator);
  const digits = groups.join('');
  const sums = luhnSums(digits);
  const isCard = (start: number, end: number): boolean => {
    const sum = sums[end % 2 === 0 ? 0 : 1];
    return ((sum[end] ?? 0) - (sum[start] ?? 0)) % 10 === 0 && schemes.test(digits.slice(start, end));
  };
  let start = 0;
  return groups.some((group, first) => {
    const from = start;
    start += group.length;
    let end = from;
    for (let last = first; last < groups.length; last++) {
      end += groups[last]?.length ?? 0;
      const form = groupingOf(groups, first, last);
      if (form === 'none' || end - from > 19) return false;
      if (end - from >= 14 && isCard(from, end)) return true;
      if (form === 'ends') return false;
    }
    return false;
  });
};

/**
 * Whether groups are a card number's: equal ones, of which the last may be shorter (4-4-4-4, 4-4-4-4-3, single digits),
 * or American Express' and Diners Club's 4-6-5 and 4-6-4. `ends`: no further group can belong to it.
 */
const groupingOf = (groups: readonly string[], first: number, last: number): 'goes on' | 'ends' | 'none' => {
  const size = (at: number): number => groups[at]?.length ?? 0;
  if (size(first) === 4 && size(first + 1) === 6) return last < first + 2 ? 'goes on' : 'ends';
  if (last === first || size(last) === size(first)) return 'goes on';
  return size(last) < size(first) ? 'ends' : 'none';
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
const fourteenDigits = /(?:\d[\s._-]?){14}/;

const separator = /[\s._-]/;

// Groups of digits that touch no letter, so that the parts of a UUID are rarely taken for one. Digits in one piece count
// wherever they stand, but after a plus sign, where a phone number has 15 at most (E.164).
const digitRuns =
  /(?<![\da-z+])\d(?:[\s._-]?\d){13,}(?![\da-z])|(?<![\d+])\d{14,19}(?!\d)|(?<=\+)\d{16,19}(?!\d)/gi;

const schemes = new RegExp(
  [
    '4\\d{15}(?:\\d{3})?', // Visa; the 13 digits of old cards are issued no more, and order numbers look like them
    '(?:5[1-5]\\d\\d|222[1-9]|22[3-9]\\d|2[3-6]\\d\\d|27[01]\\d|2720)\\d{12}', // Mastercard
    '3[47]\\d{13}', // American Express
    '3(?:0[0-5]|[689]\\d)\\d{11}', // Diners Club
    '35(?:2[89]|[3-8]\\d)\\d{12}', // JCB
    '6(?:[0245]\\d{14}|2\\d{17})', // Discover, UnionPay, RuPay
    '(?:5[0678]|6[37])\\d{14}(?:\\d{3})?', // Maestro
  ]
    .map((scheme) => `^${scheme}$`)
    .join('|'),
);
