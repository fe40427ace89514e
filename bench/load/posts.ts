import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { Pool } from 'undici';

/**
 * The yardstick of deliveries: `posts.ts URL BYTES SECONDS CONCURRENCY`. A loop that does nothing but sign bodies of this size
 * twice, as a delivery is, and post them, so many at a time, each next one when the last is answered.
 */
const [url = '', bytes = '1', seconds = '1', concurrency = '1'] = process.argv.slice(2);
const { origin, pathname: path } = new URL(url);
const pool = new Pool(origin, { connections: Number(concurrency) });
const key = randomBytes(32);
const endsAt = performance.now() + Number(seconds) * 1000;
let sent = 0;

const post = async (): Promise<void> => {
  while (performance.now() < endsAt) {
    const id = randomUUID();
    const body =
      `{"id":"${id}","created_at":"${new Date().toISOString()}","data":"`.padEnd(Number(bytes) - 2, 'x') +
      '"}';
    const at = Date.now();
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at / 1000)),
      'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${at}.`).update(body).digest('base64')}`,
      'x-webhook-signature': createHmac('sha256', key).update(`${at}.`).update(body).digest('hex'),
      'x-webhook-timestamp': String(at),
    };
    const answer = await pool.request({ method: 'POST', path, headers, body });
    await answer.body.dump();
    sent += 1;
  }
};
await Promise.all(Array.from({ length: Number(concurrency) }, post));
await pool.close();

/** What `posts.ts` prints. */
export type PostsReport = { sent: number };
process.stdout.write(JSON.stringify({ sent } satisfies PostsReport));
