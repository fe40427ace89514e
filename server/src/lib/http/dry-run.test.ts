import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testServer } from './testing.ts';

let server: Awaited<ReturnType<typeof testServer>>;
let done = 0;
beforeAll(async () => {
  server = await testServer((app) => {
    app.get('/thing', { config: { requires: 'public' } }, () => ({ read: true }));
    app.post('/thing', { config: { requires: 'public' } }, () => ({ done: (done += 1) }));
    app.post('/token', { config: { requires: 'public', dryRun: 'ignored' } }, () => ({ issued: true }));
    app.post('/payment', { config: { requires: 'public', dryRun: 'preview' } }, (request) => ({
      shown: request.isDryRun,
    }));
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const ask = async (method: string, path: string, dryRun: string) => {
  const answer = await fetch(server.url + path, { method, headers: { 'dry-run': dryRun } });
  const body = (await answer.json()) as Record<string, unknown>;
  return { status: answer.status, headers: answer.headers, body };
};

describe('Dry-Run', () => {
  test.each(['maybe', 'True', '1', '', 'true, true', '?1'])('%o is refused everywhere', async (value) => {
    for (const [method, path] of [
      ['GET', '/thing'],
      ['POST', '/thing'],
      ['POST', '/token'],
      ['POST', '/payment'],
      ['GET', '/nowhere'],
    ] as const) {
      const { status, body } = await ask(method, path, value);
      expect([status, body['code']]).toEqual([400, 'invalid_request']);
      expect(body['errors']).toMatchObject([{ field: 'Dry-Run' }]);
    }
    expect(done).toBe(0);
  });

  test('reads, and what changes nothing, ignore it and say so by their silence', async () => {
    for (const [method, path] of [
      ['GET', '/thing'],
      ['POST', '/token'],
    ] as const) {
      const { status, headers } = await ask(method, path, 'true');
      expect([status, headers.get('dry-run')]).toEqual([200, null]);
    }
    expect((await ask('GET', '/nowhere', 'true')).status).toBe(404);
    expect((await ask('PUT', '/thing', 'true')).status).toBe(405);
  });

  test('a write that has no dry run refuses it and does nothing', async () => {
    expect(await ask('POST', '/thing', 'true')).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'Dry-Run', message: 'this operation has no dry run' }] },
    });
    expect(done).toBe(0);
    expect(await ask('POST', '/thing', 'false')).toMatchObject({ status: 200, body: { done: 1 } });
  });

  test('where it is honoured it is echoed and counted', async () => {
    const { headers, body } = await ask('POST', '/payment', 'true');
    expect([headers.get('dry-run'), body]).toEqual(['true', { shown: true }]);
    expect((await ask('POST', '/payment', 'false')).body).toEqual({ shown: false });
    expect(await server.metrics.text()).toContain('payments_dry_runs_total{route="/payment",status="200"} 1');
  });

  test.each(['post', 'patch', 'put', 'delete'] as const)(
    'an operation by %s that does not say what it does does not register',
    async (method) => {
      const mounting = testServer((app) => {
        app[method](
          '/new',
          { config: { requires: 'public' }, schema: { operationId: 'new', tags: [] } },
          () => 'done',
        );
      });
      await expect(mounting).rejects.toThrow('config.dryRun is missing');
    },
  );
});
