import assert from 'node:assert/strict';
import { sql } from 'kysely';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { differencesIn } from '../../test/setup/api.ts';
import { fromUuid, toUuid, type Id } from '../lib/ids.ts';
import { backendSecret, openHttpBackend, type HttpBackend } from '../payments/connectors/testing.ts';
import {
  arrangements,
  oneProcess,
  partsForTests,
  send,
  testKey,
  withConnectors,
  type Answer,
  type TestApi,
  type TestParts,
} from './testing.ts';

const basic = partsForTests();

/** The parts of an API that waits for this backend for so long. */
const withBackend = ({ connector }: HttpBackend, connectorTimeoutMs: number): TestParts => {
  const parts = withConnectors(basic, { http: connector });
  return { ...parts, payments: { ...parts.payments, connectorTimeoutMs } };
};

const webhook = new Webhook(backendSecret, { format: 'raw' });
let ids = 0;

describe.each(arrangements)('callbacks in $name', ({ start }) => {
  let outside: HttpBackend;
  let api: TestApi;
  beforeEach(async () => {
    outside = await openHttpBackend(basic.clock);
    api = await start(withBackend(outside, 300));
  });
  afterEach(async () => {
    await api[Symbol.asyncDispose]();
    await outside[Symbol.asyncDispose]();
    assert.deepEqual(await differencesIn(basic.db), []);
  });

  const pay = (detail: string, key: string): Promise<Answer> =>
    send(`${api.url}/api/v1/payments`, {
      method: 'POST',
      headers: { ...testKey, 'idempotency-key': `${api.url} ${key}`.replaceAll(' ', '-') },
      json: { amount: '10.00', currency: 'USD', payment_method: `http:${detail}` },
    });
  const operationOf = async ({ body }: Answer): Promise<{ id: string; mismatches: string[] }> => {
    const { rows } = await sql<{ id: string; mismatches: string[] }>`
      select id, mismatches from payments.operations where payment_id = ${toUuid(body['id'] as Id<'payment'>)}
    `.execute(basic.db);
    return rows[0] ?? { id: '', mismatches: [] };
  };

  type Message = { id?: string; at?: Date; body: string; signature?: string };
  const post = async ({ id = `msg-${(ids += 1)}`, at = basic.clock.now(), body, signature }: Message) => {
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': signature ?? webhook.sign(id, at, body),
    };
    const response = await fetch(`${api.url}/callbacks/http`, { method: 'POST', headers, body });
    // Every answer is JSON.
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const movementOf = (answer: Answer) =>
    outside.backend.book.movements().find(({ payment_id: id }) => id === answer.body['id']);
  /** What the backend would tell about the charge of a payment. */
  const noticeOf = (answer: Answer, more: object = {}): string => {
    const { operation_id, amount_minor, currency, reference } = movementOf(answer) ?? {};
    const notice = { type: 'operation.updated', operation_id, outcome: 'approved', amount_minor, currency };
    return JSON.stringify({ ...notice, reference, ...more });
  };
  const mismatchesOf = async (answer: Answer): Promise<unknown[]> => {
    const { body } = await send(
      `${api.url}/api/v1/audit?object=${String(answer.body['id'])}&action=reconciliation.mismatch`,
      { headers: testKey },
    );
    return (body['data'] as { details: { found: string } }[]).map(({ details }) => details.found);
  };

  test('settle a payment whose backend hung, once, however often and in whatever order they come', async () => {
    const first = await pay('hang', 'settles');
    expect(first).toMatchObject({ status: 202, body: { status: 'unknown' } });
    const body = noticeOf(first);
    expect(await post({ id: 'first', body })).toEqual({ status: 200, body: { result: 'settled' } });
    expect(await post({ id: 'first', body })).toEqual({ status: 200, body: { result: 'repeated' } });
    expect((await post({ id: 'second', body })).body).toEqual({ result: 'repeated' });
    expect((await post({ body: noticeOf(first, { outcome: 'pending' }) })).body).toEqual({
      result: 'pending',
    });
    expect(await pay('hang', 'settles')).toMatchObject({ status: 201, body: { status: 'succeeded' } });
    expect(await mismatchesOf(first)).toEqual([]);
    const { body: log } = await send(`${api.url}/api/v1/audit?object=${String(first.body['id'])}`, {
      headers: testKey,
    });
    expect(JSON.stringify(log)).toContain('backend:http');
  });

  test('that contradict the books change nothing, flag the operation and are told once each', async () => {
    const paid = await pay('ok', 'contradicts');
    const declined = noticeOf(paid, { outcome: 'declined', failure_code: 'do_not_honor' });
    expect((await post({ body: declined })).body).toEqual({ result: 'mismatch' });
    expect((await post({ body: declined })).body).toEqual({ result: 'mismatch' });
    expect((await post({ body: noticeOf(paid, { reference: 'second' }) })).body).toEqual({
      result: 'mismatch',
    });
    expect((await post({ body: noticeOf(paid, { amount_minor: '1' }) })).body).toEqual({
      result: 'mismatch',
    });
    expect(new Set(await mismatchesOf(paid))).toEqual(new Set(['amount', 'outcome', 'reference']));
    expect((await operationOf(paid)).mismatches).toEqual(['outcome', 'reference', 'amount']);
    const { body } = await send(`${api.url}/api/v1/payments/${String(paid.body['id'])}`, {
      headers: testKey,
    });
    expect(body).toMatchObject({ status: 'succeeded', amount_captured: '10.00' });
  });

  test('an approval that comes after all of a payment that was believed to have failed is a mismatch', async () => {
    const failed = await pay('decline_do_not_honor', 'late');
    expect(failed.body).toMatchObject({ status: 'failed' });
    const { id } = await operationOf(failed);
    const notice = { operation_id: fromUuid('operation', id), amount_minor: '1000', currency: 'USD' };
    const body = JSON.stringify({ type: 'operation.updated', outcome: 'approved', ...notice });
    expect((await post({ body })).body).toEqual({ result: 'mismatch' });
    expect(await mismatchesOf(failed)).toEqual(['outcome']);
  });

  test('are refused without a signature that fits, and nothing is settled', async () => {
    const first = await pay('hang', 'forged');
    const body = noticeOf(first);
    const forged = new Webhook('another secret of the same length, or so', { format: 'raw' });
    const minutes = (count: number): Date => new Date(basic.clock.now().getTime() + count * 60_000);
    const id = 'forged';
    const attempts: Message[] = [
      { id, body, signature: forged.sign(id, basic.clock.now(), body) },
      { id, body, signature: '' },
      { id, body, signature: 'v1,' },
      { id, body, signature: webhook.sign(id, basic.clock.now(), `${body} `) },
      { id, body, signature: webhook.sign('other', basic.clock.now(), body) },
      { id, body, at: minutes(-6) },
      { id, body, at: minutes(6) },
    ];
    for (const attempt of attempts) {
      expect(await post(attempt)).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } });
    }
    expect((await pay('hang', 'forged')).body).toMatchObject({ status: 'unknown' });
    // A request of ours, turned around, is no callback.
    const turned = JSON.stringify({ kind: 'authorise', operation_id: 'op_01h455vb4pex5vsknk084sn02q' });
    expect((await post({ body: turned })).status).toBe(400);
    expect((await post({ body: 'no JSON' })).status).toBe(400);
    const { body: log } = await send(`${api.url}/api/v1/audit?scope=platform&action=callback.refused`, {
      headers: testKey,
    });
    expect((log['data'] as unknown[]).length).toBeGreaterThan(0);
  });

  test('of an operation that nobody began, or of another backend, settle nothing', async () => {
    const body = JSON.stringify({
      type: 'operation.updated',
      operation_id: 'op_01h455vb4pex5vsknk084sn02q',
      outcome: 'declined',
    });
    expect((await post({ body })).body).toEqual({ result: 'unknown_operation' });
    const sandboxed = await send(`${api.url}/api/v1/payments`, {
      method: 'POST',
      headers: testKey,
      json: { amount: '10.00', currency: 'USD', payment_method: 'sandbox:timeout_for_ever' },
    });
    const { id } = await operationOf(sandboxed);
    const other = body.replace(/op_\w+/, fromUuid('operation', id));
    expect((await post({ body: other })).body).toEqual({ result: 'unknown_operation' });
  });

  test('for a backend that is not configured, or sends none, have no place to go', async () => {
    for (const name of ['stripe', 'book', 'sandbox', 'nobody']) {
      expect((await fetch(`${api.url}/callbacks/${name}`, { method: 'POST', body: '{}' })).status).toBe(404);
    }
    expect((await fetch(`${api.url}/callbacks/http`)).status).toBe(405);
    const large = await fetch(`${api.url}/callbacks/http`, { method: 'POST', body: 'x'.repeat(300_000) });
    expect(large.status).toBe(413);
  });
});

