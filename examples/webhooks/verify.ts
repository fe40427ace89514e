// node verify.ts < body, with WEBHOOK_SECRET and the three header fields in the environment. Exits 0 if it is genuine.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { buffer } from 'node:stream/consumers';

const toleranceS = 300;

/** Whether a message is genuine and new. `body` is what arrived, byte by byte: not JSON that was parsed and written again. */
export const isGenuine = (body: Buffer, headers: Record<string, string>, secret: string): boolean => {
  const id = headers['webhook-id'] ?? '';
  const timestamp = headers['webhook-timestamp'] ?? '';
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= toleranceS)) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  return (headers['webhook-signature'] ?? '').split(' ').some((signature) => {
    const [version, text = ''] = signature.split(',');
    const given = Buffer.from(text, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
};

if (import.meta.main) {
  const {
    WEBHOOK_ID = '',
    WEBHOOK_TIMESTAMP = '',
    WEBHOOK_SIGNATURE = '',
    WEBHOOK_SECRET = '',
  } = process.env;
  const headers = {
    'webhook-id': WEBHOOK_ID,
    'webhook-timestamp': WEBHOOK_TIMESTAMP,
    'webhook-signature': WEBHOOK_SIGNATURE,
  };
  process.exitCode = isGenuine(await buffer(process.stdin), headers, WEBHOOK_SECRET) ? 0 : 1;
}
