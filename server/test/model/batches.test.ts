import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { sqlStateOf } from '../../src/lib/database.ts';
import { toUuid } from '../../src/lib/ids.ts';
import { makeTransfer } from '../../src/ledger/ledger.ts';
import { verifyLedger } from '../../src/ledger/verify.ts';
import { entriesOf } from '../../src/payments/apply.ts';
import { charged } from '../../src/payments/effects.ts';
import { draftPayment } from '../../src/payments/payment.ts';
import { openPaymentAccounts } from '../../src/payments/postings.ts';
import { contextFor, newTenant, testPayments } from '../../src/payments/testing.ts';
import type { PaymentWrite } from '../../src/payments/writer.ts';
import { testDatabase } from '../setup/database.ts';
import { accountOf, emptyBooks, move } from './books.ts';
import { plantPoison, poisonous } from './poison.ts';
import { propertyOptions } from './requests.ts';

const database = await testDatabase();
await plantPoison(database.superuser);
const { module, close } = testPayments(database);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});

/**
 * One write of a batch. It credits the vendor's account, or debits it, which may not go below zero; poison is a row that
 * PostgreSQL won't have, and money from nowhere a transfer that the ledger won't have.
 */
type Plan = {
  tenant: number;
  kind: 'credit' | 'debit' | 'poison' | 'money from nowhere';
  amount: bigint;
  key: number | undefined;
};

const planOf = (kinds: readonly Plan['kind'][]): fc.Arbitrary<Plan> =>
  fc.record({
    tenant: fc.nat(2),
    kind: fc.constantFrom(...kinds),
    amount: fc.bigInt({ min: 1n, max: 100n }),
    key: fc.option(fc.nat(8), { nil: undefined, freq: 2 }),
  });

const batchOf = (kinds: readonly Plan['kind'][]): fc.Arbitrary<Plan[]> =>
  fc.array(planOf(kinds), { minLength: 10, maxLength: 80, size: 'max' });

/** The write of a plan, ready to be submitted. */
const writeOf = async (tenantId: number, { kind, amount, key }: Plan): Promise<PaymentWrite> => {
  const context = contextFor(tenantId);
  const where = { tenantId, currency: 'USD', connector: 'book' };
  const accounts = await openPaymentAccounts(database.db, module.accounts, where, context.now);
  const body = { amount: '1', currency: 'USD', ...(kind === 'poison' && { metadata: poisonous }) };
  const facts = { amountMinor: amount, paymentMethod: 'book', connector: 'book' };
  const draft = draftPayment(context, { mode: 'test' }, body, facts);
  const { payment } = charged(draft, 0n, { now: context.now, accounts });
  const sign = kind === 'debit' ? -1n : 1n;
  const postings = [
    { accountId: accounts.payable, amountMinor: sign * amount },
    { accountId: accounts.external, amountMinor: kind === 'money from nowhere' ? 1n : -sign * amount },
  ];
  const transfer = makeTransfer({ kind: 'payment', tenantId, objectId: draft.id, postings });
  const { payment: entry } = entriesOf(context, draft, { ...(payment && { payment }), transfer });
  if (!payment || !entry) throw new Error('a charge makes a payment and its entry');
  const keyed = { operation: 'payments.create', key: `key-${key}`, request: body, status: 201 };
  return { payment, transfer, entry, key: key === undefined ? undefined : keyed };
};

type Outcome = { plan: Plan; id: string; outcome: string };

/** Writes all at once: they share batches, in the order given. */
const writeAll = async (plans: readonly Plan[]): Promise<{ tenants: number[]; outcomes: Outcome[] }> => {
  const tenants = [newTenant(), newTenant(), newTenant()];
  const writes: PaymentWrite[] = [];
  for (const plan of plans) writes.push(await writeOf(tenants[plan.tenant] ?? 0, plan));
  const outcomes = await Promise.all(
    writes.map((write) =>
      module.writer.submit(write).catch((error: unknown) => {
        if (sqlStateOf(error)?.startsWith('23')) return 'refused as poison';
        throw error;
      }),
    ),
  );
  return {
    tenants,
    outcomes: plans.map((plan, index) => ({
      plan,
      id: toUuid(writes[index]?.payment.id ?? 'pay_'),
      outcome: outcomes[index] ?? 'none',
    })),
  };
};

const ledgerFaults = async (): Promise<unknown[]> =>
  (await verifyLedger(database.db)).filter(({ difference }) => difference !== undefined);

