import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { revocationChannel } from '../src/access/watch.ts';
import type { Connector } from '../src/payments/connectors/connector.ts';
import { book } from '../src/payments/connectors/book.ts';
import { plain, type PlainSchema } from '../src/lib/openapi/example.ts';
import { makeDocument } from '../src/services/document.ts';
import {
  apiForTests,
  arrangements,
  otherClient,
  send,
  testClient,
  testKey,
  withConnectors,
  type Answer,
  type TestParts,
} from '../src/services/testing.ts';
import { findVendorRecord } from '../src/vendors/credentials.ts';
import { differencesIn, payOut } from './setup/api.ts';
import { maker, signTwoHeads, typeOf } from './setup/good-requests.ts';
import {
  breaches,
  changedTables,
  mismatches,
  operationsOf,
  tablesOf,
  transmit,
  type Operation,
} from './setup/requests.ts';

const operations = operationsOf(await makeDocument('0.0.0'));
const writes = operations.filter(({ isPublic, method }) => !isPublic && method !== 'GET');
const dry = { ...testKey, 'dry-run': 'true' };

/** Members that a real answer shows and a preview never. */
const secretMembers = ['key', 'client_secret', 'secret'];

/** What a preview may leave out of the body that its status has otherwise. */
const withoutSecrets = (schema: PlainSchema): PlainSchema => {
  const required = (Array.isArray(schema['required']) ? schema['required'] : []).filter(
    (name) => !secretMembers.includes(String(name)),
  );
  return { ...schema, required };
};

