import { expect, test } from 'vitest';
import { testServer } from './testing.ts';
import type { App } from './server.ts';

const mount = (app: App): void => {
  app.post('/', { config: { requires: 'public' } }, () => 'ok');
};
const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-api-key' };

test('an allowed origin may send what the API reads, and read what it answers', async () => {
  await using server = await testServer(mount);
  const origin = 'https://shop.example';
  const asked = await fetch(server.url, { method: 'OPTIONS', headers: { origin, ...preflight } });
  expect(asked.status).toBe(204);
  expect(asked.headers.get('access-control-allow-origin')).toBe(origin);
  expect(asked.headers.get('access-control-allow-credentials')).toBe('true');
  expect(asked.headers.get('access-control-allow-methods')).toBe('GET, POST, PATCH, DELETE');
  for (const name of [
    'Content-Type',
    'Idempotency-Key',
    'X-API-Key',
    'X-Client-ID',
    'X-Client-Secret',
    'Authorization',
  ]) {
    expect(asked.headers.get('access-control-allow-headers')).toContain(name);
  }
  const sent = await fetch(server.url, { method: 'POST', headers: { origin } });
  expect(sent.status).toBe(200);
  expect(sent.headers.get('access-control-allow-origin')).toBe(origin);
  expect(sent.headers.get('access-control-expose-headers')).toContain('X-Request-Id');
  expect(sent.headers.get('vary')).toContain('Origin');
});

test('an unknown origin is refused with 403, before its request and in it', async () => {
  await using server = await testServer(mount);
  for (const origin of [
    'https://malicious.com',
    'https://shop.example.malicious.com',
    'http://shop.example',
    'null',
  ]) {
    for (const options of [
      { method: 'OPTIONS', headers: { origin, ...preflight } },
      { method: 'POST', headers: { origin } },
    ]) {
      const response = await fetch(server.url, options);
      expect(response.status).toBe(403);
      expect(response.headers.has('access-control-allow-origin')).toBe(false);
      expect(await response.json()).toMatchObject({ code: 'origin_not_allowed' });
    }
  }
});

test("the service's own pages and callers without an origin are served", async () => {
  await using server = await testServer(mount);
  expect((await fetch(server.url, { method: 'POST', headers: { origin: server.url } })).status).toBe(200);
  expect((await fetch(server.url, { method: 'POST' })).status).toBe(200);
});

test('* without credentials lets every origin in, * with credentials does not start', async () => {
  await using server = await testServer(mount, { cors: { allowedOrigins: ['*'], allowCredentials: false } });
  const response = await fetch(server.url, { method: 'POST', headers: { origin: 'https://any.example' } });
  expect(response.headers.get('access-control-allow-origin')).toBe('*');
  expect(response.headers.has('access-control-allow-credentials')).toBe(false);
  await expect(
    testServer(mount, { cors: { allowedOrigins: ['*'], allowCredentials: true } }),
  ).rejects.toThrow('credentials');
});