test('the example backend tells of its faults: a second charge and a late denial are mismatches, disorder is none', async () => {
  await using outside = await openHttpBackend(basic.clock);
  await using api = await oneProcess(withBackend(outside, 5_000));
  outside.backend.notices.tellAt(api.url);
  const operationOf = async ({ body }: Answer) => {
    const { rows } = await sql<{ mismatches: string[]; told: number }>`
      select mismatches, (select count(*)::integer from payments.callbacks c where c.operation_id = o.id) as told
      from payments.operations o where payment_id = ${toUuid(body['id'] as Id<'payment'>)}
    `.execute(basic.db);
    return rows[0];
  };
  for (const [fault, told, mismatches] of [
    ['ok', 1, []],
    ['out_of_order', 2, []],
    ['duplicate_charge', 2, ['reference']],
    ['contradict', 1, ['outcome']],
  ] as const) {
    const answer = await send(`${api.url}/api/v1/payments`, {
      method: 'POST',
      headers: testKey,
      json: { amount: '10.00', currency: 'USD', payment_method: `http:${fault}` },
    });
    expect(answer, fault).toMatchObject({ status: 201, body: { status: 'succeeded' } });
    await expect.poll(() => operationOf(answer), { timeout: 10_000 }).toEqual({ mismatches, told });
  }
  expect(await differencesIn(basic.db)).toEqual([]);
});
