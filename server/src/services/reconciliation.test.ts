import { describe, expect, test } from 'vitest';
import { apiForTests, arrangements, send, testClient, testKey } from './testing.ts';
import { changedTables, tablesOf } from '../../test/setup/requests.ts';
import { statementBytesMax } from '../reconciliation/body.ts';
import { statementCsv } from '../reconciliation/testing.ts';

describe.each(arrangements)('statements sent to $name', ({ start }) => {
  const api = apiForTests({ start });

  type Sent = { type?: string; query?: string; headers?: Record<string, string> };
  const compare = async (
    body: string | Buffer,
    { type = 'text/csv', query = '?connector=book', headers = testKey }: Sent = {},
  ) => {
    const answer = await fetch(`${api.url}/api/v1/reconciliations${query}`, {
      method: 'POST',
      headers: { ...headers, 'content-type': type },
      body: typeof body === 'string' ? body : new Uint8Array(body),
    });
    return {
      status: answer.status,
      headers: answer.headers,
      body: (await answer.json()) as Record<string, unknown>,
    }; // every answer is an object
  };
  const get = (path: string, headers: Record<string, string> = testKey) =>
    send(`${api.url}/api/v1/reconciliations${path}`, { headers });
  const pay = async () =>
    String(
      (
        await send(`${api.url}/api/v1/payments`, {
          method: 'POST',
          headers: testKey,
          json: { amount: '10.00', currency: 'USD' },
        })
      ).body['id'],
    );

  test('one of several megabytes is compared', async () => {
    const line = { reference: 'x'.repeat(100), amount: '1.00' };
    const text = statementCsv(Array.from({ length: 20_000 }, () => line));
    expect(text.length).toBeGreaterThan(2 * 1024 * 1024);
    const { status, body } = await compare(text);
    expect({ status, body }).toMatchObject({ status: 201, body: { lines: 20_000, breaks: 20_000 } });
    const { body: page } = await get(`/${String(body['id'])}/breaks?limit=2`);
    expect(page['data']).toMatchObject([
      { number: 1, line: 2 },
      { number: 2, line: 3 },
    ]);
  });

  test('one that is too large is refused, and its sender is told what to do', async () => {
    const large = Buffer.alloc(statementBytesMax + 1, 'x');
    expect(await compare(large)).toMatchObject({
      status: 413,
      body: { code: 'body_too_large', detail: expect.stringContaining('florin reconcile statement.csv') },
    });
  });

  test('JSON lines are the same', async () => {
    const reference = await pay();
    const line = {
      reference,
      kind: 'charge',
      amount: '10.00',
      currency: 'USD',
      status: 'succeeded',
      date: '2026-11-22',
    };
    for (const type of ['application/x-ndjson', 'application/jsonl; charset=utf-8'])
      expect(await compare(`${JSON.stringify(line)}\n`, { type, query: '' })).toMatchObject({
        status: 201,
        body: { matched: 1, breaks: 0, status: 'agreed', connector: 'book' },
      });
  });

  test('what is no statement is refused by its type', async () => {
    for (const type of ['application/json', 'text/plain', 'application/xml'])
      expect(await compare('{}', { type })).toMatchObject({ status: 415 });
    const packed = { ...testKey, 'content-encoding': 'gzip' };
    expect(await compare('x', { headers: packed })).toMatchObject({ status: 415 });
  });

  test('a line that can not be read is named, and nothing is stored', async () => {
    const tables = await tablesOf(api.database.superuser);
    const before = await tables.contents();
    const { status, body } = await compare(
      statementCsv([
        { reference: 'x', amount: '1' },
        { reference: 'x', amount: '1,5' },
      ]).replace('1,5', '"1,5"'),
    );
    expect({ status, body }).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ field: 'line 3, column amount' }] },
    });
    expect(changedTables(before, await tables.contents())).toEqual([]);
  });

  test('a correction is posted, shows in ledger and journal, and needs an admin', async () => {
    const { body: run } = await compare(statementCsv([{ reference: await pay(), amount: '12.00' }]));
    const path = `/${String(run['id'])}/breaks/1`;
    const ask = (headers: Record<string, string>, json: object) =>
      send(`${api.url}/api/v1/reconciliations${path}/correct`, { method: 'POST', headers, json });
    const reason = { reason: 'Ticket 4711' };
    expect(await ask(testClient, reason)).toMatchObject({ status: 403 });
    const preview = await ask({ ...testKey, 'dry-run': 'true' }, reason);
    expect(preview.body).toMatchObject({
      dry_run: true,
      status: 201,
      postings: [{ amount: '2.00' }, { amount: '2.00' }],
      events: [{ type: 'reconciliation.corrected', object_id: run['id'] }],
    });
    const { status, body } = await ask({ ...testKey, 'idempotency-key': 'c' }, reason);
    expect({ status, body }).toMatchObject({ status: 201, body: { correction: { reason: 'Ticket 4711' } } });
    expect(
      (await ask({ ...testKey, 'idempotency-key': 'c' }, reason)).headers.get('idempotent-replayed'),
    ).toBe('true');
    expect(await ask(testKey, reason)).toMatchObject({ status: 409, body: { code: 'already_exists' } });
    const [{ transfer_id: transfer }] = [body['correction']] as [{ transfer_id: string }]; // as documented
    const { body: posted } = await send(`${api.url}/api/v1/ledger/transfers/${transfer}`, {
      headers: testKey,
    });
    expect(posted).toMatchObject({ kind: 'correction', object_id: run['id'] });
    expect((await get(`/${String(run['id'])}`)).body).toMatchObject({
      status: 'agreed',
      corrected: 1,
      version: 3,
    });
    expect((await get(path)).body).toEqual(body);
  });
});
