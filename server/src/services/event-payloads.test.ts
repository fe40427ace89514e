import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { eventPatterns, eventTypes, isEventPattern } from '../events/catalogue.ts';
import { envelopeProperties } from '../events/schema.ts';
import { sealAll } from '../journal/testing.ts';
import { rootDirectory } from '../lib/config/config.ts';
import { exampleOf, plain, type PlainSchema } from '../lib/openapi/example.ts';
import { paymentStates, refundStates } from '../payments/schema.ts';
import { mismatches } from '../../test/setup/requests.ts';
import { makeDocument } from './document.ts';
import { eventPayloads } from './event-payloads.ts';
import { apiForTests, send, testKey } from './testing.ts';

const known = new Set(eventTypes.map(({ type }) => type));
const families = new Set(eventTypes.map(({ type }) => type.split('.')[0]));

const sources = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /(?<!\.test|\.testing)\.ts$/.test(entry.name) ? [path] : [];
  });

describe('the catalogue of events', () => {
  test('has every state of payments and refunds, by which their entries are named', () => {
    const named = [
      ...paymentStates.map((state) => `payment.${state}`),
      ...refundStates.map((state) => `refund.${state}`),
    ];
    expect(named.filter((type) => !known.has(type))).toEqual([]);
  });

  test('has every kind of a public family that the sources name, but for refusals', () => {
    const refusals = ['payment.refused'];
    const written = sources(join(rootDirectory, 'server', 'src'))
      .filter((path) => !path.includes('/cli/'))
      .flatMap((path) => [
        ...readFileSync(path, 'utf8').matchAll(
          /kind: '([a-z_]+\.[a-z_]+)'|Entry\('([a-z_]+\.[a-z_]+)'|record\(\s*tx,[^']*'([a-z_]+\.[a-z_]+)'/g,
        ),
      ])
      .flatMap(([, ...kinds]) => kinds.filter((kind) => kind !== undefined))
      .filter((kind) => families.has(kind.split('.')[0]) && !refusals.includes(kind));
    expect(written.length).toBeGreaterThan(5);
    expect(written.filter((kind) => !known.has(kind))).toEqual([]);
  });

  test('has the families that the view shows, and the patterns of each', () => {
    const view = readFileSync(join(rootDirectory, 'server/migrations/0012_events.sql'), 'utf8');
    const shown = /split_part\(e\.kind, '\.', 1\) in \(([^)]+)\)/.exec(view)?.[1] ?? '';
    const named = [...shown.matchAll(/'(\w+)'/g)].map(([, name]) => name);
    expect([...families].filter((family) => !named.includes(family))).toEqual([]);
    for (const pattern of ['*', 'payment.*', 'refund.succeeded']) expect(isEventPattern(pattern)).toBe(true);
    for (const text of ['', 'payment', 'payment.', 'pay*', '**', 'payment.**', '*.succeeded', 'toString'])
      expect([text, isEventPattern(text)]).toEqual([text, false]);
    expect(new Set(eventPatterns()).size).toBe(eventPatterns().length);
  });
});

describe('what happens', () => {
  const api = apiForTests();

  const ask = async (method: string, path: string, json?: object) => {
    const answer = await send(`${api.url}/api/v1${path}`, { method, headers: testKey, json });
    expect(answer.status, `${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
    return answer.body;
  };
  const live = async (): Promise<void> => {
    const person = { customer_email: 'ada@example.com', customer_name: 'Ada' };
    const pay = async (changes: object = {}): Promise<string> =>
      String((await ask('POST', '/payments', { amount: '9.00', currency: 'USD', ...changes }))['id']);
    const payment = await pay(person);
    await ask('POST', `/payments/${payment}/refunds`, { amount: '1.00' });
    await ask('PATCH', `/payments/${payment}/refund`, {});
    await ask('POST', `/payments/${await pay({ capture: false })}/capture`, {});
    await ask('POST', `/payments/${await pay({ capture: false })}/cancel`, {});
    for (const name of ['approve', 'decline_insufficient_funds', 'timeout_for_ever', 'refund_declined'])
      await pay({ payment_method: `sandbox:${name}` });
    const { data } = await ask('GET', '/customers');
    const [customer] = data as { id: string }[];
    await ask('PATCH', `/customers/${customer?.id}`, { name: 'Ada Lovelace' });
    const { id } = await ask('POST', '/webhook-endpoints', { url: 'https://shop.example/', events: ['*'] });
    for (const verb of ['test', 'rotate-secret', 'disable', 'enable'])
      await ask('POST', `/webhook-endpoints/${String(id)}/${verb}`);
    await ask('PATCH', `/webhook-endpoints/${String(id)}`, { ordered: true });
    await ask('GET', `/webhook-endpoints/${String(id)}/secret`);
    await ask('DELETE', `/webhook-endpoints/${String(id)}`);
    const csv = 'reference,kind,amount,currency,status,date\nx,charge,1.00,USD,succeeded,2026-11-22';
    const compared = { method: 'POST', headers: testKey, csv };
    const { body } = await send(`${api.url}/api/v1/reconciliations?connector=book`, compared);
    await ask('POST', `/reconciliations/${String(body['id'])}/breaks/1/correct`, { reason: 'Ticket 4711' });
    await sealAll(api.database);
  };

  test('is in the catalogue, and carries what the document says; names and addresses are nowhere stored', async () => {
    await live();
    const { rows } = await sql<{ type: string }>`select distinct type from events.events`.execute(
      api.parts.db,
    );
    const types = rows.map(({ type }) => type);
    expect(types.filter((type) => !known.has(type))).toEqual([]);
    expect(types.length).toBeGreaterThan(15);

    const { data: events } = await ask('GET', '/events?limit=100');
    const carried = new Map(eventTypes.map(({ type, object }) => [type, eventPayloads[object].schema]));
    for (const event of events as Record<string, unknown>[]) {
      const { type, data, ...envelope } = event;
      const schema = plain(carried.get(String(type)));
      expect([type, mismatches(schema, data)]).toEqual([type, []]);
      expect(Object.keys({ type, ...envelope }).sort()).toEqual(Object.keys(envelopeProperties).sort());
    }
    const text = JSON.stringify(events);
    expect(text).toContain('"customer_email":"ada@example.com"');
    expect(text).toContain('"name":"Ada Lovelace"');
    const { rows: stored } = await sql<{ text: string }>`
      select string_agg(data::text, ' ') as text from events.events
    `.execute(api.parts.db);
    expect(stored[0]?.text).not.toMatch(/ada@example|Ada/);
  });

  test('the document has a webhook for every type, with an example that its schema takes', async () => {
    const document = plain(await makeDocument('test'));
    const webhooks = plain(document['webhooks']);
    expect(Object.keys(webhooks)).toEqual([...known]);
    const schemas = plain(plain(document['components'])['schemas']);
    for (const type of known) {
      const { requestBody, summary } = plain(plain(webhooks[type])['post']);
      const { schema, example } = plain(plain(plain(requestBody)['content'])['application/json']);
      const name = String(plain(schema)['$ref']).split('/').at(-1) ?? '';
      const { properties } = plain(schemas[name]);
      const payload =
        String(plain(plain(properties)['data'])['$ref'])
          .split('/')
          .at(-1) ?? '';
      const whole = { type: 'object', properties: { ...plain(properties), data: plain(schemas[payload]) } };
      expect([type, mismatches(whole as PlainSchema, example)]).toEqual([type, []]);
      expect(summary).toBe(eventTypes.find((each) => each.type === type)?.title);
      expect(plain(example)['type']).toBe(type);
    }
  });

  test('an example of every payload is one', () => {
    for (const { schema } of Object.values(eventPayloads))
      expect(mismatches(plain(schema), exampleOf(plain(schema)))).toEqual([]);
  });
});
