import { Type } from 'typebox';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { platformTenantId, type Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import { contextOf } from './route.ts';
import { sendAnswer } from './answer.ts';
import { idParams, problemBounds } from './schemas.ts';
import { testServer } from './testing.ts';
import type { App } from './server.ts';

const caller: Caller = {
  kind: 'platform',
  actor: 'api_key:key_1',
  role: 'admin',
  tenantId: platformTenantId,
  vendorId: undefined,
  mode: 'test',
};

const open = { requires: 'public' } as const;

const mount = (app: App): void => {
  app.get('/orders', { config: open }, () => ({}));
  app.post(
    '/orders',
    { config: open, schema: { body: Type.Object({ again: Type.Boolean() }) } },
    (request, reply) => sendAnswer(reply, { status: 201, replayed: request.body.again }, {}),
  );
  app.get(
    '/orders/:id',
    { config: open, schema: { params: idParams('payment') } },
    (request) => request.params,
  );
  app.get('/caller', { config: open }, (request) => {
    request.caller = caller;
    return contextOf(request, { now: () => new Date(0) });
  });
  app.get('/stranger', { config: open }, (request) => request.caller.actor);
  app.get('/refused', { config: open }, () => {
    throw new AppError('overloaded', 'Try again.', {
      retryAfterS: 3,
      cause: new Error('queue full of secret-42'),
    });
  });
  app.get('/broken', { config: open }, () => {
    throw new Error('password secret-42 in table payments');
  });
  app.get('/wordy', { config: open }, () => {
    const fault = { field: 'f'.repeat(5_000), message: `${'m'.repeat(498)}😀${'m'.repeat(5_000)}` };
    throw new AppError('invalid_request', 'd'.repeat(5_000), {
      faults: Array.from({ length: 500 }, () => fault),
    });
  });
};

let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  server = await testServer(mount);
});
afterAll(() => server.app.close());

const json = async (response: Response): Promise<Record<string, unknown>> => {
  const body: unknown = await response.json();
  return body as Record<string, unknown>;
};

describe('answers', () => {
  test('every answer names its request, its trace and the security header fields', async () => {
    for (const path of [
      '/orders',
      '/nothing',
      '/broken',
      '/refused',
      '/orders/%ff',
      `/orders/${'x'.repeat(300)}`,
    ]) {
      const { headers } = await fetch(server.url + path);
      expect(headers.get('strict-transport-security')).toBe('max-age=31536000; includeSubDomains');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('SAMEORIGIN');
      expect(headers.get('x-xss-protection')).toBe('1; mode=block');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-z]{26}$/);
    }
  });

  test('a well-formed request id is kept; a malformed one or a card number is replaced and not logged', async () => {
    const idFor = async (given: string): Promise<string | null> =>
      (await fetch(`${server.url}/orders`, { headers: { 'x-request-id': given } })).headers.get(
        'x-request-id',
      );
    expect(await idFor('abc-1.2_3')).toBe('abc-1.2_3');
    for (const given of ['a b', '4242424242424242', 'order-4242-4242-4242-4242'])
      expect(await idFor(given)).toMatch(/^req_/);
    expect(JSON.stringify(server.lines)).toContain('abc-1.2_3');
    // Twice, since a random trace id may have it once.
    expect(JSON.stringify(server.lines)).not.toMatch(/4242-?4242/);
  });

  test('the trace of the caller is kept and answered, a malformed one is replaced', async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const kept = await fetch(`${server.url}/orders`, {
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    });
    expect(kept.headers.get('traceparent')).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    expect(kept.headers.get('traceparent')).not.toContain('00f067aa0ba902b7');
    for (const malformed of [
      `ff-${traceId}-00f067aa0ba902b7-01`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      'x',
    ]) {
      const { headers } = await fetch(`${server.url}/orders`, { headers: { traceparent: malformed } });
      expect(headers.get('traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      expect(headers.get('traceparent')).not.toContain(traceId);
    }
  });

  test('a replay says so', async () => {
    const isReplay = async (again: boolean): Promise<string | null> => {
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ again });
      const response = await fetch(`${server.url}/orders`, { method: 'POST', headers, body });
      expect(response.status).toBe(201);
      return response.headers.get('idempotent-replayed');
    };
    expect([await isReplay(true), await isReplay(false)]).toEqual(['true', null]);
  });

  test('a proven caller becomes the context of a change', async () => {
    expect(await json(await fetch(`${server.url}/caller`, { headers: { 'x-request-id': 'r1' } }))).toEqual({
      tenantId: 0,
      actor: 'api_key:key_1',
      origin: '127.0.0.1',
      requestId: 'r1',
      now: '1970-01-01T00:00:00.000Z',
    });
  });

  test('reading the caller of an unproven request is a bug, answered 500', async () => {
    expect((await fetch(`${server.url}/stranger`)).status).toBe(500);
  });

  test('a route that does not say who may call it does not register', async () => {
    // The types demand `requires`, so only a route without any config gets this far.
    await expect(testServer((app) => void app.get('/open', () => 'x'))).rejects.toThrow(
      'requires is missing',
    );
  });
});

