import { readFileSync } from 'node:fs';
import autocannon from 'autocannon';
import { paymentBody } from './body.ts';
import type { LoadReport } from './load.ts';

/** The work of `payments.lua` where wrk is missing: `autocannon.ts URL TOKENS CLIENTS SECONDS RUN`. */
const [url = '', tokensFile = '', clients = '1', seconds = '1', run = ''] = process.argv.slice(2);
const tokens = readFileSync(tokensFile, 'utf8').trim().split('\n');

let sent = 0;
const result = await autocannon({
  url: `${url}/api/v1/payments`,
  connections: Number(clients),
  duration: Number(seconds),
  method: 'POST',
  requests: [
    {
      setupRequest: (request) => {
        sent += 1;
        return {
          ...request,
          headers: {
            'content-type': 'application/json',
            authorization: `Bearer ${tokens[Math.floor(Math.random() * tokens.length)] ?? ''}`,
            'idempotency-key': `${run}-${sent}`,
          },
          body: paymentBody(`${run}-${sent}`),
        };
      },
    },
  ],
});
const requests = result['2xx'] + result.non2xx;
process.stdout.write(
  JSON.stringify({
    requests,
    seconds: result.duration,
    failures: result.non2xx + result.errors + result.timeouts,
    // Its own latencies are whole milliseconds; clients that always wait for one answer give a finer mean.
    p50Ms: (Number(clients) * result.duration * 1000) / requests,
  } satisfies LoadReport),
);
