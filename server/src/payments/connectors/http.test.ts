import assert from 'node:assert/strict';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Fault } from '../../../../examples/backend/faults.ts';
import { differencesIn } from '../../../test/setup/api.ts';
import { testDatabase } from '../../../test/setup/database.ts';
import type { GivenAnswer } from '../../journal/idempotency.ts';
import { fromUuid, toUuid, type Id } from '../../lib/ids.ts';
import { create } from '../create.ts';
import { settleByHand } from '../by-hand.ts';
import { cancel, capture, refund } from '../payments.ts';
import { resolveDue } from '../resolver.ts';
import { absenceMs, openTestWorker } from '../resolver.testing.ts';
import { balancesOf, contextFor, newTenant, paymentIn, refundIn, testPayments } from '../testing.ts';
import { callTimeoutMs, openHttpBackend, type HttpBackend } from './testing.ts';

const database = await testDatabase();
const { module: basic, clock, terms, errors, close } = testPayments(database);
let outside: HttpBackend;
let module = basic;
beforeEach(async () => {
  outside = await openHttpBackend(clock);
  const connectors = new Map([...basic.connectors, ['http', outside.connector]]);
  module = { ...basic, connectors, connectorTimeoutMs: callTimeoutMs };
  errors.length = 0;
});
afterEach(async () => {
  await outside[Symbol.asyncDispose]();
  // What a test leaves open is nothing to those after it.
  await sql`update payments.operations set next_ask_at = 'infinity' where state in ('open', 'unknown')`.execute(
    database.superuser,
  );
  assert.deepEqual(await differencesIn(database.db), []);
});
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});

const dollars = { amount: '100.00', currency: 'USD' };
const as = (tenantId: number, key?: string) => ({ context: contextFor(tenantId, clock.now()), key });
const payableOf = async (tenant: number) => (await balancesOf(database.db, tenant))['payable'];
const pay = (tenant: number, detail?: string, more: object = {}): Promise<GivenAnswer> => {
  const payment_method = detail === undefined ? 'http' : `http:${detail}`;
  return create(module, as(tenant, 'key'), { ...dollars, payment_method, ...more });
};
const charges = () => outside.backend.book.movements().map(({ kind, amount_minor }) => [kind, amount_minor]);

/** Asks what became of what is open, once the time for an answer is over. */
const ask = async () => {
  clock.advance(callTimeoutMs + 3_000);
  const worker = openTestWorker(module);
  await resolveDue(worker);
  return worker.results;
};

const operationOf = async (id: Id<'payment'>): Promise<Id<'operation'>> => {
  const { rows } = await sql<{ id: string }>`
    select id from payments.operations where payment_id = ${toUuid(id)}
  `.execute(database.db);
  return fromUuid('operation', rows[0]?.id ?? '');
};

const mismatchesOf = async (id: Id<'payment'>) => {
  const { rows } = await sql<{ snapshot: Record<string, unknown> }>`
    select snapshot from journal.entries
    where object_id = ${toUuid(id)} and kind = 'reconciliation.mismatch' and object_version is null
  `.execute(database.db);
  return rows.map(({ snapshot }) => snapshot);
};

describe('a payment by a backend', () => {
  test('is charged once, and its key gives the same answer again', async () => {
    const tenant = newTenant();
    const answer = await pay(tenant);
    expect(answer.status).toBe(201);
    expect(paymentIn(answer)).toMatchObject({ status: 'succeeded', payment_method: 'http' });
    expect(await pay(tenant)).toMatchObject({ status: 201, replayed: true });
    expect(charges()).toEqual([['authorise', '10000']]);
    expect(await payableOf(tenant)).toBe('10000/0/0');
    expect(outside.calls).toMatchObject([{ connector: 'http', kind: 'authorise', result: 'approved' }]);
  });

  test('is authorised, captured in part and refunded in part', async () => {
    const tenant = newTenant();
    const { id } = paymentIn(await pay(tenant, undefined, { capture: false }));
    expect(await payableOf(tenant)).toBe('0/10000/0');
    const captured = await capture(module, as(tenant), id, { amount: '60.00' });
    expect(paymentIn(captured)).toMatchObject({ status: 'succeeded', amount_captured: '60.00' });
    const back = await refund(module, as(tenant), id, { body: { amount: '10.00' }, name: 'payments.refund' });
    expect(refundIn(back).status).toBe('succeeded');
    expect(charges()).toEqual([
      ['authorise', '10000'],
      ['capture', '6000'],
      ['refund', '1000'],
    ]);
    expect(await payableOf(tenant)).toBe('5000/0/0');
  });

  test('is authorised and canceled', async () => {
    const tenant = newTenant();
    const { id } = paymentIn(await pay(tenant, undefined, { capture: false }));
    expect(paymentIn(await cancel(module, as(tenant), id)).status).toBe('canceled');
    expect(await payableOf(tenant)).toBe('0/0/0');
  });

  test.each([
    ['insufficient_funds', 'insufficient_funds'],
    ['something_of_its_own', 'do_not_honor'],
    ['not_received', 'do_not_honor'],
  ])('that is declined with %s fails with %s', async (said, code) => {
    const answer = await pay(newTenant(), `decline_${said}`);
    expect(answer.status).toBe(201);
    expect(paymentIn(answer)).toMatchObject({ status: 'failed', failure_code: code });
  });
});

