import { createHmac, timingSafeEqual } from 'node:crypto';

/*
 * Standard Webhooks (standardwebhooks.com): the HMAC-SHA-256 of `id.timestamp.body`, in base64. Libraries exist for most
 * languages; these are the few lines that it takes without one.
 */

export type SignedHeaders = {
  'webhook-id': string;
  'webhook-timestamp': string;
  'webhook-signature': string;
};

/** The header fields of a message of ours. */
export const sign = (
  secret: string,
  { id, at, body }: { id: string; at: Date; body: string },
): SignedHeaders => {
  const timestamp = String(Math.floor(at.getTime() / 1000));
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${macOf(secret, `${id}.${timestamp}.`, body).toString('base64')}`,
  };
};

/** Why a message is not believed, or undefined when it is. Takes the body as it arrived, before it is parsed. */
export const refusalOf = (
  secret: string,
  { headers, body }: { headers: Readonly<Record<string, string | string[] | undefined>>; body: Buffer },
  now: Date,
): string | undefined => {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    String(headers[name] ?? ''),
  );
  const ageS = Math.abs(now.getTime() / 1000 - Number(timestamp));
  // NaN is no age.
  if (!(ageS <= 300)) return 'the timestamp is more than five minutes off';
  const expected = macOf(secret, `${id}.${timestamp}.`, body);
  const fits = (signatures ?? '').split(' ').some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ''), 'base64');
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  return fits ? undefined : 'the signature does not fit';
};

const macOf = (secret: string, head: string, body: string | Buffer): Buffer => {
  const key = secret.startsWith('whsec_')
    ? Buffer.from(secret.slice('whsec_'.length), 'base64')
    : Buffer.from(secret, 'utf8');
  return createHmac('sha256', key).update(head).update(body).digest();
};
