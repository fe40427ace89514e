import { afterAll, describe, expect, test } from 'vitest';
import type { Id } from '../lib/ids.ts';
import { testDatabase } from '../../test/setup/database.ts';
import type { ConnectorResult } from './connectors/connector.ts';
import { sandbox } from './connectors/sandbox.ts';
import { refund } from './payments.ts';
import { create } from './create.ts';
import { balancesOf, contextFor, newTenant, paymentIn, refundIn, testPayments } from './testing.ts';

const database = await testDatabase();

/** A backend that answers when the test lets it. */
const gate = (() => {
  const [called, opened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const authorise = async (): Promise<ConnectorResult> => {
    called.resolve();
    await opened.promise;
    return { outcome: 'approved' };
  };
  return {
    connector: { ...sandbox, name: 'gate', authorise },
    called: called.promise,
    open: () => opened.resolve(),
  };
})();
const { module, close } = testPayments(database, [gate.connector]);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});

const dollars = { amount: '100.00', currency: 'USD' };
const as = (tenantId: number, key?: string) => ({ context: contextFor(tenantId), key });
const balances = (tenantId: number) => balancesOf(database.db, tenantId);
const refundOf = (tenantId: number, id: Id<'payment'>, body: { amount?: string }, key: string) =>
  refund(module, as(tenantId, key), id, { body, name: 'payments.refund' });
const created = async (tenantId: number) => paymentIn(await create(module, as(tenantId), dollars));

describe('Idempotency-Key', () => {
  const both = [
    ['in our books', {}],
    ['authorised only', { capture: false }],
    ['at a backend', { payment_method: 'sandbox:approve' }],
  ] as const;

  test.each(both)('a retried payment %s posts once and answers the same', async (_, body) => {
    const tenant = newTenant();
    const first = await create(module, as(tenant, 'k1'), { ...dollars, ...body });
    const again = await create(module, as(tenant, 'k1'), { ...dollars, ...body });
    expect(again).toMatchObject({ status: first.status, replayed: true });
    expect(again.entry.snapshot).toEqual(first.entry.snapshot);
    const before = await balances(tenant);
    expect(before.payable).toMatch(/^(10000\/0|0\/10000)\/0$/);
  });

  test.each(both)('the same key with another body is refused, %s', async (_, body) => {
    const tenant = newTenant();
    await create(module, as(tenant, 'k1'), { ...dollars, ...body });
    await expect(
      create(module, as(tenant, 'k1'), { ...dollars, ...body, amount: '1.00' }),
    ).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });

  test('a key that refunded one payment is refused for another, which is left as it is', async () => {
    const tenant = newTenant();
    const [one, two] = [await created(tenant), await created(tenant)];
    await refundOf(tenant, one.id, { amount: '60.00' }, 'k1');
    await expect(refundOf(tenant, two.id, { amount: '60.00' }, 'k1')).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
    expect(await balances(tenant)).toMatchObject({ payable: '14000/0/0' });
  });

  test('100 concurrent equal requests make one payment and one answer', async () => {
    const tenant = newTenant();
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => create(module, as(tenant, 'same'), dollars)),
    );
    expect(new Set(answers.map((answer) => paymentIn(answer).id)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await balances(tenant)).toMatchObject({ payable: '10000/0/0' });
  });

  test('50 concurrent equal refunds refund once', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => refundOf(tenant, id, { amount: '60.00' }, 'same')),
    );
    expect(new Set(answers.map((answer) => refundIn(answer).id)).size).toBe(1);
    expect(await balances(tenant)).toMatchObject({ payable: '4000/0/0' });
  });

  test('a refusal of state or money is the answer of its key, refused validation is not', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant);
    await expect(refundOf(tenant, id, { amount: '100.01' }, 'r1')).rejects.toMatchObject({
      code: 'amount_too_large',
      replayed: false,
    });
    await expect(refundOf(tenant, id, { amount: '100.01' }, 'r1')).rejects.toMatchObject({
      code: 'amount_too_large',
      replayed: true,
    });
    await expect(refundOf(tenant, id, { amount: '1.001' }, 'r2')).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(refundIn(await refundOf(tenant, id, { amount: '1.00' }, 'r2'))).toMatchObject({
      status: 'succeeded',
    });
  });

  test('a key is answered 409 with Retry-After while the backend call is open', async () => {
    const tenant = newTenant();
    const body = { ...dollars, payment_method: 'gate' };
    const first = create(module, as(tenant, 'slow'), body);
    await gate.called;
    await expect(create(module, as(tenant, 'slow'), body)).rejects.toMatchObject({
      code: 'request_in_flight',
      retryAfterS: 3,
    });
    gate.open();
    expect(paymentIn(await first)).toMatchObject({ status: 'succeeded' });
    expect(await create(module, as(tenant, 'slow'), body)).toMatchObject({ status: 201, replayed: true });
  });

  test('keys belong to a tenant', async () => {
    const [one, two] = [newTenant(), newTenant()];
    const first = await create(module, as(one, 'k'), dollars);
    const second = await create(module, as(two, 'k'), { ...dollars, amount: '5.00' });
    expect(second.replayed).toBe(false);
    expect(paymentIn(second).id).not.toBe(paymentIn(first).id);
  });
});
