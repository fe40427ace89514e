import { describe, expect, test } from 'vitest';
import { plain } from '../src/lib/openapi/example.ts';
import type { Connector } from '../src/payments/connectors/connector.ts';
import { sandbox, sandboxCases } from '../src/payments/connectors/sandbox.ts';
import { paymentStates, refundStates } from '../src/payments/schema.ts';
import { makeDocument } from '../src/services/document.ts';
import {
  apiForTests,
  arrangements,
  otherClient,
  testClient,
  testKey,
  withConnectors,
} from '../src/services/testing.ts';
import { spreadEvents } from '../src/webhooks/testing.ts';
import { typeOf } from './setup/good-requests.ts';
import {
  callJournal,
  callReconciliations,
  callDeliveries,
  callWebhooks,
  type Calls,
  type Given,
} from './setup/journeys.ts';
import { probesForTests } from './setup/probes.ts';
import { breaches, operationsOf, transmit, type Operation, type Received } from './setup/requests.ts';
import { words } from './setup/spoilt.ts';

const operations = operationsOf(await makeDocument('0.0.0'));
const operationOf = (id: string): Operation => {
  const found = operations.find((operation) => operation.id === id);
  if (!found) throw new Error(`the document has no operation ${id}`);
  return found;
};

const at = ({ path }: Operation, ids: Record<string, string> = {}): string =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? 'x');

/** A backend that approves charges and keeps silent about what comes after. */
const silent: Connector = {
  ...sandbox,
  name: 'silent',
  authorise: async () => ({ outcome: 'approved' }),
  capture: async () => ({ outcome: 'unknown' }),
  cancel: async () => ({ outcome: 'unknown' }),
};

