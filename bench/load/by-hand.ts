import { createHash, randomUUID, randomUUIDv7 } from 'node:crypto';
import pg from 'pg';
import { quantile } from '../statistics.ts';

/**
 * What somebody would write by hand for one payment, as the yardstick of a lone client: `by-hand.ts TENANT SECONDS`, the
 * connection in PGHOST and so on. One client, one transaction after the other, every statement prepared, one statement a
 * table: it locks the three accounts, then writes the rows that `payments.create_batch` writes, with the same indexes,
 * and waits for the commit. There is no HTTP, no authentication, no validation, and the hash is of less.
 */
const [tenant = '', seconds = '1'] = process.argv.slice(2);
const amount = 1000;
const fee = 55;

type Account = { id: string; code: string; posted: string; version: string };

const client = new pg.Client();
await client.connect();

const run = async <Row extends pg.QueryResultRow>(name: string, values: unknown[] = []): Promise<Row[]> =>
  (await client.query<Row>({ name, text: statements[name] ?? '', values })).rows;

const statements: Readonly<Record<string, string>> = {
  begin: 'begin',
  lock: `select id, code, posted, version from ledger.accounts
         where tenant_id = $1 and currency = 'USD' and code in ('external:book', 'payable', 'fees')
         order by id for no key update`,
  key: `insert into journal.idempotency_keys (tenant_id, operation, key, request_hash, status, entry_id, created_at)
        values ($1, 'payments.create', $2, $3, 201, $4, $5)`,
  payment: `insert into payments.payments (tenant_id, id, version, state, mode, amount, currency, captured, fee, connector,
                                           payment_method, reference, metadata, created_at, updated_at)
            values ($1, $2, 1, 'succeeded', 'test', $3, 'USD', $3, $4, 'book', 'book', $5, '{}', $6, $6)`,
  transfer: `insert into ledger.transfers (id, tenant_id, kind, object_id, account_ids, versions, created_at)
             values ($1, $2, 'payment', $3, $4, $5, $6)`,
  postings: `insert into ledger.entries (account_id, version, transfer_id, amount, balance, created_at)
             select account, version, $1, amount, balance, $2
             from unnest($3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[]) as p(account, version, amount, balance)`,
  balances: `update ledger.accounts a set posted = p.balance, version = p.version
             from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as p(account, version, balance) where a.id = p.account`,
  entry: `insert into journal.entries (tenant_id, id, kind, result, actor, origin, request_id, object_type, object_id,
                                       object_version, snapshot, transfer_id, hash, timestamp)
          values ($1, $2, 'payment.succeeded', 'success', 'client:bench', '127.0.0.1', $3, 'payment', $4, 1, $5, $6, $7, $8)`,
  commit: 'commit',
};

const pay = async (): Promise<void> => {
  const [payment, transfer, entry, reference] = [
    randomUUIDv7(),
    randomUUIDv7(),
    randomUUIDv7(),
    randomUUID(),
  ];
  const now = new Date();
  const snapshot = snapshotOf(payment, reference, now);
  const hash = createHash('sha256').update(snapshot).digest();
  await run('begin');
  const accounts = await run<Account>('lock', [tenant]);
  const moved = accounts.map(({ id, code, posted, version }) => {
    const change = { 'external:book': -amount, payable: amount - fee, fees: fee }[code] ?? 0;
    return { id, change, version: Number(version) + 1, balance: Number(posted) + change };
  });
  const ids = moved.map(({ id }) => id);
  const versions = moved.map(({ version }) => version);
  const balances = moved.map(({ balance }) => balance);
  await run('key', [tenant, reference, hash, entry, now]);
  await run('payment', [tenant, payment, amount, fee, `order ${reference.slice(0, 18)}`, now]);
  await run('transfer', [transfer, tenant, payment, ids, versions, now]);
  await run('postings', [transfer, now, ids, versions, moved.map(({ change }) => change), balances]);
  await run('balances', [ids, versions, balances]);
  await run('entry', [tenant, entry, `req_${reference}`, payment, snapshot, transfer, hash, now]);
  await run('commit');
};

/** As long as the snapshot of a payment. */
const snapshotOf = (id: string, reference: string, now: Date): string => {
  const amounts = {
    amount: '10.00',
    amount_minor: '1000',
    amount_captured: '10.00',
    amount_captured_minor: '1000',
  };
  const none = { amount_refunded: '0.00', amount_refunded_minor: '0', fee: '0.55', fee_minor: '55' };
  const texts = {
    reference,
    description: null,
    customer_id: null,
    payment_method: 'book',
    failure_code: null,
  };
  const times = { created_at: now.toISOString(), updated_at: now.toISOString() };
  const head = { id, object: 'payment', mode: 'test', status: 'succeeded', currency: 'USD' };
  return JSON.stringify({ ...head, ...amounts, ...none, ...texts, metadata: {}, version: 1, ...times });
};

/** What `by-hand.ts` prints. */
export type ByHandReport = { requests: number; p50Ms: number };

const latencies: number[] = [];
const endsAt = performance.now() + Number(seconds) * 1000;
while (performance.now() < endsAt) {
  const startedAt = performance.now();
  await pay();
  latencies.push(performance.now() - startedAt);
}
await client.end();
process.stdout.write(
  JSON.stringify({ requests: latencies.length, p50Ms: quantile(latencies, 0.5) } satisfies ByHandReport),
);
