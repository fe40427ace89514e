import { sql } from 'kysely';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { leastUuidOf, toUuid, type Id } from '../lib/ids.ts';
import { testDatabase } from '../../test/setup/database.ts';
import type { Connector } from './connectors/connector.ts';
import { sandbox } from './connectors/sandbox.ts';
import { cancel, capture, refund } from './payments.ts';
import { create } from './create.ts';
import { listPayments, type PaymentFilter } from './store.ts';
import { balancesOf, contextFor, newTenant, paymentIn, refundIn, testPayments } from './testing.ts';

const database = await testDatabase();

/** A backend whose calls break off: whether they arrived, nobody knows. */
const broken: Connector = {
  ...sandbox,
  name: 'broken',
  authorise: () => Promise.reject(new Error('socket hang up')),
};
const { module, terms, errors, close } = testPayments(database, [broken]);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => {
  Object.assign(terms, {
    mode: 'test',
    feeBasisPoints: 0,
    feeFixed: {},
    idempotencyRequired: false,
    overdraftAllowed: false,
  });
  errors.length = 0;
});

const dollars = { amount: '100.00', currency: 'USD' };
const as = (tenantId: number) => ({ context: contextFor(tenantId), key: undefined });
const refundOf = (tenantId: number, id: Id<'payment'>, body: { amount?: string } = {}) =>
  refund(module, as(tenantId), id, { body, name: 'payments.refund' });
const balances = (tenantId: number) => balancesOf(database.db, tenantId);

const kindsOf = async (id: Id<'payment'> | Id<'refund'>): Promise<string[]> => {
  const { rows } = await sql<{ kind: string }>`
    select kind from journal.entries where object_id = ${toUuid(id)} order by object_version
  `.execute(database.db);
  return rows.map(({ kind }) => kind);
};

const created = async (tenantId: number, body: object = {}) =>
  paymentIn(await create(module, as(tenantId), { ...dollars, ...body }));

describe('create', () => {
  test('a plain payment is succeeded, posted outside → payable, and has one journal entry', async () => {
    const tenant = newTenant();
    const answer = await create(module, as(tenant), { ...dollars, amount: 100.0, reference: 'TEST-12345' });
    expect(answer).toMatchObject({ status: 201, replayed: false });
    expect(paymentIn(answer)).toMatchObject({
      status: 'succeeded',
      amount: '100.00',
      amount_minor: '10000',
      amount_captured_minor: '10000',
      reference: 'TEST-12345',
      version: 1,
    });
    expect(await balances(tenant)).toEqual({
      'external:book': '-10000/0/0',
      payable: '10000/0/0',
      fees: '0/0/0',
    });
    expect(await kindsOf(paymentIn(answer).id)).toEqual(['payment.succeeded']);
  });

  test('the fee goes from payable to fees: basis points rounded half up, plus fixed', async () => {
    const tenant = newTenant();
    Object.assign(terms, { feeBasisPoints: 290, feeFixed: { USD: 30n } });
    expect(await created(tenant, { amount: '10.25' })).toMatchObject({ fee: '0.60' });
    expect(await balances(tenant)).toMatchObject({ payable: '965/0/0', fees: '60/0/0' });
  });

  test('a fee of more than the amount is refused, counted, and kept as an entry', async () => {
    const tenant = newTenant();
    terms.feeFixed = { USD: 30n };
    await expect(created(tenant, { amount: '0.29' })).rejects.toMatchObject({ code: 'fee_exceeds_amount' });
    expect(errors).toEqual(['fee_exceeds_amount']);
    const { rows } = await sql<{ result: string }>`
      select result from journal.entries where tenant_id = ${tenant} and kind = 'payment.refused'
    `.execute(database.db);
    expect(rows).toEqual([{ result: 'refused' }]);
  });

  test('live mode without a backend refuses; test payment methods do not exist there', async () => {
    terms.mode = 'live';
    await expect(created(newTenant())).rejects.toMatchObject({ code: 'no_connector' });
    await expect(created(newTenant(), { payment_method: 'sandbox:approve' })).rejects.toMatchObject({
      code: 'no_connector',
    });
  });

  test.each(['sandbox', 'sandbox:nothing', 'sandbox:constructor'])(
    '"%s" is refused by name',
    async (payment_method) => {
      await expect(created(newTenant(), { payment_method })).rejects.toMatchObject({
        code: 'invalid_request',
        faults: [{ field: 'payment_method' }],
      });
    },
  );
});

