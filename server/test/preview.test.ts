import fc from 'fast-check';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { fromUuid, idPrefixes, type IdKind } from '../src/lib/ids.ts';
import { formatAmount } from '../src/lib/money.ts';
import { plain } from '../src/lib/openapi/example.ts';
import { apiForTests, send, testKey, withoutRateLimit, type Answer } from '../src/services/testing.ts';
import { differencesIn } from './setup/api.ts';

/*
 * A preview is worth something only if it tells what the real request does. So each of these random requests is previewed,
 * then made, and what the preview told is held against the rows that were written.
 */

const api = apiForTests({ config: withoutRateLimit });

const decimals = { USD: 2, JPY: 0, KWD: 3 } as const;
type Currency = keyof typeof decimals;
const currency = fc.constantFrom<Currency>('USD', 'JPY', 'KWD');
/** Which of the payments made so far; some commands hit one that does not allow them. */
const which = fc.nat(5);
const part = fc.option(fc.integer({ min: 1, max: 40_000 }), { nil: undefined });

const command = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant('pay' as const),
      minor: fc.integer({ min: 1, max: 50_000 }),
      currency,
      capture: fc.boolean(),
      method: fc.constantFrom('book', 'sandbox:approve', 'sandbox:duplicate_answer'),
      payer: fc.option(fc.constantFrom('ada', 'bob'), { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('capture' as const), which, minor: part }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('cancel' as const), which }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('refund' as const), which, minor: part }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('refundRest' as const), which }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('rename' as const), payer: fc.constantFrom('ada', 'bob') }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('fees' as const), basisPoints: fc.nat(600) }) },
);
type Command = typeof command extends fc.Arbitrary<infer Value> ? Value : never;

/** A vendor of its own a run, and what it has made so far. */
type World = {
  slug: string;
  vendorId: string;
  payments: { id: string; currency: Currency }[];
  customers: Map<string, string>;
};

type Asked = { method: string; path: string; json: object };

const requestOf = (world: World, given: Command): Asked => {
  if (given.does === 'pay') return paymentOf(world, given);
  if (given.does === 'rename') {
    const id = world.customers.get(given.payer) ?? `cus_${nothing}`;
    return { method: 'PATCH', path: `/customers/${id}`, json: { name: `${given.payer} again` } };
  }
  if (given.does === 'fees') {
    const json = { fee_basis_points: given.basisPoints, fee_fixed: { USD: '30', JPY: '3' } };
    return { method: 'PATCH', path: `/vendors/${world.vendorId}`, json };
  }
  const { id, currency } = world.payments[given.which % Math.max(1, world.payments.length)] ?? nobody;
  const json = 'minor' in given ? amountOf(given.minor, currency) : {};
  const path = `/payments/${id}/${paths[given.does]}`;
  return { method: given.does === 'refundRest' ? 'PATCH' : 'POST', path, json };
};

const paths = { capture: 'capture', cancel: 'cancel', refund: 'refunds', refundRest: 'refund' };
const nothing = '0'.repeat(26);
const nobody = { id: `pay_${nothing}`, currency: 'USD' as const };

const amountOf = (minor: number | undefined, currency: Currency): { amount?: string } =>
  minor === undefined ? {} : { amount: formatAmount(BigInt(minor), currency) };

const paymentOf = ({ slug }: World, given: Extract<Command, { does: 'pay' }>): Asked => {
  const { minor, currency, capture, method, payer } = given;
  const customer = payer && { customer_email: `${payer}@${slug}.example`, customer_name: payer };
  const json = { ...amountOf(minor, currency), currency, capture, payment_method: method, ...customer };
  return { method: 'POST', path: '/payments', json };
};

const ask = (world: World, { method, path, json }: Asked, headers: object = {}): Promise<Answer> =>
  send(`${api.url}/api/v1${path}`, {
    method,
    json,
    headers: { ...testKey, 'florin-vendor': world.slug, ...headers },
  });

/** What a request really wrote, in the words of a preview. */
const writtenBy = async (requestId: string | null, holdsBefore: Holds) => {
  const { rows: entries } = await sql<{
    kind: string;
    object_type: IdKind;
    object_id: string;
    object_version: number;
    snapshot: unknown;
    transfer_id: string | null;
  }>`select * from journal.entries where request_id = ${requestId} and result = 'success'`.execute(
    api.database.db,
  );
  const transfers = entries.flatMap(({ transfer_id: id }) => id ?? []);
  const { rows: postings } = await sql<{ code: string; amount: bigint; balance: bigint }>`
    select a.code, e.amount, e.balance
    from unnest(${transfers}::uuid[]) t(id) join ledger.transfers using (id)
    cross join lateral unnest(account_ids, versions) as k(account_id, version)
    join ledger.entries e using (account_id, version) join ledger.accounts a on a.id = e.account_id
  `.execute(api.database.db);
  const holds = await holdsNow();
  const isNew = (now: string[], before: string[]): number => now.length - before.length;
  return {
    events: entries.map((row) => ({
      type: row.kind,
      object: row.object_type,
      object_id: fromUuid(row.object_type, row.object_id),
      version: row.object_version,
      data: row.snapshot,
    })),
    postings: postings.map(({ code, amount, balance }) => ({
      code,
      minor: amount.toString(),
      balance: balance.toString(),
    })),
    holds: { placed: isNew(holds.placed, holdsBefore.placed), ended: isNew(holds.ended, holdsBefore.ended) },
  };
};