describe('live mode', () => {
  test('goes to the backend unless it says where, and a backend for test mode takes none of it', async () => {
    terms.mode = 'live';
    try {
      const answer = await create(module, as(newTenant()), dollars);
      expect(paymentIn(answer)).toMatchObject({ status: 'succeeded', payment_method: 'http', mode: 'live' });
      const connectors = new Map([['http', { ...outside.connector, modes: ['test' as const] }]]);
      for (const payment_method of ['http', 'book', 'sandbox:approve']) {
        await expect(
          create({ ...module, connectors }, as(newTenant()), { ...dollars, payment_method }),
        ).rejects.toMatchObject({ code: 'no_connector' });
      }
      await expect(create(basic, as(newTenant()), dollars)).rejects.toMatchObject({ code: 'no_connector' });
    } finally {
      terms.mode = 'test';
    }
  });
});

describe('a fault of a backend', () => {
  const charged: Fault[] = ['error_500_after_charging', 'hang', 'reset', 'rubbish', 'huge'];
  test.each(charged)(
    '"%s": unknown at first, then one charge and one payment that succeeded',
    async (fault) => {
      const tenant = newTenant();
      const first = await pay(tenant, fault);
      expect(first.status).toBe(202);
      expect(paymentIn(first).status).toBe('unknown');
      expect(await payableOf(tenant)).toBe('0/0/0');
      expect(await ask()).toEqual(['approved']);
      expect(paymentIn(await pay(tenant, fault))).toMatchObject({ status: 'succeeded', failure_code: null });
      expect(charges()).toEqual([['authorise', '10000']]);
      expect(await payableOf(tenant)).toBe('10000/0/0');
    },
  );

  const nothing: Fault[] = ['error_500', 'hang_before_charging', 'reset_before_charging'];
  test.each(nothing)(
    '"%s": unknown, then not received, when it says so twice; nothing was charged',
    async (fault) => {
      const tenant = newTenant();
      expect((await pay(tenant, fault)).status).toBe(202);
      expect(await ask()).toEqual(['absent']);
      clock.advance(absenceMs);
      expect(await ask()).toEqual(['not_received']);
      expect(paymentIn(await pay(tenant, fault))).toMatchObject({
        status: 'failed',
        failure_code: 'not_received',
      });
      expect(charges()).toEqual([]);
    },
  );

  test('"hang_for_ever": stays unknown until a person settles it, who has to say why', async () => {
    const tenant = newTenant();
    const { id } = paymentIn(await pay(tenant, 'hang_for_ever'));
    const operationId = await operationOf(id);
    const decision = {
      actor: 'cli:ada',
      requestId: undefined,
      result: { outcome: 'approved' as const },
      reason: 'Their statement has it',
    };
    await expect(settleByHand(module, operationId, decision)).rejects.toMatchObject({
      code: 'invalid_state',
    });
    expect(await ask()).toEqual(['unknown']);
    const leaky = { ...decision, reason: 'card 4242424242424242' };
    await expect(settleByHand(module, operationId, leaky)).rejects.toMatchObject({ code: 'invalid_request' });
    expect(await settleByHand(module, operationId, decision)).toBe('approved');
    await expect(settleByHand(module, operationId, decision)).rejects.toMatchObject({
      code: 'invalid_state',
    });
    expect(await payableOf(tenant)).toBe('10000/0/0');
    expect(paymentIn(await pay(tenant, 'hang_for_ever')).status).toBe('succeeded');
    const { rows: entries } = await sql`
      select kind, actor, snapshot ->> 'reason' as reason from journal.entries
      where object_id = ${toUuid(id)} and actor = 'cli:ada' order by kind
    `.execute(database.db);
    expect(entries).toEqual([
      { kind: 'operation.settled_by_hand', actor: 'cli:ada', reason: 'Their statement has it' },
      { kind: 'payment.succeeded', actor: 'cli:ada', reason: null },
    ]);
  });

  test('"wrong_amount": is not believed, stays unknown, and is told once as a mismatch', async () => {
    const tenant = newTenant();
    const answer = await pay(tenant, 'wrong_amount');
    expect(answer.status).toBe(202);
    const { id, status } = paymentIn(answer);
    expect(status).toBe('unknown');
    expect(await ask()).toEqual(['mismatch']);
    clock.advance(15 * 60_000);
    expect(await ask()).toEqual(['mismatch']);
    expect(await payableOf(tenant)).toBe('0/0/0');
    expect(await mismatchesOf(id)).toMatchObject([
      {
        object: 'mismatch',
        found: 'amount',
        payment_id: id,
        connector: 'http',
        kind: 'authorise',
        books: { outcome: 'unknown', amount_minor: '10000', currency: 'USD' },
        backend: { outcome: 'approved', amount_minor: '10001', currency: 'USD' },
      },
    ]);
    expect(errors).toEqual(['contradicted']);
  });

  test('a capture, a cancellation and a refund that hang are settled by asking too', async () => {
    const tenant = newTenant();
    const { faults } = outside.backend;
    const { id } = paymentIn(await pay(tenant, undefined, { capture: false }));
    faults.arm({ fault: 'hang', kind: 'capture', times: 1 });
    expect((await capture(module, as(tenant), id, {})).status).toBe(202);
    expect(await ask()).toEqual(['approved']);
    faults.arm({ fault: 'reset', kind: 'refund', times: 1 });
    const body = { amount: '40.00' };
    expect((await refund(module, as(tenant), id, { body, name: 'payments.refund' })).status).toBe(202);
    expect(await payableOf(tenant)).toBe('10000/0/4000');
    expect(await ask()).toEqual(['approved']);
    expect(await payableOf(tenant)).toBe('6000/0/0');
    const other = newTenant();
    const { id: second } = paymentIn(await pay(other, undefined, { capture: false }));
    faults.arm({ fault: 'hang', kind: 'cancel', times: 1 });
    expect((await cancel(module, as(other), second)).status).toBe(202);
    expect(await ask()).toEqual(['approved']);
    expect(await payableOf(other)).toBe('0/0/0');
    expect(charges()).toHaveLength(5);
  });
});

