import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { Secret } from '../lib/secret.ts';

/** A head of the log: the root over its first `size` positions, at a time. */
export type TreeHead = { number: bigint; size: bigint; root: Buffer; timestamp: Date };

export type HeadSignature = { key_id: string; signature: string };
export type SignedHead = TreeHead & { signatures: readonly HeadSignature[] };

/** A public key that signs heads. */
export type PublicKey = { id: string; key: KeyObject };

/** A public key as it is kept and shown; `endorsement` is what the key before it says of it. */
export type PublishedKey = PublicKey & {
  createdAt: Date;
  endorsed: { by: string; signature: Buffer } | undefined;
};

/** Signs heads with every key it has: two while one replaces the other. The first is the newest. */
export type Signer = {
  keys: readonly PublicKey[];
  sign(head: TreeHead): HeadSignature[];
  /** What each key but the last says of the one before it in `keys`. */
  endorsements: readonly { of: string; by: string; signature: Buffer }[];
};

/** Where secrets are: the part of a secret source that signing needs. */
export type KeyStore = {
  name: string;
  writable: boolean;
  read(path: string): Promise<{ value: Secret } | undefined>;
  write(path: string, value: Secret): Promise<string>;
};

/** Where the signing key lies: one Ed25519 key in PEM (PKCS #8), or two while one replaces the other, the newest first. */
export const signingKeyPath = 'florin/journal/signing-key';

/** How to make the key where Florin can't. */
export const makeKeyAdvice =
  `Make one with "openssl genpkey -algorithm ed25519" and provide it as the secret ${signingKeyPath}: ` +
  'by FLORIN__JOURNAL__SIGNING_KEY_FILE, or as a mounted file';

/**
 * The configured signer; where none is and secrets can be written, makes a key.
 * @throws Error that says what to do when there is no key, or one that is not Ed25519 in PEM
 */
export const openSigner = async (secrets: KeyStore): Promise<Signer> => {
  const stored = await secrets.read(signingKeyPath);
  if (stored) return signerOf(stored.value);
  if (!secrets.writable) throw new Error(`The journal has no signing key. ${makeKeyAdvice}.`);
  const made = newSigningKey();
  await secrets.write(signingKeyPath, made);
  return signerOf(made);
};

/** The signer of one or two keys, as the secret holds them. @throws Error that shows nothing of them */
export const signerOf = (pem: Secret): Signer => {
  const keys = blocksOf(pem).map((block) => {
    const secret = privateKeyOf(block);
    return { ...publicKeyOf(createPublicKey(secret)), secret };
  });
  return {
    keys: keys.map(({ id, key }) => ({ id, key })),
    sign: (head) =>
      keys.map(({ id, secret }) => ({
        key_id: id,
        signature: sign(null, Buffer.from(headText(head)), secret).toString('base64'),
      })),
    endorsements: keys.slice(1).flatMap(({ id, secret }, index) => {
      const newer = keys[index];
      if (!newer) return [];
      return [{ of: newer.id, by: id, signature: sign(null, Buffer.from(endorsementText(newer)), secret) }];
    }),
  };
};

/** The secret with a new key before the newest one, and without older ones. */
export const withNewKey = (pem: Secret): Secret =>
  new Secret([newSigningKey().reveal(), ...blocksOf(pem).slice(0, 1)].join(''));

/** The secret with its newest key alone. */
export const withoutOldKey = (pem: Secret): Secret => new Secret(blocksOf(pem)[0] ?? '');

const newSigningKey = (): Secret =>
  new Secret(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));

const block = /-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END PRIVATE KEY-----\n?/g;

const blocksOf = (pem: Secret): string[] => {
  const blocks = pem.reveal().match(block) ?? [];
  if (blocks.length > 0) return blocks.map((one) => (one.endsWith('\n') ? one : `${one}\n`));
  throw new Error(`The secret ${signingKeyPath} holds no key in PEM. ${makeKeyAdvice}.`);
};

const privateKeyOf = (pem: string): KeyObject => {
  const key = readKey(pem, createPrivateKey);
  if (key?.asymmetricKeyType === 'ed25519') return key;
  throw new Error(`The secret ${signingKeyPath} is no Ed25519 key. ${makeKeyAdvice}.`);
};

/** A public key with its id: SHA-256 of its SubjectPublicKeyInfo, the first 16 bytes. */
export const publicKeyOf = (key: KeyObject): PublicKey => ({
  id: hash('sha256', derOf(key), 'hex').slice(0, 32),
  key,
});

export const derOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

export const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' });

/** A public key from PEM or DER; undefined when it is no Ed25519 key. */
export const readPublicKey = (encoded: string | Buffer): PublicKey | undefined => {
  const key = readKey(encoded, (text) =>
    createPublicKey(typeof text === 'string' ? text : { key: text, format: 'der', type: 'spki' }),
  );
  return key?.asymmetricKeyType === 'ed25519' ? publicKeyOf(key) : undefined;
};

/** What OpenSSL says of a text that is no key may show some of it. */
const readKey = <Encoded>(encoded: Encoded, read: (encoded: Encoded) => KeyObject): KeyObject | undefined => {
  try {
    return read(encoded);
  } catch {
    return undefined;
  }
};

/** What is signed: lines of text, as the checkpoints of other transparency logs (C2SP tlog-checkpoint). */
export const headText = ({ number, size, root, timestamp }: TreeHead): string =>
  `florin/journal\n${size}\n${root.toString('base64')}\nhead ${number}\ntime ${timestamp.toISOString()}\n`;

const endorsementText = ({ id, key }: PublicKey): string =>
  `florin/journal key\n${id}\n${derOf(key).toString('base64')}\n`;

/** Whether a key signed a head (Ed25519, RFC 8032). */
export const isSignedBy = (head: SignedHead, { id, key }: PublicKey): boolean =>
  head.signatures.some(
    ({ key_id, signature }) =>
      key_id === id && verify(null, Buffer.from(headText(head)), key, Buffer.from(signature, 'base64')),
  );

/** Whether the key before a key vouches for it. */
export const isEndorsedBy = (published: PublishedKey, by: PublicKey): boolean =>
  published.endorsed?.by === by.id &&
  verify(null, Buffer.from(endorsementText(published)), by.key, published.endorsed.signature);

/** The keys that can be trusted by whoever trusts some of them: those that they vouch for, and so on. */
export const trustedFrom = (
  roots: readonly PublicKey[],
  published: readonly PublishedKey[],
): readonly PublicKey[] => {
  const trusted = [...roots];
  for (let before = -1; before < trusted.length;) {
    before = trusted.length;
    for (const key of published) {
      const isKnown = trusted.some(({ id }) => id === key.id);
      if (!isKnown && trusted.some((by) => isEndorsedBy(key, by))) trusted.push(key);
    }
  }
  return trusted;
};

/** The Ed25519 public keys of a text that holds some in PEM, whatever else it says. */
export const readPublicKeys = (text: string): PublicKey[] =>
  (text.match(/-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----/g) ?? []).flatMap(
    (pem) => readPublicKey(pem) ?? [],
  );