type Holds = { placed: string[]; ended: string[] };
const holdsNow = async (): Promise<Holds> => {
  const ids = async (table: string, column: string) =>
    (
      await sql<{ id: string }>`select ${sql.ref(column)} as id from ${sql.table(table)}`.execute(
        api.database.db,
      )
    ).rows.map(({ id }) => id);
  return { placed: await ids('ledger.holds', 'id'), ended: await ids('ledger.hold_endings', 'hold_id') };
};

type Told = Record<'events' | 'postings' | 'holds' | 'fees', Record<string, unknown>[]>;

const toldBy = ({ body }: Answer) => {
  const { events, postings, holds } = body as unknown as Told;
  const count = (action: string) => holds.filter((hold) => hold['action'] === action).length;
  return {
    events: events.map(({ type, object, object_id, version, data }) => ({
      type,
      object,
      object_id,
      version,
      data,
    })),
    postings: postings.map((posting) => ({
      code: posting['code'],
      minor: `${posting['direction'] === 'debit' ? '-' : ''}${String(posting['amount_minor'])}`,
      balance: posting['balance_after_minor'],
    })),
    holds: { placed: count('placed'), ended: count('ended') },
  };
};

const anyId = new RegExp(`\\b(${Object.values(idPrefixes).join('|')})_[0-9a-z]{26}\\b`, 'g');

/** Sorted, and with ids replaced by the order in which they appear: both sides made up their own. */
const comparable = (status: unknown, result: unknown, did: ReturnType<typeof toldBy>): unknown => {
  const key = (value: unknown): string => JSON.stringify(value, Object.keys(plain(value)).sort());
  const sorted = (rows: readonly object[]) => rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  const byType = did.events.toSorted((a, b) => (String(a['type']) < String(b['type']) ? -1 : 1));
  const text = JSON.stringify({
    status,
    result,
    events: byType,
    postings: sorted(did.postings),
    holds: did.holds,
  });
  const seen = new Map<string, string>();
  return JSON.parse(
    text.replaceAll(anyId, (id, prefix: string) => {
      const known = seen.get(id) ?? `${prefix}_${seen.size}`;
      seen.set(id, known);
      return known;
    }),
  );
};

/** Previews a request, makes it, and holds the one against the other. Gives the status of both. */
const compare = async (world: World, given: Command): Promise<number> => {
  const asked = requestOf(world, given);
  const holdsBefore = await holdsNow();
  const preview = await ask(world, asked, { 'dry-run': 'true' });
  const real = await ask(world, asked);
  if (real.status >= 300) {
    expect({ ...preview.body, request_id: '' }).toEqual({ ...real.body, request_id: '' });
    return real.status;
  }
  expect(preview.status, JSON.stringify(preview.body)).toBe(200);
  const did = await writtenBy(real.headers.get('x-request-id'), holdsBefore);
  const { status, result } = preview.body;
  expect(comparable(status, result, toldBy(preview))).toEqual(comparable(real.status, real.body, did));
  if (given.does === 'pay') {
    world.payments.push({ id: String(real.body['id']), currency: given.currency });
    if (given.payer) world.customers.set(given.payer, String(real.body['customer_id']));
  }
  // Terms are read again after a second.
  api.parts.clock.advance(1_100);
  return real.status;
};

test('what a preview tells is what the real request does', { timeout: 120_000 }, async () => {
  let runs = 0;
  const met: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 6, maxLength: 14 }), async (commands) => {
      const slug = `run-${(runs += 1)}`;
      const json = { slug, name: slug, fee_basis_points: 150 };
      const { body } = await send(`${api.url}/api/v1/vendors`, { method: 'POST', headers: testKey, json });
      const world: World = { slug, vendorId: String(body['id']), payments: [], customers: new Map() };
      for (const each of commands) {
        const name = `${each.does} ${await compare(world, each)}`;
        met[name] = (met[name] ?? 0) + 1;
      }
    }),
    { seed: 20_261_122, numRuns: 20 },
  );
  const done = [
    'pay 201',
    'capture 200',
    'cancel 200',
    'refund 201',
    'refundRest 200',
    'rename 200',
    'fees 200',
  ];
  expect(Object.keys(met)).toEqual(
    expect.arrayContaining([...done, 'refund 409', 'refund 422', 'capture 422']),
  );
  expect(await differencesIn(api.database.db)).toEqual([]);
});