describe('refusals', () => {
  test('an error is problem+json with a stable type and no internals', async () => {
    const response = await fetch(`${server.url}/refused`, { headers: { 'x-request-id': 'r2' } });
    expect(response.status).toBe(503);
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(response.headers.get('retry-after')).toBe('3');
    expect(await json(response)).toEqual({
      type: '/docs/errors#overloaded',
      title: 'The service is busy',
      status: 503,
      detail: 'Try again.',
      code: 'overloaded',
      request_id: 'r2',
      error: 'Try again.',
    });
  });

  test('a bug is 500 without internals, and logged with its cause', async () => {
    const response = await fetch(`${server.url}/broken`, { headers: { 'x-request-id': 'r3' } });
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(text).not.toContain('secret-42');
    expect(JSON.parse(text)).toMatchObject({ code: 'internal_error', request_id: 'r3' });
    expect(server.lines.find((line) => line['request_id'] === 'r3' && 'err' in line)).toMatchObject({
      route: '/broken',
      err: { message: 'password secret-42 in table payments' },
    });
  });

  test('an unknown path is 404', async () => {
    const response = await fetch(`${server.url}/nothing`);
    expect(response.status).toBe(404);
    expect(await json(response)).toMatchObject({ code: 'not_found', status: 404 });
  });

  test('a wrong method is 405 with Allow, OPTIONS answers the same list', async () => {
    const response = await fetch(`${server.url}/orders?x=1`, { method: 'DELETE' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD, POST, OPTIONS');
    expect(await json(response)).toMatchObject({ code: 'method_not_allowed' });
    const options = await fetch(`${server.url}/orders`, { method: 'OPTIONS' });
    expect(options.status).toBe(204);
    expect(options.headers.get('allow')).toBe('GET, HEAD, POST, OPTIONS');
  });

  test('what cannot be an id answers 404 like what does not exist', async () => {
    for (const id of [
      'x',
      'cus_01h455vb4pex5vsknk084sn02q',
      '%00',
      'pay_01h455vb4pex5vsknk084sn02q0',
      'x'.repeat(300),
    ]) {
      const response = await fetch(`${server.url}/orders/${id}`);
      expect(response.status).toBe(404);
    }
    expect(await json(await fetch(`${server.url}/orders/x`))).toMatchObject({ detail: 'No such payment.' });
    expect((await fetch(`${server.url}/orders/pay_01h455vb4pex5vsknk084sn02q`)).status).toBe(200);
  });

  test('no text of a refusal is longer than documented, and no character is cut in half', async () => {
    const { detail, error, errors } = await json(await fetch(`${server.url}/wordy`));
    expect([detail, error]).toEqual(Array(2).fill(`${'d'.repeat(problemBounds.detail - 1)}…`));
    expect(errors).toHaveLength(problemBounds.faults);
    expect(errors).toContainEqual({ field: `${'f'.repeat(499)}…`, message: `${'m'.repeat(498)}…` });
  });
});
