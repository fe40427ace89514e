// WEBHOOK_SECRET=whsec_… node receiver.mjs: takes webhooks at http://localhost:4000/ (or PORT) and prints those that are genuine.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';

const { WEBHOOK_SECRET = '', PORT = '4000' } = process.env;
const key = Buffer.from(WEBHOOK_SECRET.replace('whsec_', ''), 'base64');

const isGenuine = (headers, body) => {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures = '' } = headers;
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
  const isNew = Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300;
  const given = signatures.split(' ').map((signature) => Buffer.from(signature));
  const wanted = Buffer.from(`v1,${expected}`);
  return isNew && given.some((each) => each.length === wanted.length && timingSafeEqual(each, wanted));
};

createServer(async (request, response) => {
  const body = await buffer(request);
  const genuine = isGenuine(request.headers, body);
  response.writeHead(genuine ? 204 : 401).end();
  if (!genuine) return console.log('refused: not signed with this secret');
  const { type, sequence, object, data } = JSON.parse(body);
  console.log(`${type} ${object.id} version ${sequence}: ${data.amount ?? ''} ${data.currency ?? ''}`.trim());
}).listen(Number(PORT), 'localhost');