test('batches of duplicates and overdrafts are decided one by one, in the order in which they came', async () => {
  await fc.assert(
    fc.asyncProperty(batchOf(['credit', 'credit', 'debit', 'debit']), async (plans) => {
      const { outcomes } = await writeAll(plans);
      const books = [0, 1, 2].map(() =>
        emptyBooks({ feeBasisPoints: 0, feeFixed: {}, overdraftAllowed: false }),
      );
      const taken = new Set<string>();
      const expected = plans.map(({ tenant, kind, amount, key }) => {
        const name = `${tenant} ${key}`;
        if (key !== undefined && taken.has(name)) return 'repeated';
        if (key !== undefined) taken.add(name);
        const own = books[tenant];
        if (!own) throw new Error('there are three tenants');
        if (kind === 'debit' && accountOf(own, 'USD', 'payable').posted < amount) return 'insufficient_funds';
        const sign = kind === 'debit' ? -1n : 1n;
        move(own, 'USD', { payable: sign * amount, 'external:book': -sign * amount });
        return 'created';
      });
      expect(outcomes.map(({ outcome }) => outcome)).toEqual(expected);
    }),
    propertyOptions(30),
  );
  expect(await ledgerFaults()).toEqual([]);
}, 120_000);

test('poison in a batch fails alone, and its neighbours are decided as in some order', async () => {
  const often = ['credit', 'debit', 'credit', 'debit', 'credit', 'debit', 'credit', 'debit'] as const;
  const kinds = [...often, 'poison', 'money from nowhere'] as const;
  await fc.assert(
    fc.asyncProperty(batchOf(kinds), async (plans) => {
      const { tenants, outcomes } = await writeAll(plans);
      for (const [tenant, tenantId] of tenants.entries()) {
        const own = outcomes.filter(({ plan }) => plan.tenant === tenant);
        expect(await orderFaults(tenantId, own)).toEqual([]);
      }
    }),
    propertyOptions(15),
  );
  expect(await ledgerFaults()).toEqual([]);
}, 120_000);

/** What is wrong with the outcomes of one tenant, given the order in which its account was written. */
const orderFaults = async (tenantId: number, outcomes: readonly Outcome[]): Promise<string[]> => {
  const { rows } = await sql<{ object_id: string; amount: bigint; balance: bigint }>`
    select t.object_id, e.amount, e.balance
    from ledger.entries e
    join ledger.accounts a on a.id = e.account_id
    join ledger.transfers t on t.id = e.transfer_id
    where a.tenant_id = ${tenantId} and a.code = 'payable' order by e.version
  `.execute(database.db);
  const balances = [0n, ...rows.map(({ balance }) => balance)];
  const written = new Set(rows.map(({ object_id: id }) => id));
  const faults = balances.filter((balance) => balance < 0n).map((balance) => `the account was at ${balance}`);
  for (const { plan, id, outcome } of outcomes) {
    const { kind, amount } = plan;
    const isPoison = kind === 'poison' || kind === 'money from nowhere';
    const says = `${kind} of ${amount} with key ${plan.key} is ${outcome}`;
    if ((outcome === 'created') !== written.has(id)) faults.push(`${says}, but its rows say otherwise`);
    if (isPoison && outcome !== 'refused as poison' && outcome !== 'repeated') faults.push(says);
    if (!isPoison && outcome === 'refused as poison') faults.push(says);
    const isRight = kind === 'debit' && balances.some((balance) => balance < amount);
    if (outcome === 'insufficient_funds' && !isRight) faults.push(`${says}, but there was always enough`);
  }
  return [...faults, ...keyFaults(outcomes), ...(await storedKeyFaults(tenantId, outcomes))];
};

/** One key, one answer that counts: whatever else has it is a repetition. */
const keyFaults = (outcomes: readonly Outcome[]): string[] => {
  const first = new Map<number, number>();
  for (const { plan, outcome } of outcomes) {
    if (plan.key === undefined) continue;
    const counts = outcome === 'created' || outcome === 'insufficient_funds';
    first.set(plan.key, (first.get(plan.key) ?? 0) + Number(counts));
  }
  return [...first].flatMap(([key, count]) => {
    const repeated = outcomes.some(({ plan, outcome }) => plan.key === key && outcome === 'repeated');
    if (count > 1) return [`key ${key} counted ${count} times`];
    return count === 0 && repeated ? [`key ${key} was repeated, and never counted`] : [];
  });
};

/** A key is stored with what was answered: with the journal entry of what was made, or with the refusal. */
const storedKeyFaults = async (tenantId: number, outcomes: readonly Outcome[]): Promise<string[]> => {
  const { rows } = await sql<{ key: string; refusal: string | null; object_id: string | null }>`
    select k.key, k.refusal ->> 'code' as refusal, e.object_id
    from journal.idempotency_keys k left join journal.entries e on e.id = k.entry_id where k.tenant_id = ${tenantId}
  `.execute(database.db);
  const due = outcomes.filter(
    ({ plan, outcome }) =>
      plan.key !== undefined && (outcome === 'created' || outcome === 'insufficient_funds'),
  );
  const missing = due.filter(({ plan, id, outcome }) => {
    const stored = rows.find(({ key }) => key === `key-${plan.key}`);
    return outcome === 'created' ? stored?.object_id !== id : stored?.refusal !== outcome;
  });
  return [
    ...missing.map(({ plan, outcome }) => `key ${plan.key} is not stored as ${outcome}`),
    ...(rows.length === due.length ? [] : [`${rows.length} keys are stored, not ${due.length}`]),
  ];
};
