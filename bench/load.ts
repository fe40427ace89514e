import { randomUUID } from 'node:crypto';
import autocannon from 'autocannon';

/** Takes payments of one vendor as fast as they are answered: `load.ts URL CLIENTS SECONDS`; prints rate and failures. */
const [url = '', clients = '1', seconds = '1'] = process.argv.slice(2);

const token = async (): Promise<string> => {
  const headers = { 'x-client-id': 'test_client_id', 'x-client-secret': 'test_client_secret' };
  const response = await fetch(`${url}/api/v1/authenticate`, { method: 'POST', headers });
  return ((await response.json()) as { token: string }).token;
};

const run = randomUUID();
let sent = 0;
const result = await autocannon({
  url: `${url}/api/v1/payments`,
  connections: Number(clients),
  duration: Number(seconds),
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${await token()}` },
  body: JSON.stringify({ amount: '10.00', currency: 'USD', reference: 'bench' }),
  requests: [
    {
      setupRequest: (request) => {
        sent += 1;
        return { ...request, headers: { ...request.headers, 'idempotency-key': `${run}-${sent}` } };
      },
    },
  ],
});
process.stdout.write(
  JSON.stringify({ rate: result['2xx'] / result.duration, failures: result.non2xx + result.errors }),
);
