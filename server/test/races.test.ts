import assert from 'node:assert/strict';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { platformTenantId } from '../src/lib/caller.ts';
import { testKey, type Answer } from '../src/services/testing.ts';
import { findVendorRecord } from '../src/vendors/credentials.ts';
import {
  ask,
  differencesIn,
  granted,
  made,
  openProcesses,
  payOut,
  rowsOf,
  type Headers,
  type Request,
} from './setup/api.ts';
import { testDatabase, type TestDatabase } from './setup/database.ts';

/*
 * Every claim of exactly-once, raced over HTTP: on one process, and on two that have only the database in common. After
 * each race everything that `florin ledger verify` checks has to agree.
 */

/** What an answer says, without what may differ between equal ones. */
const said = (answer: Answer | undefined) => ({
  status: answer?.status,
  ...answer?.body,
  request_id: undefined,
});
const isReplay = ({ headers }: Answer): boolean => headers.get('idempotent-replayed') === 'true';

/** How many answers there are of each kind: `{ '201': 1, '409 invalid_state': 99 }`. */
const tally = (answers: readonly Answer[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { status, body } of answers) {
    const kind = status < 300 ? String(status) : `${status} ${String(body['code'])}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
};

type Vendor = { headers: Headers; tenantId: number };

const post = ({ headers }: { headers: Headers }, path: string, json?: object): Request => ({
  method: 'POST',
  path,
  headers,
  json,
});

/** A write, and the body of another one to the same path. */
type Write = { path: string; json: object; other: object };

const dollars = { amount: '100.00', currency: 'USD' };
const outside = { ...dollars, payment_method: 'sandbox:approve' };
const backends = ['book', 'sandbox:approve'] as const;

describe.each([
  { where: 'one process', count: 1 },
  { where: 'two processes', count: 2 },
])('on $where', { timeout: 60_000 }, ({ count }) => {
  let database: TestDatabase;
  let processes: Awaited<ReturnType<typeof openProcesses>>;

  beforeAll(async () => {
    database = await testDatabase();
    processes = await openProcesses(database, count);
  });
  afterEach(async () => {
    assert.deepEqual(await differencesIn(database.db), []);
  });
  afterAll(async () => {
    await processes?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  const urlOf = (index: number): string => processes.urls[index % count] ?? '';
  /** Sends requests at once, in turn to each process. */
  const race = (requests: number, make: (index: number) => Request): Promise<Answer[]> =>
    Promise.all(Array.from({ length: requests }, (_, index) => ask(urlOf(index), make(index))));

  let vendors = 0;
  /** A vendor that no other race uses, by a key that every process knows. */
  const newVendor = async (terms: object = {}): Promise<Vendor> => {
    const slug = `vendor-${(vendors += 1)}`;
    await made(urlOf(0), testKey, '/vendors', { slug, name: slug, ...terms });
    const record = await findVendorRecord(database.db, { slug });
    return { headers: { ...testKey, 'florin-vendor': slug }, tenantId: record?.tenants.test ?? -1 };
  };
  const pay = ({ headers }: Vendor, body: object = {}): Promise<Answer['body']> =>
    made(urlOf(0), headers, '/payments', { ...dollars, ...body });
  const read = ({ headers }: Vendor, path: string): Promise<Answer['body']> =>
    granted(urlOf(1), { path, headers });
  /** `posted/pending/reserved` of every account, in minor units. */
  const balances = async (vendor: Vendor): Promise<Record<string, string>> => {
    const { data } = await read(vendor, '/ledger/accounts');
    const accounts = data as Record<string, string>[]; // as the ledger lists them
    return Object.fromEntries(
      accounts.map((account) => [
        account['code'],
        `${account['posted_minor']}/${account['pending_minor']}/${account['reserved_minor']}`,
      ]),
    );
  };

  describe.each(backends)('settled by %s', (payment_method) => {
    const external = `external:${payment_method.replace(/:.*/, '')}`;

    test('100 refunds of one payment give back what was captured with its fee, and no more', async () => {
      const vendor = await newVendor({ fee_basis_points: 290, fee_fixed: { USD: '30' } });
      const { id } = await pay(vendor, { payment_method });
      const path = `/payments/${id}/refunds`;
      const refund = (amount: string) => () => post(vendor, path, { amount });
      expect(tally(await race(100, refund('3.00')))).toEqual({ 201: 33, '422 amount_too_large': 67 });
      expect(await read(vendor, `/payments/${id}`)).toMatchObject({
        status: 'partially_refunded',
        amount_refunded: '99.00',
      });
      // While the last one is at its backend nothing is left, after it the state says so: both are refusals.
      const { 201: won, ...lost } = tally(await race(100, refund('1.00')));
      expect(won).toBe(1);
      expect((lost['409 invalid_state'] ?? 0) + (lost['422 amount_too_large'] ?? 0)).toBe(99);
      expect(await read(vendor, `/payments/${id}`)).toMatchObject({
        status: 'refunded',
        amount_refunded: '100.00',
        fee: '0.00',
      });
      expect(await balances(vendor)).toEqual({ payable: '0/0/0', fees: '0/0/0', [external]: '0/0/0' });
    });

    test('100 captures of one payment have one winner', async () => {
      const vendor = await newVendor();
      const { id } = await pay(vendor, { payment_method, capture: false });
      const path = `/payments/${id}/capture`;
      const answers = await race(100, (index) => post(vendor, path, { amount: index + 1 }));
      expect(tally(answers)).toEqual({ 200: 1, '409 invalid_state': 99 });
      const won = answers.findIndex(({ status }) => status === 200) + 1;
      expect(await read(vendor, `/payments/${id}`)).toMatchObject({
        status: 'succeeded',
        amount_captured: `${won}.00`,
      });
      expect(await balances(vendor)).toMatchObject({ payable: `${won}00/0/0`, [external]: `-${won}00/0/0` });
    });

    test('of 50 captures and 50 cancellations one wins, and the payment is what it says', async () => {
      const vendor = await newVendor();
      const { id } = await pay(vendor, { payment_method, capture: false });
      const verbs = ['capture', 'capture', 'cancel', 'cancel'] as const;
      const answers = await race(100, (index) =>
        post(vendor, `/payments/${id}/${verbs[index % verbs.length]}`),
      );
      expect(tally(answers)).toEqual({ 200: 1, '409 invalid_state': 99 });
      const won = answers.findIndex(({ status }) => status === 200);
      const isCaptured = verbs[won % verbs.length] === 'capture';
      expect(await read(vendor, `/payments/${id}`)).toEqual(answers[won]?.body);
      expect(answers[won]?.body).toMatchObject({ status: isCaptured ? 'succeeded' : 'canceled' });
      expect(await balances(vendor)).toMatchObject({ payable: isCaptured ? '10000/0/0' : '0/0/0' });
    });

    test('200 refunds of many payments take no more from one account than is in it', async () => {
      const vendor = await newVendor();
      const payments = await race(200, () =>
        post(vendor, '/payments', { ...dollars, amount: '10.00', payment_method }),
      );
      expect(tally(payments)).toEqual({ 201: 200 });
      await payOut(database.db, vendor.tenantId, 150_000n);
      const answers = await race(200, (index) =>
        post(vendor, `/payments/${String(payments[index]?.body['id'])}/refunds`),
      );
      expect(tally(answers)).toEqual({ 201: 50, '422 insufficient_funds': 150 });
      expect(await balances(vendor)).toMatchObject({ payable: '0/0/0' });
    });
  });

  test('refunds while payments arrive never bring the account below zero, and count every one', async () => {
    const vendor = await newVendor();
    const json = { ...dollars, amount: '10.00' };
    const payments = await race(100, () => post(vendor, '/payments', json));
    await payOut(database.db, vendor.tenantId, 90_000n);
    const answers = await race(200, (index) => {
      const paid = payments[index];
      if (!paid) return post(vendor, '/payments', json);
      return { ...post(vendor, `/payments/${String(paid.body['id'])}/refund`), method: 'PATCH' };
    });
    const { 200: refunded = 0, ...rest } = tally(answers);
    expect(rest).toEqual({ 201: 100, ...(refunded < 100 && { '422 insufficient_funds': 100 - refunded }) });
    expect(refunded).toBeGreaterThanOrEqual(10);
    expect(await balances(vendor)).toMatchObject({ payable: `${110_000 - refunded * 1_000}/0/0` });
  });

  describe('one customer_email', () => {
    test('100 first payments of a new customer make one customer', async () => {
      const vendor = await newVendor();
      const json = { ...dollars, customer_email: 'ada@example.com', customer_name: 'Ada' };
      const answers = await race(100, () => post(vendor, '/payments', json));
      expect(tally(answers)).toEqual({ 201: 100 });
      expect(new Set(answers.map(({ body }) => body['customer_id'])).size).toBe(1);
      expect(await rowsOf(database.db, vendor.tenantId)).toMatchObject({
        customers: 1n,
        payments: 100n,
        changes: 101n,
      });
      expect(await balances(vendor)).toMatchObject({ payable: '1000000/0/0' });
    });

    test('100 customers of one email: one is made, the others are told', async () => {
      const vendor = await newVendor();
      const answers = await race(100, () =>
        post(vendor, '/customers', { email: 'ada@example.com', name: 'Ada' }),
      );
      expect(tally(answers)).toEqual({ 201: 1, '409 already_exists': 99 });
      const id = answers.find(({ status }) => status === 201)?.body['id'];
      for (const { status, body } of answers)
        if (status === 409) expect(body['detail']).toContain(String(id));
    });

    test('50 changes of one customer happen one after the other', async () => {
      const { headers } = await newVendor();
      const { id } = await made(urlOf(0), headers, '/customers', { email: 'ada@example.com', name: 'Ada' });
      const answers = await race(50, (index) => ({
        method: 'PATCH',
        path: `/customers/${id}`,
        headers,
        json: { name: `Ada ${index}` },
      }));
      expect(tally(answers)).toEqual({ 200: 50 });
      expect(new Set(answers.map(({ body }) => body['version'])).size).toBe(50);
    });
  });

  test('100 vendors of one slug: one is made', async () => {
    const json = { slug: `taken-${count}`, name: 'Taken' };
    const answers = await race(100, () => post({ headers: testKey }, '/vendors', json));
    expect(tally(answers)).toEqual({ 201: 1, '409 already_exists': 99 });
  });

  /** Writes that take a key, by method and route. Each on an object of its own, with two bodies. */
  const writes: Readonly<Record<string, (vendor: Vendor) => Promise<Write>>> = {
    'POST /payments': async () => ({
      path: '/payments',
      json: dollars,
      other: { ...dollars, amount: '1.00' },
    }),
    'POST /payments with a new customer': async () => {
      const json = { ...dollars, customer_email: 'ada@example.com', customer_name: 'Ada' };
      return { path: '/payments', json, other: { ...json, customer_email: 'bob@example.com' } };
    },
    'POST /payments without capture': async () => {
      const json = { ...dollars, capture: false };
      return { path: '/payments', json, other: { ...json, amount: '1.00' } };
    },
    'POST /payments/:id/capture': async (vendor) => {
      const { id } = await pay(vendor, { capture: false });
      return { path: `/payments/${id}/capture`, json: { amount: '60.00' }, other: {} };
    },
    'POST /payments/:id/refunds': async (vendor) => {
      const { id } = await pay(vendor);
      return { path: `/payments/${id}/refunds`, json: { amount: '1.00' }, other: { amount: '1.50' } };
    },
    'POST /payments/:id/refunds of too much': async (vendor) => {
      const { id } = await pay(vendor);
      return { path: `/payments/${id}/refunds`, json: { amount: '100.01' }, other: { amount: '100.02' } };
    },
    'PATCH /payments/:id/refund': async (vendor) => {
      const { id } = await pay(vendor);
      return { path: `/payments/${id}/refund`, json: {}, other: { amount: '1.50' } };
    },
    'POST /customers': async () => {
      const json = { email: 'ada@example.com', name: 'Ada' };
      return { path: '/customers', json, other: { ...json, name: 'Bob' } };
    },
    'PATCH /customers/:id': async ({ headers }) => {
      const { id } = await made(urlOf(0), headers, '/customers', { email: 'ada@example.com', name: 'Ada' });
      return { path: `/customers/${id}`, json: { name: 'Bob' }, other: { name: 'Cy' } };
    },
    'POST /vendors': async ({ tenantId }) => {
      const json = { slug: `made-${tenantId}`, name: 'Made' };
      return { path: '/vendors', json, other: { ...json, name: 'Other' } };
    },
    'POST /api-keys': async () => ({ path: '/api-keys', json: { name: 'till' }, other: { name: 'shop' } }),
  };

  /** Writes at a backend outside. */
  const writesOutside: typeof writes = {
    'POST /payments': async () => ({ path: '/payments', json: outside, other: {} }),
    'POST /payments/:id/capture': async (vendor) => {
      const { id } = await pay(vendor, { ...outside, capture: false });
      return { path: `/payments/${id}/capture`, json: {}, other: {} };
    },
    'POST /payments/:id/refunds': async (vendor) => {
      const { id } = await pay(vendor, outside);
      return { path: `/payments/${id}/refunds`, json: { amount: '1.00' }, other: {} };
    },
  };

  const rowsNow = async ({ tenantId }: Vendor): Promise<Record<string, bigint>[]> => [
    await rowsOf(database.db, tenantId),
    await rowsOf(database.db, platformTenantId),
  ];
  /** What `run` gives, and the rows that were made meanwhile, of a vendor and of the platform. */
  const effectOf = async <Result>(vendor: Vendor, run: () => Promise<Result>) => {
    const before = await rowsNow(vendor);
    const result = await run();
    const effect = (await rowsNow(vendor)).map((tables, index) =>
      Object.fromEntries(
        Object.entries(tables).map(([table, rows]) => [table, rows - (before[index]?.[table] ?? 0n)]),
      ),
    );
    return { result, effect };
  };

  /** A write and another one with the same key, ready to be raced, and what each does when nothing races it. */
  const prepared = async (name: string, prepare: (vendor: Vendor) => Promise<Write>) => {
    const [method = ''] = name.split(' ', 1);
    const make = async () => {
      const vendor = await newVendor();
      const { path, json, other } = await prepare(vendor);
      const headers = { ...vendor.headers, 'idempotency-key': `key-${vendor.tenantId}` };
      return {
        vendor,
        first: { method, path, headers, json },
        second: { method, path, headers, json: other },
      };
    };
    const loneEffect = async (which: 'first' | 'second') => {
      const { vendor, ...requests } = await make();
      return (await effectOf(vendor, () => ask(urlOf(0), requests[which]))).effect;
    };
    return { ...(await make()), loneEffect };
  };

  describe.each(Object.keys(writes))('equal keys, %s', (name) => {
    const open = () => prepared(name, writes[name] ?? expect.unreachable());

    test('100 equal requests have one effect and one answer, replayed to all but one', async () => {
      const { vendor, first, loneEffect } = await open();
      const { result: answers, effect } = await effectOf(vendor, () => race(100, () => first));
      expect(effect).toEqual(await loneEffect('first'));
      for (const answer of answers) expect(said(answer)).toEqual(said(answers.at(0)));
      expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
    });

    test('of two requests with one key, each sent 26 times, one is done and the other is 422', async () => {
      const { vendor, first, second, loneEffect } = await open();
      // Not in step with the processes: each gets both.
      const requestAt = (index: number): Request => (index % 4 < 2 ? first : second);
      const { result: answers, effect } = await effectOf(vendor, () => race(52, requestAt));
      const done = answers.findIndex(
        (answer) => !isReplay(answer) && answer.body['code'] !== 'idempotency_key_reused',
      );
      expect(effect).toEqual(await loneEffect(requestAt(done) === first ? 'first' : 'second'));
      for (const [index, answer] of answers.entries()) {
        if (requestAt(index) === requestAt(done)) expect(said(answer)).toEqual(said(answers.at(done)));
        else expect(answer).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
      }
      expect(answers.filter(isReplay)).toHaveLength(25);
    });
  });

  describe.each(Object.keys(writesOutside))('equal keys at a backend outside, %s', (name) => {
    test('100 equal requests make one call; the others are told to wait or get its answer', async () => {
      const { vendor, first, loneEffect } = await prepared(name, writesOutside[name] ?? expect.unreachable());
      const { result: answers, effect } = await effectOf(vendor, () => race(100, () => first));
      expect(effect).toEqual(await loneEffect('first'));
      const done = answers.filter(({ status }) => status !== 409);
      for (const answer of answers) {
        if (answer.status !== 409) expect(said(answer)).toEqual(said(done.at(0)));
        else
          expect([answer.body['code'], answer.headers.get('retry-after')]).toEqual([
            'request_in_flight',
            '3',
          ]);
      }
      expect(done.filter((answer) => !isReplay(answer))).toHaveLength(1);
      const again = await ask(urlOf(1), first);
      expect([said(again), isReplay(again)]).toEqual([said(done.at(0)), true]);
    });
  });
});
