import { createHmac, randomBytes } from 'node:crypto';
import { Secret } from '../lib/secret.ts';

/** What is signed: the bytes that are sent, under the id that every attempt has, with the time of this one. */
export type SignedMessage = { id: string; at: Date; body: Buffer | string };

/**
 * The header fields by which a receiver knows that a message is ours and new.
 *
 * `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature` are those of Standard Webhooks: HMAC-SHA-256 over
 * `id.timestamp.body` under the bytes of the secret, one signature a secret. `X-Webhook-Signature` (hex) and
 * `X-Webhook-Timestamp` (milliseconds) are those of a simpler way: over `timestamp.body`, under the secret as it is shown. That
 * field has room for one signature. It is made with the secret that signs for the longest time, which a receiver has for
 * certain; whoever verifies it takes up a new secret before the old one ends.
 * @param secrets the newest first, one at least
 */
export const signedHeaders = (
  secrets: readonly Secret[],
  { id, at, body }: SignedMessage,
): Record<string, string> => {
  const oldest = secrets.at(-1);
  if (!oldest) throw new Error(`nothing to sign ${id} with`);
  const timestampMs = at.getTime();
  const timestampS = Math.floor(timestampMs / 1_000);
  const signatures = secrets.map((secret) => {
    const hmac = createHmac('sha256', secretBytes(secret)).update(`${id}.${timestampS}.`).update(body);
    return `v1,${hmac.digest('base64')}`;
  });
  const simple = createHmac('sha256', oldest.reveal()).update(`${timestampMs}.`).update(body);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampS),
    'webhook-signature': signatures.join(' '),
    'X-Webhook-Signature': simple.digest('hex'),
    'X-Webhook-Timestamp': String(timestampMs),
  };
};

/** A new secret as Standard Webhooks has it: `whsec_` and the base64 text of 32 random bytes (24 to 64 are allowed). */
export const newSigningSecret = (): Secret => new Secret(prefix + randomBytes(32).toString('base64'));

const prefix = 'whsec_';

const secretBytes = (secret: Secret): Buffer => Buffer.from(secret.reveal().slice(prefix.length), 'base64');