describe('a list by time', () => {
  test('shows the payments made from one moment on and before another, to the millisecond', async () => {
    const tenant = newTenant();
    const at = (ms: number): Date => new Date(Date.UTC(2026, 10, 22, 8, 0, 0, ms));
    const made: Id<'payment'>[] = [];
    for (const ms of [10, 11, 12, 13]) {
      const context = { ...contextFor(tenant), now: at(ms) };
      made.push(paymentIn(await create(module, { context, key: undefined }, dollars)).id);
    }
    const list = async (filter: PaymentFilter) =>
      (await listPayments(database.db, tenant, filter, { after: undefined, limit: 9 })).map(({ id }) => id);
    expect(await list({ createdFrom: at(11), createdBefore: at(13) })).toEqual([made[2], made[1]]);
    expect(await list({ createdFrom: at(13) })).toEqual([made[3]]);
    expect(await list({ createdBefore: at(10) })).toEqual([]);
    // A range in the ids finds them only if they bear the time.
    expect(made.map((id) => toUuid(id) >= leastUuidOf(at(12)))).toEqual([false, false, true, true]);
  });
});

describe('capture and cancel', () => {
  test('an authorisation is pending for the vendor and available to nobody', async () => {
    const tenant = newTenant();
    expect(await created(tenant, { capture: false })).toMatchObject({
      status: 'requires_capture',
      version: 1,
    });
    expect(await balances(tenant)).toMatchObject({ payable: '0/10000/0', 'external:book': '0/0/10000' });
  });

  test('a partial capture posts its part with its fee and releases the rest', async () => {
    const tenant = newTenant();
    terms.feeBasisPoints = 100;
    const { id } = await created(tenant, { capture: false });
    const answer = await capture(module, as(tenant), id, { amount: '60.00' });
    expect(answer.status).toBe(200);
    expect(paymentIn(answer)).toMatchObject({
      status: 'succeeded',
      amount_captured: '60.00',
      fee: '0.60',
      version: 2,
    });
    expect(await balances(tenant)).toEqual({
      payable: '5940/0/0',
      fees: '60/0/0',
      'external:book': '-6000/0/0',
    });
    await expect(capture(module, as(tenant), id, {})).rejects.toMatchObject({ code: 'invalid_state' });
  });

  test('more than was authorised can not be captured', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant, { capture: false });
    await expect(capture(module, as(tenant), id, { amount: '100.01' })).rejects.toMatchObject({
      code: 'amount_too_large',
    });
  });

  test('cancelling releases everything', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant, { capture: false });
    expect(paymentIn(await cancel(module, as(tenant), id))).toMatchObject({ status: 'canceled' });
    expect(await balances(tenant)).toMatchObject({ payable: '0/0/0', 'external:book': '0/0/0' });
    expect(await kindsOf(id)).toEqual(['payment.requires_capture', 'payment.canceled']);
  });

  test('100 concurrent captures and cancellations have one winner', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant, { capture: false });
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, index) =>
        index % 2 ? capture(module, as(tenant), id, {}) : cancel(module, as(tenant), id),
      ),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await kindsOf(id)).toHaveLength(2);
  });
});

