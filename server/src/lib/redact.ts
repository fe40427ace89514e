const redacted = '[REDACTED]';

/** What names a secret: the end of a key such as `client_secret`, `X-API-Key` or `accessToken`. */
const secretName =
  '(?:authorization|passwords?|passwd|passphrase|secrets?|tokens?|cookies?|card[-_ ]?number|' +
  '(?:api|access|master|private|encryption|signing)[-_ ]?keys?)';

const secretKey = new RegExp(`${secretName}$|^(?:pan|cvc|cvv2?|pin|otp)$`, 'i');

/** Card numbers have 13 to 19 digits (ISO/IEC 7812), written in one or in groups. */
const digitRun = String.raw`(?<!\d\.)(?<!\d)\d(?:[ -]{0,3}\d){12,}`;

const digitRuns = new RegExp(digitRun, 'g');

/** Secrets that are recognised by how they look. The groups that stay are the first and the last. */
const patterns: readonly RegExp[] = [
  /()\bfk_\w{16,}()/g,
  /()\bwhsec_[\w+/=-]{8,}()/g,
  /()(?<![\w-])eyJ[\w-]{8,}(?:\.[\w-]+){1,4}\.?()/g,
  /(\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}()/gi,
  /(:\/\/[^\s"/@:]*:)[^\s"/@]+(@)/g,
  new RegExp(String.raw`(${secretName}(?:=|\\?"\s*:\s*\\?"))[^\s"\\&;,]+()`, 'gi'),
];

/** One look at a line that tells whether it may hold a secret at all. */
const suspicious = new RegExp(
  `${secretName}(?:=|\\\\*"\\s*:)|"(?:pan|cvc|cvv2?|pin|otp)":|${digitRun}|` +
    String.raw`\bfk_\w{16}|\bwhsec_|(?<![\w-])eyJ[\w-]{8}|\b(?:bearer|basic)\s|:\/\/[^\s"/@:]*:[^\s"/@]+@`,
  'i',
);

/**
 * A log line (JSON) without secrets and card numbers: values of keys that name a secret, at any depth; card numbers,
 * API keys, tokens and passwords in URLs, in any text. Nearly every line passes after one test.
 */
export const redactLine = (line: string): string => {
  if (!suspicious.test(line)) return line;
  try {
    // See `Reviver`.
    return `${JSON.stringify(JSON.parse(line, redactMember as Reviver))}\n`;
  } catch {
    return redactText(line);
  }
};

/** Text without the secrets and card numbers that can be recognised in it. */
export const redactText = (text: string): string =>
  !suspicious.test(text)
    ? text
    : patterns.reduce(
        (cleaned, pattern) => cleaned.replace(pattern, `$1${redacted}$2`),
        redactCardNumbers(text),
      );

/** Whether a text holds a card number: 13 to 19 digits that pass the Luhn check, with spaces or dashes or without. */
export const hasCardNumber = (text: string): boolean => redactCardNumbers(text) !== text;

/** `JSON.parse` hands the reviver the source of a number; TypeScript does not know that yet. */
type Reviver = (key: string, value: unknown) => unknown;

const redactMember = (key: string, value: unknown, { source }: { source?: string }): unknown => {
  if (value === null || typeof value === 'boolean') return value;
  if (secretKey.test(key)) return redacted;
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'number') return redactNumber(value, source ?? String(value));
  // JSON has no other kind of value left.
  return Array.isArray(value) ? value : redactKeys(value as object);
};

/** A number too large for JavaScript stays as it was written. */
const redactNumber = (value: number, source: string): unknown => {
  if (hasCardNumber(source)) return redacted;
  // `JSON.rawJSON` is newer than the types.
  return String(value) === source
    ? value
    : (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(source);
};

const redactKeys = (value: object): object => {
  const names = Object.keys(value);
  if (names.every((name) => redactText(name) === name)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [redactText(name), member]));
};

const redactCardNumbers = (text: string): string =>
  text.replace(digitRuns, (run, start: number) =>
    isInsideHash(text, start, run.length) ? run : redactRun(run),
  );

/** Groups of digits that stand together: those that make up a card number are replaced, the rest stays. */
const redactRun = (run: string): string => {
  const groups = [...run.matchAll(/\d+/g)];
  let cleaned = '';
  let copied = 0;
  for (const [index, group] of groups.entries()) {
    const end = group.index < copied ? undefined : endOfCard(groups, index);
    if (end === undefined) continue;
    cleaned += run.slice(copied, group.index) + redacted;
    copied = end;
  }
  return cleaned + run.slice(copied);
};

/** Where the card number ends that begins with this group, if one does. */
const endOfCard = (groups: readonly RegExpExecArray[], first: number): number | undefined => {
  let digits = '';
  for (let index = first; index < groups.length && digits.length < 19; index++) {
    const group = groups[index];
    digits += group?.[0] ?? '';
    if (group !== undefined && isCardNumber(digits)) return group.index + group[0].length;
  }
  return undefined;
};

/**
 * ISO/IEC 7812: no card begins with 0, and with 1 only those of airlines, which have 15 digits; so a time in milli-,
 * micro- or nanoseconds is none.
 */
const isCardNumber = (digits: string): boolean => {
  if (digits.length < 13 || digits.length > 19) return false;
  if (digits.startsWith('0') || (digits.startsWith('1') && digits.length !== 15)) return false;
  return luhnSum(digits) % 10 === 0;
};

const luhnSum = (digits: string): number => {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = Number(digits[digits.length - 1 - index]);
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum;
};

/** Whether the digits belong to a hexadecimal word of 32 characters or more: a trace id, a hash. */
const isInsideHash = (text: string, start: number, length: number): boolean => {
  const before = /[0-9a-f]*$/i.exec(text.slice(Math.max(0, start - 128), start))?.[0] ?? '';
  const after = /^[0-9a-f]*/i.exec(text.slice(start + length, start + length + 128))?.[0] ?? '';
  const word = before + text.slice(start, start + length) + after;
  return word.length >= 32 && /^[0-9a-f]*[a-f][0-9a-f]*$/i.test(word);
};