describe.each(arrangements)('a dry run in $name', ({ start }) => {
  let tables: Awaited<ReturnType<typeof tablesOf>>;
  let make: ReturnType<typeof maker>;
  /** The calls that reached a backend. */
  const called: string[] = [];
  const counting: Connector = {
    ...book,
    name: 'counting',
    internal: false,
    authorise: async () => (called.push('authorise'), { outcome: 'approved' }),
    capture: async () => (called.push('capture'), { outcome: 'approved' }),
    cancel: async () => (called.push('cancel'), { outcome: 'approved' }),
    refund: async () => (called.push('refund'), { outcome: 'approved' }),
  };

  const api = apiForTests({ start, change: (parts) => withConnectors(parts, { counting }) });
  beforeAll(async () => {
    tables = await tablesOf(api.database.superuser);
    make = maker(api.url);
    // The books have accounts that somebody can look at.
    await post('/payments', { amount: '5000.00', currency: 'USD' });
    await signTwoHeads(api.url, api.database);
  });

  const post = (path: string, body: object = {}, headers: object = {}): Promise<Answer> =>
    send(`${api.url}/api/v1${path}`, { method: 'POST', headers: { ...testKey, ...headers }, json: body });
  const made = async (path: string, body: object = {}): Promise<string> => {
    const answer = await post(path, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    return String(answer.body['id']);
  };

  /** Everything that a write could leave behind: all tables, the vault, and calls to backends. */
  const everything = async () => ({
    contents: await tables.contents(),
    vault: await vaultOf(api.parts),
    called: called.length,
  });
  /** Asks for a dry run and sees to it that nothing changed. */
  const shown = async (run: () => Promise<Answer>): Promise<Answer> => {
    const before = await everything();
    const answer = await run();
    const after = await everything();
    expect(changedTables(before.contents, after.contents)).toEqual([]);
    expect({ ...after, contents: undefined }).toEqual({ ...before, contents: undefined });
    expect(answer.headers.get('dry-run')).toBe('true');
    return answer;
  };
  const preview = (path: string, body: object = {}, headers: object = {}): Promise<Answer> =>
    shown(() => post(path, body, { 'dry-run': 'true', ...headers }));

  test('every write of the document has one', () => {
    const without = writes.filter(({ parameters }) => !parameters.some(({ name }) => name === 'Dry-Run'));
    expect(without.map(({ id }) => id)).toEqual([]);
    expect(writes.length).toBeGreaterThan(12);
  });

  test.each(writes.map((operation) => ({ id: operation.id, operation })))(
    '$id changes nothing and answers as documented',
    async ({ operation }: { operation: Operation }) => {
      const good = await make(operation);
      const { path, body } = good;
      const headers = { ...dry, ...typeOf(good) };
      const before = await everything();
      const answer = await transmit({ method: operation.method, url: api.url + path, headers, body });
      expect(changedTables(before.contents, (await everything()).contents)).toEqual([]);
      expect(await vaultOf(api.parts)).toEqual(before.vault);
      expect(answer.status, answer.text).toBe(200);
      expect(breaches(operation, answer)).toEqual([]);
      expect(answer.headers['dry-run']).toBe('true');
      const { result, status, events } = answer.body;
      const { schema } = operation.responses.get(Number(status)) ?? {};
      const real = Array.isArray(schema?.['oneOf']) ? plain(schema['oneOf'][0]) : plain(schema);
      expect(mismatches(withoutSecrets(real), result)).toEqual([]);
      expect(Object.keys(plain(result)).filter((name) => secretMembers.includes(name))).toEqual([]);
      expect(events).not.toEqual([]);
    },
  );

  test('a charge shows its postings, its fee, its event and the balances after it', async () => {
    const slug = { 'florin-vendor': 'fees' };
    await made('/vendors', { slug: 'fees', name: 'Fees', fee_basis_points: 290, fee_fixed: { USD: '30' } });
    await post('/payments', { amount: '10.00', currency: 'USD' }, slug);
    const { body } = await preview('/payments', { amount: '100.00', currency: 'USD', reference: 'R' }, slug);
    expect(body).toMatchObject({
      dry_run: true,
      status: 201,
      replayed: false,
      assumes: null,
      result: { status: 'succeeded', amount: '100.00', fee: '3.20', reference: 'R', version: 1 },
      fees: [{ kind: 'charged', amount: '3.20', amount_minor: '320', currency: 'USD', if_approved: false }],
      holds: [],
      events: [{ type: 'payment.succeeded', object: 'payment', version: 1, data: { status: 'succeeded' } }],
    });
    const postings = body['postings'] as Record<string, unknown>[];
    expect(
      postings.map(({ code, direction, amount, balance_after }) => [code, direction, amount, balance_after]),
    ).toEqual(
      expect.arrayContaining([
        ['external:book', 'debit', '100.00', '-110.00'],
        ['payable', 'credit', '96.80', '106.21'],
        ['fees', 'credit', '3.20', '3.79'],
      ]),
    );
  });

  test('a payment of a new customer, in a currency of new accounts, leaves neither behind', async () => {
    const body = {
      amount: '7.000',
      currency: 'KWD',
      customer_email: 'new@example.com',
      customer_name: 'New',
    };
    const { body: first } = await preview('/payments', body);
    expect(first).toMatchObject({
      status: 201,
      result: { customer_email: 'new@example.com', customer_name: 'New' },
      events: [{ type: 'customer.created' }, { type: 'payment.succeeded' }],
    });
    expect((await post('/payments', body)).status).toBe(201);
    expect(await differencesIn(api.database.db)).toEqual([]);
  });

  test('an authorisation shows what it sets aside, its capture and its cancellation that they end it', async () => {
    const body = { amount: '20.00', currency: 'USD', capture: false };
    const hold = { amount: '20.00', from: { code: 'external:book' }, to: { code: 'payable' } };
    const authorised = await preview('/payments', body);
    expect(authorised.body).toMatchObject({ postings: [], holds: [{ ...hold, action: 'placed' }] });
    const id = await made('/payments', body);
    const captured = await preview(`/payments/${id}/capture`, { amount: '5.00' });
    expect(captured.body).toMatchObject({ status: 200, holds: [{ ...hold, action: 'ended' }] });
    expect(captured.body['postings']).toHaveLength(2);
    const canceled = await preview(`/payments/${id}/cancel`);
    expect(canceled.body).toMatchObject({ postings: [], holds: [{ ...hold, action: 'ended' }] });
  });

  test('a backend is not asked: it is shown what is claimed, and what an approval would make of it', async () => {
    const body = { amount: '30.00', currency: 'USD', payment_method: 'counting' };
    const { body: charge } = await preview('/payments', body);
    expect(charge).toMatchObject({
      status: 201,
      result: { status: 'succeeded' },
      assumes: { connector: 'counting', operation: 'authorise', outcome: 'approved' },
      events: [
        { type: 'payment.processing', if_approved: false },
        { type: 'payment.succeeded', if_approved: true },
      ],
      postings: [{ if_approved: true }, { if_approved: true }],
    });
    const id = await made('/payments', body);
    const { body: refund } = await preview(`/payments/${id}/refunds`, { amount: '1.00' });
    expect(refund).toMatchObject({
      status: 201,
      assumes: { connector: 'counting', operation: 'refund' },
      holds: [
        { action: 'placed', if_approved: false },
        { action: 'ended', if_approved: true },
      ],
    });
    expect(called).toEqual(['authorise']);
  });

  test('refusals are those of the real request, and nobody writes them down or counts them', async () => {
    const counted = () =>
      api.parts.metrics.text().then((text) => text.match(/payments_payment_errors_total.*/g));
    const before = await counted();
    const id = await made('/payments', { amount: '9.00', currency: 'USD' });
    await made('/vendors', { slug: 'poor', name: 'Poor' });
    const poor = { 'florin-vendor': 'poor' };
    const { body: payment } = await post('/payments', { amount: '9.00', currency: 'USD' }, poor);
    const poorVendor = await findVendorRecord(api.database.db, { slug: 'poor' });
    await payOut(api.database.db, poorVendor?.tenants.test ?? 0, 900n);
    const refused: [path: string, body: object, headers: object][] = [
      ['/payments', { amount: '1.001', currency: 'USD' }, {}],
      ['/payments', { amount: '1.00', currency: 'USD', payment_method: 'carrier_pigeon' }, {}],
      ['/payments', { amount: '1.00', currency: 'USD', customer_id: `cus_${'0'.repeat(26)}` }, {}],
      [`/payments/${id}/capture`, {}, {}],
      [`/payments/${id}/refunds`, { amount: '9.01' }, {}],
      [`/payments/pay_${'0'.repeat(26)}/refunds`, {}, {}],
      [`/payments/${String(payment['id'])}/refunds`, {}, poor],
      ['/vendors', { slug: 'poor', name: 'Again' }, {}],
      ['/payments', { amount: '1.00', currency: 'USD' }, { 'florin-vendor': 'nobody' }],
    ];
    for (const [path, body, headers] of refused) {
      const shownRefusal = await shown(() => post(path, body, { ...headers, 'dry-run': 'true' }));
      const keyed = await shown(() =>
        post(path, body, { ...headers, 'dry-run': 'true', 'idempotency-key': 'free' }),
      );
      expect(await counted()).toEqual(before);
      const real = await post(path, body, headers);
      expect(real.status).toBeGreaterThanOrEqual(400);
      const { request_id: _, ...said } = real.body;
      for (const one of [shownRefusal, keyed]) {
        expect({ ...one.body, request_id: undefined }).toEqual({ ...said, request_id: undefined });
      }
      before?.splice(0, before.length, ...((await counted()) ?? []));
    }
  });

  test('a key is neither taken nor answered: a new one stays free, a known one says what it would answer', async () => {
    const body = { amount: '3.00', currency: 'USD' };
    const key = { 'idempotency-key': 'dry-1' };
    expect((await preview('/payments', body, key)).body).toMatchObject({ replayed: false });
    const first = await post('/payments', body, key);
    expect([first.status, first.headers.get('idempotent-replayed')]).toEqual([201, null]);
    const again = await preview('/payments', body, key);
    expect(again.body).toMatchObject({ status: 201, replayed: true, result: first.body });
    expect(again.body).toMatchObject({ postings: [], fees: [], holds: [], events: [] });
    expect(again.headers.get('idempotent-replayed')).toBeNull();
    const other = await preview('/payments', { ...body, amount: '4.00' }, key);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    // A stored refusal is answered as it would be.
    const { headers } = await preview('/payments', { ...body, payment_method: 'pigeon' }, key);
    expect(headers.get('idempotent-replayed')).toBeNull();
  });

  test('no secret is shown, also not that of a key that was made before', async () => {
    const key = { 'idempotency-key': 'secret-1' };
    const vendor = { slug: 'secretive', name: 'Secretive' };
    for (const [path, body] of [
      ['/vendors', vendor],
      ['/api-keys', { name: 'Till' }],
    ] as const) {
      const { body: before } = await preview(path, body, key);
      const { body: real } = await post(path, body, key);
      const secret = String(real['client_secret'] ?? real['key']);
      expect(secret.length).toBeGreaterThan(20);
      const { body: after } = await preview(path, body, key);
      expect(after).toMatchObject({ replayed: true, status: 201 });
      for (const one of [before, after]) {
        expect(JSON.stringify(one)).not.toContain(secret);
        expect(one['result']).not.toHaveProperty('client_secret');
        expect(one['result']).not.toHaveProperty('key');
      }
    }
  });

  test('balances are shown only to those who may read the ledger', async () => {
    const client = { 'dry-run': 'true', ...otherClient };
    const url = `${api.url}/api/v1/payments`;
    const body = { amount: '1.00', currency: 'USD' };
    const developer = await send(url, { method: 'POST', headers: client, json: body });
    const finance = await send(url, { method: 'POST', headers: { ...client, ...testClient }, json: body });
    const balances = ({ body: { postings } }: Answer) =>
      (postings as Record<string, unknown>[]).map(({ balance_after_minor: balance }) => balance);
    expect(balances(developer)).toEqual([null, null]);
    expect(balances(finance).every((balance) => typeof balance === 'string')).toBe(true);
  });

  test('what may not be done may not be shown', async () => {
    const id = await made('/payments', { amount: '9.00', currency: 'USD' });
    const url = `${api.url}/api/v1/payments/${id}/refunds`;
    for (const [headers, status] of [
      [{}, 401],
      [otherClient, 403],
    ] as const) {
      const before = await tables.contents();
      const answer = await send(url, {
        method: 'POST',
        headers: { ...headers, 'dry-run': 'true' },
        json: {},
      });
      expect(answer.status).toBe(status);
      await api.edge.events.settled();
      const changed = changedTables(before, await tables.contents());
      expect(changed.filter((name) => !name.startsWith('journal.entries'))).toEqual([]);
    }
  });

  test('a revocation is shown to nobody else', async () => {
    let heard = 0;
    await api.parts.cache.subscribe(revocationChannel, () => (heard += 1));
    const id = await made('/api-keys', { name: 'kept' });
    const url = `${api.url}/api/v1/api-keys/${id}`;
    const { body } = await shown(() => send(url, { method: 'DELETE', headers: dry }));
    expect(body).toMatchObject({ status: 200, events: [{ type: 'api_key.revoked' }] });
    expect(plain(body['result'])['revoked_at']).not.toBeNull();
    expect(heard).toBe(0);
  });

  test('many beside many that are meant leave the books as the latter made them', async () => {
    const pay = (index: number) =>
      post(
        '/payments',
        { amount: '1.00', currency: 'EUR', customer_email: `many.${index % 3}@example.com` },
        index % 2 === 0 ? { 'dry-run': 'true' } : {},
      );
    const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => pay(index)));
    const wanted = answers.map((_, index) => (index % 2 === 0 ? 200 : 201));
    expect(answers.map(({ status }) => status)).toEqual(wanted);
    expect(await differencesIn(api.database.db)).toEqual([]);
    const { body } = await send(`${api.url}/api/v1/payments?currency=EUR&limit=100`, { headers: testKey });
    expect(body['data']).toHaveLength(20);
  });
});

/** The files of the vault, as they lie on the disk. */
const vaultOf = async (parts: TestParts): Promise<Record<string, string>> => {
  const files = await readdir(parts.secretsFolder);
  const contents = files.map(
    async (file) => [file, await readFile(join(parts.secretsFolder, file), 'base64')] as const,
  );
  return Object.fromEntries(await Promise.all(contents));
};