describe('refund', () => {
  test('refunds return the fee pro rata, rounded down; the last takes the remainder', async () => {
    const tenant = newTenant();
    Object.assign(terms, { feeBasisPoints: 0, feeFixed: { USD: 100n } });
    const { id } = await created(tenant);
    const parts = ['33.33', '33.33', '33.34'];
    const fees: string[] = [];
    for (const amount of parts)
      fees.push(refundIn(await refundOf(tenant, id, { amount })).fee_returned_minor);
    expect(fees).toEqual(['33', '33', '34']);
    expect(await balances(tenant)).toEqual({ payable: '0/0/0', fees: '0/0/0', 'external:book': '0/0/0' });
    expect(await kindsOf(id)).toEqual([
      'payment.succeeded',
      'payment.partially_refunded',
      'payment.partially_refunded',
      'payment.refunded',
    ]);
  });

  test('the rest is refunded by the short form, which answers with the payment', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant);
    await refundOf(tenant, id, { amount: '40.00' });
    const answer = await refund(module, as(tenant), id, { body: {}, name: 'payments.refund_rest' });
    expect(answer.status).toBe(200);
    expect(paymentIn(answer)).toMatchObject({
      object: 'payment',
      status: 'refunded',
      amount_refunded: '100.00',
    });
    await expect(refundOf(tenant, id)).rejects.toMatchObject({ code: 'invalid_state' });
  });

  test('100 concurrent refunds give back what was captured and no more', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant);
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, () => refundOf(tenant, id, { amount: '3.00' })),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(33);
    expect(await balances(tenant)).toMatchObject({ payable: '100/0/0' });
  });

  test('money that is not there can not be refunded, unless the vendor may go below zero', async () => {
    const tenant = newTenant();
    const [first, second] = [await created(tenant), await created(tenant)];
    await sql`update ledger.accounts set reserved = 15000 where tenant_id = ${tenant} and code = 'payable'`.execute(
      database.superuser,
    );
    await expect(refundOf(tenant, first.id)).rejects.toMatchObject({ code: 'insufficient_funds' });
    await refundOf(tenant, first.id, { amount: '50.00' });
    terms.overdraftAllowed = true;
    await refundOf(tenant, second.id);
    terms.overdraftAllowed = false;
    await expect(refundOf(tenant, first.id)).rejects.toMatchObject({ code: 'insufficient_funds' });
  });

  test('a payment of another tenant does not exist', async () => {
    const { id } = await created(newTenant());
    await expect(refundOf(newTenant(), id)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('a backend outside', () => {
  test.each([
    ['approve', 201, 'succeeded', null],
    ['duplicate_answer', 201, 'succeeded', null],
    ['decline_card_expired', 201, 'failed', 'card_expired'],
    ['decline_do_not_honor', 201, 'failed', 'do_not_honor'],
    ['timeout_after_charging', 202, 'unknown', null],
    ['timeout_before_charging', 202, 'unknown', null],
  ])('sandbox:%s answers %i %s', async (name, status, state, failure) => {
    const tenant = newTenant();
    const answer = await create(module, as(tenant), { ...dollars, payment_method: `sandbox:${name}` });
    expect(answer.status).toBe(status);
    expect(paymentIn(answer)).toMatchObject({ status: state, failure_code: failure });
    expect(await kindsOf(paymentIn(answer).id)).toEqual(['payment.processing', `payment.${state}`]);
    const posted = state === 'succeeded' ? '10000/0/0' : '0/0/0';
    expect(await balances(tenant)).toMatchObject({ payable: posted });
  });

  test('a call that breaks off is unknown, never declined', async () => {
    const answer = await create(module, as(newTenant()), { ...dollars, payment_method: 'broken' });
    expect(answer.status).toBe(202);
    expect(paymentIn(answer)).toMatchObject({ status: 'unknown', failure_code: null });
  });

  test('authorise, capture in part, refund in part: each is claimed, called and settled', async () => {
    const tenant = newTenant();
    terms.feeBasisPoints = 1_000;
    const { id } = await created(tenant, { payment_method: 'sandbox:approve', capture: false });
    expect(await balances(tenant)).toMatchObject({ payable: '0/10000/0' });
    expect(paymentIn(await capture(module, as(tenant), id, { amount: '50.00' }))).toMatchObject({
      status: 'succeeded',
      fee: '5.00',
    });
    const answer = await refundOf(tenant, id, { amount: '10.00' });
    expect(answer.status).toBe(201);
    expect(refundIn(answer)).toMatchObject({ status: 'succeeded', fee_returned: '1.00', version: 2 });
    expect(await balances(tenant)).toEqual({
      payable: '3600/0/0',
      fees: '400/0/0',
      'external:sandbox': '-4000/0/0',
    });
    expect(await kindsOf(id)).toEqual([
      'payment.processing',
      'payment.requires_capture',
      'payment.processing',
      'payment.succeeded',
      'payment.partially_refunded',
    ]);
  });

  test('a declined capture leaves the payment authorised, with the reason', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant, { payment_method: 'sandbox:capture_declined', capture: false });
    expect(paymentIn(await capture(module, as(tenant), id, {}))).toMatchObject({
      status: 'requires_capture',
      failure_code: 'do_not_honor',
    });
    expect(paymentIn(await cancel(module, as(tenant), id))).toMatchObject({ status: 'canceled' });
  });

  test('money of an unanswered refund is set aside; a declined refund gives it back', async () => {
    const tenant = newTenant();
    const { id } = await created(tenant, { payment_method: 'sandbox:refund_timeout' });
    const answer = await refundOf(tenant, id, { amount: '70.00' });
    expect(answer.status).toBe(202);
    expect(refundIn(answer)).toMatchObject({ status: 'unknown' });
    expect(await balances(tenant)).toMatchObject({ payable: '10000/0/7000' });
    await expect(refundOf(tenant, id, { amount: '30.01' })).rejects.toMatchObject({
      code: 'amount_too_large',
    });

    const declined = await created(tenant, { payment_method: 'sandbox:refund_declined' });
    expect(refundIn(await refundOf(tenant, declined.id))).toMatchObject({
      status: 'failed',
      failure_code: 'backend_error',
    });
    expect(await balances(tenant)).toMatchObject({ payable: '20000/0/7000' });
  });

  test('what an unanswered refund sets aside is less the fee that comes back with it', async () => {
    const tenant = newTenant();
    terms.feeBasisPoints = 1_000;
    const { id } = await created(tenant, { payment_method: 'sandbox:refund_timeout' });
    expect((await refundOf(tenant, id)).status).toBe(202);
    expect(await balances(tenant)).toMatchObject({ payable: '9000/0/9000', fees: '1000/0/0' });
  });
});
