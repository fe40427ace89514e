import { randomFillSync } from 'node:crypto';

/** Every kind of object and the prefix of its public id (TypeID: prefix, `_`, base32 of a UUIDv7). */
export const idPrefixes = {
  account: 'acct',
  api_key: 'key',
  customer: 'cus',
  delivery: 'del',
  hold: 'hold',
  journal_entry: 'evt',
  operation: 'op',
  payment: 'pay',
  reconciliation: 'rec',
  refund: 'ref',
  request: 'req',
  transfer: 'trf',
  vendor: 'ven',
  webhook_endpoint: 'we',
} as const;

export type IdKind = keyof typeof idPrefixes;

/** A public id, e.g. `Id<'payment'>` is `pay_01h455vb4pex5vsknk084sn02q`. The database stores its UUID. */
export type Id<K extends IdKind> = `${(typeof idPrefixes)[K]}_${string}`;

/** A new id (UUIDv7, RFC 9562); ids that one process makes later sort later. */
export const newId = <K extends IdKind>(kind: K): Id<K> =>
  `${idPrefixes[kind]}_${suffixOf(newUuid(present()))}`;

/**
 * A new id that bears exactly this time, to the millisecond: who looks for objects of a time looks in the range of their ids
 * (`leastUuidOf`). Of one millisecond, the later one sorts later, up to 4,096 of them.
 */
export const newIdAt = <K extends IdKind>(kind: K, at: Date): Id<K> =>
  `${idPrefixes[kind]}_${suffixOf(newUuid(stampOf(at.getTime())))}`;

/** No UUIDv7 of this time or later is less than this. */
export const leastUuidOf = (time: Date): string => {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
};

/**
 * The UUID that the database stores for an id.
 * @throws TypeError for what is no id; ids from outside are checked against `idPattern` before
 */
export const toUuid = (id: Id<IdKind>): string => uuidText(idBytes(id));

/** The 16 bytes of an id's UUID, valid until the next call: copy them at once. @throws TypeError for what is no id */
export const idBytes = (id: Id<IdKind>): Buffer => {
  const start = id.length - suffixLength;
  // The first digit has 3 bits: 26 digits of 5 are 130, a UUID has 128.
  let value = digitOf(id, start);
  if (value > 7 || id[start - 1] !== '_') throw notAnId(id);
  let bits = 3;
  for (let at = start + 1, byte = 0; at < id.length; at += 1) {
    value = ((value & 0xff) << 5) | digitOf(id, at);
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[byte] = value >> bits;
      byte += 1;
    }
  }
  return bytes;
};

/** The public id of a stored UUID. @throws TypeError for what is no UUID */
export const fromUuid = <K extends IdKind>(kind: K, uuid: string): Id<K> => {
  const hex = uuid.replaceAll('-', '');
  if (hex.length !== 32 || bytes.write(hex, 0, 'hex') !== 16) throw new TypeError(`${uuid} is no UUID`);
  return `${idPrefixes[kind]}_${suffixOf(bytes)}`;
};

/** What a well-formed public id of this kind looks like, for request schemas. */
export const idPattern = (kind: IdKind): string => `^${idPrefixes[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$`;

/** Whether a text from outside is an id of this kind. */
export const isId = <K extends IdKind>(kind: K, text: string): text is Id<K> =>
  new RegExp(idPattern(kind)).test(text);

const suffixLength = 26;
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

// A payment makes and converts a dozen ids, so the conversions share their memory instead of allocating it.
const bytes = Buffer.alloc(16);
const suffix = Buffer.alloc(suffixLength);
const digitCodes = Buffer.from(alphabet, 'latin1');
const digits = new Uint8Array(128).fill(255);
for (const [value, code] of digitCodes.entries()) digits[code] = value;

const notAnId = (text: string): TypeError => new TypeError(`${text} is no id`);

const digitOf = (text: string, at: number): number => {
  const value = digits[text.charCodeAt(at)] ?? 255;
  if (value === 255) throw notAnId(text);
  return value;
};

const suffixOf = (uuid: Uint8Array): string => {
  // Two bits of zero in front make 130 of 128.
  let value = 0;
  let bits = 2;
  let digit = 0;
  for (const byte of uuid) {
    value = ((value & 0x1f) << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      suffix[digit] = digitCodes[(value >> bits) & 31] ?? 0;
      digit += 1;
    }
  }
  return suffix.toString('latin1');
};

const uuidText = (uuid: Buffer): string => {
  const hex = uuid.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** The time of a UUID, and which one of its millisecond it is: the 12 bits after the version count (RFC 9562, 6.2, method 1). */
type Stamp = { ms: number; count: number };

const countMax = 0xfff;

/** From here it is counted; the highest bit stays free for that. */
const randomStart = (): number => nextRandom().readUInt16BE() & 0x7ff;

const last: Stamp = { ms: 0, count: 0 };

/** The stamp of now, later than every one before. */
const present = (): Stamp => {
  const now = Date.now();
  if (now > last.ms) {
    last.ms = now;
    last.count = randomStart();
  } else if ((last.count += 1) > countMax) {
    // The count is used up, or the clock went back: time is borrowed from the next millisecond.
    last.ms += 1;
    last.count = 0;
  }
  return last;
};

const given: Stamp = { ms: 0, count: 0 };

/** The next stamp of this millisecond; nothing can be borrowed, so the last ones of very many are in no order. */
const stampOf = (ms: number): Stamp => {
  given.count = ms === given.ms ? Math.min(given.count + 1, countMax) : randomStart();
  given.ms = ms;
  return given;
};

const newUuid = ({ ms, count }: Stamp): Buffer => {
  bytes.writeUIntBE(ms, 0, 6);
  bytes.writeUInt16BE(0x7000 | count, 6);
  nextRandom().copy(bytes, 8);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return bytes;
};

const random = Buffer.alloc(8 * 512);
let randomAt = random.length;

/** Eight random bytes. */
const nextRandom = (): Buffer => {
  if (randomAt === random.length) {
    randomFillSync(random);
    randomAt = 0;
  }
  randomAt += 8;
  return random.subarray(randomAt - 8, randomAt);
};
