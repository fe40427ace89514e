import { expect, test } from 'vitest';
import { forwardedAddresses } from './forwarded.ts';
import { testServer } from './testing.ts';

test.each<[header: string, addresses: string[]]>([
  ['203.0.113.7', ['203.0.113.7']],
  ['203.0.113.7, 10.0.0.1', ['203.0.113.7', '10.0.0.1']],
  ['  2001:db8::1 ,10.0.0.1', ['2001:db8::1', '10.0.0.1']],
  ['203.0.113.7:4711, [2001:db8::1]:443', ['203.0.113.7', '2001:db8::1']],
  ['evil, 203.0.113.7', ['203.0.113.7']],
  ['203.0.113.7, evil', []],
  ['203.0.113.7, , 10.0.0.1', ['10.0.0.1']],
  ['unknown', []],
  ['0x7f.1', []],
  ['127.1', []],
  [`fe80::1%${'a'.repeat(100)}`, []],
  ['x'.repeat(10_000), []],
  ['', []],
])('of X-Forwarded-For "%.20s" only addresses count', (header, addresses) => {
  expect(forwardedAddresses(header)).toEqual(addresses);
});

test.each([
  { trustProxy: true, sent: '203.0.113.7', ip: '203.0.113.7' },
  { trustProxy: true, sent: '{"level":"fatal"}', ip: '127.0.0.1' },
  { trustProxy: true, sent: 'x'.repeat(500), ip: '127.0.0.1' },
  { trustProxy: true, sent: 'evil, 203.0.113.7', ip: '203.0.113.7' },
  { trustProxy: ['127.0.0.1'], sent: '"evil", 203.0.113.7', ip: '203.0.113.7' },
  { trustProxy: ['127.0.0.1'], sent: 'evil', ip: '127.0.0.1' },
  { trustProxy: false, sent: '203.0.113.7', ip: '127.0.0.1' },
])('a server that trusts $trustProxy takes some caller for $ip', async ({ trustProxy, sent, ip }) => {
  await using server = await testServer(
    (app) => void app.get('/ip', { config: { requires: 'public' } }, async (request) => ({ ip: request.ip })),
    { trustProxy },
  );
  const answer = await fetch(`${server.url}/ip`, { headers: { 'x-forwarded-for': sent } });
  expect(await answer.json()).toEqual({ ip });
});