describe('a backend that is away', () => {
  test('is a decline at once where nothing could be sent, and after five the circuit is open', async () => {
    await outside.backend.close();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const answer = await pay(newTenant());
      expect(paymentIn(answer)).toMatchObject({ status: 'failed', failure_code: 'backend_error' });
    }
    expect(outside.calls.map(({ result }) => result)).toEqual(Array.from({ length: 5 }, () => 'unreachable'));
    expect(outside.circuit).toEqual([true]);
    const tenant = newTenant();
    await expect(pay(tenant)).rejects.toMatchObject({ code: 'unavailable', retryAfterS: 10 });
    expect(outside.calls).toHaveLength(5);
    // Nothing was begun, so there is nothing that could be left open.
    const { rows } = await sql`select from payments.payments where tenant_id = ${tenant}`.execute(
      database.db,
    );
    expect(rows).toEqual([]);
  });

  test('while the circuit is open one call in ten seconds goes ahead, and its answer closes it', async () => {
    const { faults } = outside.backend;
    faults.arm({ fault: 'error_500', kind: 'authorise', times: 5 });
    for (let attempt = 0; attempt < 5; attempt += 1) expect((await pay(newTenant())).status).toBe(202);
    const tenant = newTenant();
    await expect(pay(tenant)).rejects.toMatchObject({ code: 'unavailable' });
    clock.advance(10_000);
    faults.arm({ fault: 'error_500', kind: 'authorise', times: 1 });
    expect((await pay(newTenant())).status).toBe(202);
    await expect(pay(tenant)).rejects.toMatchObject({ code: 'unavailable' });
    clock.advance(10_000);
    // The same key: its refusal was not kept.
    expect((await pay(tenant)).status).toBe(201);
    expect((await pay(newTenant())).status).toBe(201);
    expect(outside.circuit).toEqual([true, false]);
  });

  test('a key that has its answer gives it while the circuit is open', async () => {
    const tenant = newTenant();
    await pay(tenant);
    outside.backend.faults.arm({ fault: 'error_500', kind: 'authorise', times: 5 });
    for (let attempt = 0; attempt < 5; attempt += 1) await pay(newTenant());
    expect(await pay(tenant)).toMatchObject({ status: 201, replayed: true });
  });

  test('declines do not open the circuit', async () => {
    for (let attempt = 0; attempt < 6; attempt += 1) await pay(newTenant(), 'decline_do_not_honor');
    expect(outside.circuit).toEqual([]);
    expect((await pay(newTenant())).status).toBe(201);
  });
});
