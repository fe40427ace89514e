import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { Secret } from './secret.ts';

/**
 * A 256-bit key. `id` (4 bytes, hex) is computed from the key itself, so that a sealed value names the key
 * that opens it and no one has to number keys. The bytes live in a `KeyObject`, which prints nothing.
 */
export type Key = { readonly id: string; readonly secret: KeyObject };

/** A new random key: 256 bits. */
export const newKey = (): Key => keyOf(randomBytes(keyBytes));

/**
 * Reads a key as configuration holds it: base64 of exactly 32 bytes (`openssl rand -base64 32`).
 * @throws Error that names neither the text nor its length
 */
export const keyFrom = (text: Secret): Key => {
  const bytes = Buffer.from(text.reveal(), 'base64');
  if (bytes.length !== keyBytes || bytes.toString('base64') !== text.reveal().trim()) {
    throw new Error('A key has to be the base64 text of 32 bytes: openssl rand -base64 32');
  }
  return keyOf(bytes);
};

/**
 * A key for one purpose, e.g. `deriveKey(master, 'customers.email-index')`: knowing it tells nothing about
 * the master key or about other purposes (HKDF-SHA-256, RFC 5869).
 */
export const deriveKey = (master: Key, purpose: string): Key =>
  keyOf(Buffer.from(hkdfSync('sha256', master.secret, '', `florin:${purpose}`, keyBytes)));

/**
 * Encrypts and authenticates with AES-256-GCM (NIST SP 800-38D). The result is: version (1 byte), key id (4),
 * IV (12, random), ciphertext, tag (16). One key may seal 2^32 values.
 * @param context where the value belongs, e.g. `customers.customers:cus_01…:sealed`: it opens nowhere else
 */
export const seal = (key: Key, plaintext: string | Uint8Array, context: string): Buffer => {
  const header = Buffer.concat([Buffer.of(envelopeVersion), Buffer.from(key.id, 'hex')]);
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', key.secret, iv, { authTagLength: tagBytes });
  cipher.setAAD(authenticated(header, context));
  const body = cipher.update(typeof plaintext === 'string' ? Buffer.from(plaintext, 'utf8') : plaintext);
  return Buffer.concat([header, iv, body, cipher.final(), cipher.getAuthTag()]);
};

/**
 * Opens what `seal` made with the same key and context. Several keys may be offered (the current one and the
 * one before it): the envelope names which was used.
 * @throws Error when no offered key sealed it, or when it was altered, cut off or taken from another context
 */
export const open = (keys: Key | readonly Key[], sealed: Uint8Array, context: string): Buffer => {
  const envelope = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (envelope.length < headerBytes + ivBytes + tagBytes || envelope[0] !== envelopeVersion) {
    throw new Error(`This is not a whole sealed value of version ${envelopeVersion} (${context}).`);
  }
  const id = sealedUnder(envelope);
  const key = [keys].flat().find((offered) => offered.id === id);
  if (key === undefined) throw new Error(`Sealed under key ${id}, which is not configured (${context}).`);
  const iv = envelope.subarray(headerBytes, headerBytes + ivBytes);
  const decipher = createDecipheriv('aes-256-gcm', key.secret, iv, { authTagLength: tagBytes });
  decipher.setAAD(authenticated(envelope.subarray(0, headerBytes), context));
  decipher.setAuthTag(envelope.subarray(-tagBytes));
  const plaintext = decipher.update(envelope.subarray(headerBytes + ivBytes, -tagBytes));
  try {
    return Buffer.concat([plaintext, decipher.final()]);
  } catch {
    throw new Error(`A sealed value was altered, or belongs elsewhere (${context}).`);
  }
};

/** The id of the key that sealed a value: tells which rows a change of keys still has to reach. */
export const sealedUnder = (sealed: Uint8Array): string =>
  Buffer.from(sealed.subarray(1, headerBytes)).toString('hex');

/**
 * A keyed fingerprint (HMAC-SHA-256, 32 bytes) under which a value is found without being readable. Without
 * the key, guessing likely values (all email addresses, say) does not help.
 */
export const blindIndex = (key: Key, value: string): Buffer =>
  createHmac('sha256', key.secret).update(value).digest();

/**
 * Whether two texts are equal, in a time that tells nothing about where or by how many characters they
 * differ.
 */
export const digestsEqual = (a: string | Uint8Array, b: string | Uint8Array): boolean =>
  timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());

/** A new secret of this many random bytes (16 at least), as base64url text. */
export const randomSecret = (bytes: number): Secret => {
  if (!Number.isInteger(bytes) || bytes < 16) throw new RangeError('A secret has at least 16 bytes.');
  return new Secret(randomBytes(bytes).toString('base64url'));
};

/**
 * Keeps data keys unreadable at rest. Asynchronous, because the wrapping key may live in a KMS, whose
 * encryption context `context` becomes. Never called inside a transaction.
 */
export type KeyWrapper = {
  wrap(dataKey: Key, context: string): Promise<Buffer>;
  unwrap(wrapped: Uint8Array, context: string): Promise<Key>;
};

/**
 * Wraps with the configured master key. While a master key is being replaced, `previous` opens what was
 * wrapped before; whatever is wrapped now is under `current`.
 */
export const localKeyWrapper = (master: { current: Key; previous?: Key | undefined }): KeyWrapper => {
  const current = deriveKey(master.current, 'lib.key-wrapper');
  const keys =
    master.previous === undefined ? [current] : [current, deriveKey(master.previous, 'lib.key-wrapper')];
  return {
    wrap: async (dataKey, context) => seal(current, dataKey.secret.export(), context),
    unwrap: async (wrapped, context) => keyOf(open(keys, wrapped, context)),
  };
};

const keyBytes = 32;
const envelopeVersion = 1;
const headerBytes = 5;
const ivBytes = 12;
const tagBytes = 16;

const keyOf = (bytes: Buffer): Key => {
  const secret = createSecretKey(bytes);
  return { id: createHmac('sha256', secret).update('florin:key-id').digest('hex').slice(0, 8), secret };
};

/**
 * Header and context are authenticated together; the header has a fixed length, so the two can't be confused.
 */
const authenticated = (header: Buffer, context: string): Buffer =>
  Buffer.concat([header, Buffer.from(context, 'utf8')]);