describe.each(arrangements)('the documented contract in $name', ({ start }) => {
  const api = apiForTests({ start, change: (parts) => withConnectors(parts, { silent }) });
  let isHealthy = true;
  const ask = async (): Promise<void> => {
    if (!isHealthy) throw new Error('away');
  };
  const health = probesForTests({
    database: ask,
    internal: ask,
    cache: async () => (isHealthy ? 'connected' : 'disconnected'),
  });
  /** Operations with the successes they gave, and the states of objects, as they were met. */
  const met = new Set<string>();
  const states = { payment: new Set<unknown>(), refund: new Set<unknown>() };

  const urlOf = ({ isProbe }: Operation): string => (isProbe ? health.url : api.url);

  const noteStates = (body: Record<string, unknown>): void => {
    for (const each of [body, ...(Array.isArray(body['data']) ? body['data'].map(plain) : [])]) {
      if (each['object'] === 'payment' || each['object'] === 'refund')
        states[each['object']].add(each['status']);
    }
  };

  /** Calls an operation and holds its answer against the document. */
  const call = async (id: string, given: Given = {}): Promise<Received['body']> => {
    const operation = operationOf(id);
    const path = at(operation, given.ids);
    const body = given.json === undefined ? given.csv : JSON.stringify(given.json);
    const type = typeOf({ body, type: given.csv === undefined ? 'application/json' : 'text/csv' });
    const headers = { ...(operation.isPublic ? {} : testKey), ...type, ...given.headers };
    const sent = { method: operation.method, url: `${urlOf(operation)}${path}${given.query ?? ''}`, body };
    if (operation.parameters.some(({ name }) => name === 'Dry-Run')) {
      const preview = await transmit({ ...sent, headers: { ...headers, 'dry-run': 'true' } });
      expect(breaches(operation, preview)).toEqual([]);
      if (preview.status === 200 && preview.body['dry_run'] === true) met.add(`${id} 200`);
    }
    const answer = await transmit({ ...sent, headers });
    expect(breaches(operation, answer)).toEqual([]);
    if (given.status === undefined) expect(answer.status, answer.text).toBeLessThan(300);
    else expect(answer.status, answer.text).toBe(given.status);
    if (answer.status < 300) {
      met.add(`${id} ${answer.status}`);
      noteStates(answer.body);
    }
    return answer.body;
  };

  const pay = (json: object = {}, given: Given = {}) =>
    call('createPayment', { json: { amount: '100.00', currency: 'USD', ...json }, ...given });
  const idsOf = (body: Received['body']) => ({ id: String(body['id']) });

  /** Reads a list page by page. */
  const pages = async (id: string, given: Given = {}): Promise<Record<string, unknown>[]> => {
    const rows: Record<string, unknown>[] = [];
    let cursor = '';
    do {
      const page = await call(id, { ...given, query: `?limit=2${cursor}` });
      rows.push(...(page['data'] as unknown[]).map(plain));
      cursor = page['has_more'] === true ? `&cursor=${String(page['next_cursor'])}` : '';
    } while (cursor !== '');
    return rows;
  };

  test('access', async () => {
    const first = await call('authenticate', { headers: testClient });
    expect(first).toMatchObject({ token_type: 'Bearer' });
    const [client_id, client_secret] = Object.values(testClient);
    const { token } = await call('authenticate', { json: { client_id, client_secret } });
    await call('validateToken', { json: { token } });
    await call('validateToken', { headers: { authorization: `Bearer ${String(token)}` } });
    expect(await call('validateToken', { json: { token: 'x' } })).toEqual({ active: false });
    await call('authenticate', { status: 401 });
  });

  test('vendors', async () => {
    const terms = {
      fee_basis_points: 290,
      fee_fixed: { USD: '30', JPY: '5' },
      overdraft_allowed: true,
      idempotency_required: true,
    };
    const json = {
      slug: 'corner-shop',
      name: 'Corner Shop',
      ...terms,
      role: 'admin',
      client_id: 'corner',
    };
    const headers = { 'idempotency-key': 'vendor-1' };
    const made = await call('createVendor', { json, headers });
    expect(await call('createVendor', { json, headers })).toEqual(made);
    const ids = idsOf(made);
    await call('createVendor', { json: { ...json, slug: 'other' }, headers, status: 422 });
    await call('createVendor', { json, status: 409 });
    await call('getVendor', { ids });
    await call('updateVendor', { ids, json: { name: 'Corner', ...terms, idempotency_required: false } });
    await call('disableVendor', { ids });
    await call('enableVendor', { ids });
    expect(await pages('listVendors')).toHaveLength(3);
  });

  test('API keys', async () => {
    const made = await call('createApiKey', {
      json: { name: 'Till', role: 'finance', expires_at: '2199-12-31T23:59:59.999Z' },
    });
    await call('listCustomers', { headers: { 'x-api-key': String(made['key']) } });
    await call('createApiKey', { json: { name: 'Old', expires_at: '2020-01-01T00:00:00Z' }, status: 400 });
    await api.edge.watch.reportUse();
    await call('revokeApiKey', { ids: idsOf(made) });
    expect(await pages('listApiKeys')).toHaveLength(1);
  });

  test('customers', async () => {
    const json = {
      email: 'ada@example.com',
      name: 'Ada 😀'.padEnd(200, 'a\u0301'),
      phone: '+49 30 901820',
      metadata: { 'a "key"\n': '<&>\u2028' },
    };
    const made = await call('createCustomer', { json });
    expect(made).toMatchObject(json);
    await call('createCustomer', { json, status: 409 });
    await call('createCustomer', { json: { email: 'bob@example.com', name: 'Bob' } });
    await call('createCustomer', { json: { email: 'cy@example.com', name: 'Cy' } });
    await call('getCustomer', { ids: idsOf(made) });
    const many = Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`${index}`.padEnd(40, 'k'), '😀'.repeat(500)]),
    );
    await call('updateCustomer', { ids: idsOf(made), json: { phone: null, metadata: many } });
    expect(await pages('listCustomers')).toHaveLength(3);
    await call('listCustomers', { query: '?email=ada@example.com' });
  });

  test('payments in our own books, from authorisation to the last refund', async () => {
    const full = {
      reference: 'R-1',
      description: 'Tea',
      metadata: { order: '1' },
      customer_email: 'pay@example.com',
      customer_name: 'Pay',
    };
    const made = await pay(full, { headers: { 'idempotency-key': 'pay-1' } });
    expect(await pay(full, { headers: { 'idempotency-key': 'pay-1' } })).toEqual(made);
    await pay({ ...full, reference: 'R-2' }, { headers: { 'idempotency-key': 'pay-1' }, status: 422 });
    for (const currency of words('JPY KWD CLF'))
      await pay({ amount: 7, currency, customer_id: made['customer_id'] });
    const ids = idsOf(made);
    await call('getPayment', { ids });
    await call('capturePayment', { ids, status: 409 });
    const refund = await call('createRefund', { ids, json: { amount: '40.00', reason: 'Cold' } });
    await call('createRefund', { ids, json: { amount: 1.5 } });
    await call('getPayment', { ids });
    await call('createRefund', { ids, json: {} }).then(({ amount }) => expect(amount).toBe('58.50'));
    await call('createRefund', { ids, json: {}, status: 409 });
    await call('getRefund', { ids: { ...ids, refund_id: String(refund['id']) } });
    expect(await pages('listRefunds', { ids })).toHaveLength(3);
    const held = idsOf(await pay({ capture: false }));
    await call('capturePayment', { ids: held, json: { amount: '100.01' }, status: 422 });
    await call('capturePayment', { ids: held, json: { amount: '60.00' } });
    await call('createRefund', { ids: held, json: { amount: '10.00' } });
    await call('refundRestOfPayment', { ids: held, json: {} });
    await call('cancelPayment', { ids: idsOf(await pay({ capture: false })) });
  });

  test('payments with a backend outside, in every case of the sandbox', async () => {
    const cases = Object.keys(sandboxCases).map((each) => `sandbox:${each}`);
    const slow = pay({ payment_method: 'sandbox:timeout_before_charging' });
    await expect
      .poll(async () => (await call('listPayments', { query: '?status=processing' }))['data'], {
        interval: 5,
      })
      .toHaveLength(1);
    await slow;
    for (const payment_method of cases) {
      const ids = idsOf(await pay({ payment_method }));
      await call('getPayment', { ids });
      const held = await pay({ payment_method, capture: false });
      if (held['status'] === 'requires_capture') await call('capturePayment', { ids: idsOf(held) });
    }
    for (const payment_method of words('sandbox:approve sandbox:refund_declined sandbox:refund_timeout')) {
      const ids = idsOf(await pay({ payment_method }));
      await call('createRefund', { ids, json: { amount: '1.00' } });
      await call('refundRestOfPayment', { ids });
      await pages('listRefunds', { ids });
    }
    await call('cancelPayment', {
      ids: idsOf(await pay({ payment_method: 'sandbox:approve', capture: false })),
    });
    await call('capturePayment', { ids: idsOf(await pay({ payment_method: 'silent', capture: false })) });
    await call('cancelPayment', { ids: idsOf(await pay({ payment_method: 'silent', capture: false })) });
    await pages('listPayments');
    for (const status of paymentStates)
      await call('listPayments', {
        query: `?status=${status}&currency=USD&amount_min=0.01&created_from=2020-01-01T00:00:00Z`,
      });
  });

  test('refusals of money', async () => {
    const refused = await pay({ payment_method: 'carrier_pigeon' }, { status: 422 });
    expect(refused).toMatchObject({ code: 'no_connector' });
    const strict = { slug: 'strict', name: 'Strict', fee_fixed: { USD: '30' }, idempotency_required: true };
    await call('createVendor', { json: strict });
    const headers = { 'florin-vendor': 'strict' };
    await pay({}, { headers, status: 400 });
    await pay({ amount: '0.29' }, { headers: { ...headers, 'idempotency-key': 'k' }, status: 422 });
    await pay({ customer_id: 'cus_00000000000000000000000000' }, { status: 404 });
    await pay({}, { headers: { ...testKey, 'florin-vendor': 'nobody' }, status: 404 });
  });

  test('the ledger and the audit log', async () => {
    const accounts = await pages('listAccounts');
    expect(accounts.length).toBeGreaterThan(5);
    const account = accounts.find(({ code, currency }) => code === 'payable' && currency === 'USD') ?? {};
    await call('getAccount', { ids: idsOf(account) });
    const entries = await pages('listEntries', { ids: idsOf(account) });
    for (const { transfer_id: id } of entries) await call('getTransfer', { ids: { id: String(id) } });
    await call('listCustomers', { headers: { 'x-api-key': 'unknown' }, status: 403 });
    await api.edge.events.settled();
    const lines = await pages('listAudit');
    expect(new Set(lines.map(({ action }) => action))).toContain('payment.refused');
    await call('listAudit', {
      query: `?result=refused&object=${String(lines[0]?.['object'] ?? account['id'])}&from=2020-01-01T00:00:00Z`,
    });
  });

  const calls: Calls = { call, pages, pay, seal: () => spreadEvents(api.database) };
  test('the journal and what it proves', async () => {
    expect(await callJournal(calls)).toMatchObject({ faults: [] });
  });

  test('events and webhooks', async () => {
    expect(await callWebhooks(calls)).toEqual([7, 6, 5, 4, 3, 2, 1]);
    expect(await callDeliveries(calls)).toEqual(['payment.succeeded']);
  });

  test('reconciliations and corrections', async () => {
    const { made, again, breaks } = await callReconciliations(calls);
    expect(again).toEqual(made);
    expect(breaks).toEqual(['duplicate', 'missing_here', 'missing_here']);
  });

  test('health, also when something is away', async () => {
    const probes = operations.filter(({ isProbe }) => isProbe);
    expect(probes).toHaveLength(7);
    for (const { id } of probes) await call(id);
    isHealthy = false;
    for (const { id } of probes) await call(id, { status: id === 'getLiveness' ? 200 : 503 });
    isHealthy = true;
  });

  test('every documented success was met, in every state of payments and refunds', () => {
    const documented = operations.flatMap(({ id, responses }) =>
      [...responses.keys()].filter((status) => status < 300).map((status) => `${id} ${status}`),
    );
    expect([...met].sort()).toEqual(documented.sort());
    expect(states.payment).toEqual(new Set(paymentStates));
    // A refund is shown only once its backend has answered or been given up.
    expect(states.refund).toEqual(new Set(refundStates.filter((state) => state !== 'processing')));
  });

  describe('refusals of every operation', () => {
    const answerOf = (
      operation: Operation,
      headers: Record<string, string>,
      url = urlOf(operation),
    ): Promise<Received> => {
      const sent = { ...headers, ...(operation.body && { 'content-type': 'application/json' }) };
      return transmit({
        method: operation.method,
        url: url + at(operation, { id: 'x', refund_id: 'x' }),
        headers: sent,
        body: operation.body && '{}',
      });
    };
    const isGuarded = ({ isPublic }: Operation): boolean => !isPublic;

    test.each([
      { who: 'a stranger', which: isGuarded, headers: {}, statuses: [401] },
      { who: 'two credentials', which: isGuarded, headers: { ...testKey, ...testClient }, statuses: [400] },
      {
        who: 'a foreign vendor',
        which: isGuarded,
        headers: { ...testKey, 'florin-vendor': 'nobody' },
        statuses: [404],
      },
      {
        who: 'a foreign page',
        which: () => true,
        headers: { ...testKey, origin: 'https://evil.example' },
        statuses: [403],
      },
      { who: 'a low role', which: isGuarded, headers: otherClient, statuses: [200, 400, 403, 404] },
      // The last one: after twenty of these an address has to wait.
      { who: 'an unknown key', which: isGuarded, headers: { 'x-api-key': 'unknown' }, statuses: [403, 429] },
    ])('$who is refused as documented', async ({ which, headers, statuses }) => {
      const faults: string[] = [];
      for (const operation of operations.filter(which)) {
        const answer = await answerOf(operation, headers);
        faults.push(...breaches(operation, answer));
        if (!statuses.includes(answer.status))
          faults.push(`${operation.id} answered ${answer.status} ${answer.text}`);
      }
      expect(faults).toEqual([]);
    });

    test('who asks too often is told to wait, but for probes', async () => {
      await using strict = await start(api.parts, { rateLimit: { max: 1, windowMs: 60_000 } });
      const limited = operations.filter(({ isProbe }) => !isProbe);
      for (const headers of [testKey, {}])
        await transmit({ method: 'GET', url: `${strict.url}/api/v1/customers`, headers });
      await transmit({ method: 'POST', url: `${strict.url}/api/v1/authenticate` });
      for (const operation of limited) {
        const answer = await answerOf(operation, operation.isPublic ? {} : testKey, strict.url);
        expect([answer.status, ...breaches(operation, answer)]).toEqual([429]);
        expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      }
    });
  });
});
