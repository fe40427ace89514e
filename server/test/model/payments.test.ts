import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { contextFor, newTenant, testPayments } from '../../src/payments/testing.ts';
import { testDatabase } from '../setup/database.ts';
import type { KnownCall } from './answers.ts';
import type { Books, Terms } from './books.ts';
import { differences } from './differences.ts';
import { drive } from './driver.ts';
import { plantPoison } from './poison.ts';
import { propertyOptions, tenantPlans } from './requests.ts';

const database = await testDatabase();
await plantPoison(database.superuser);
const terms = new Map<number, Terms>();

const termsOf = async (tenantId: number) => {
  const known = terms.get(tenantId);
  if (!known) throw new Error(`tenant ${tenantId} has no terms`);
  return { ...known, mode: 'test' as const, idempotencyRequired: false };
};
/** Two processes that have only the database in common. */
const opened = [testPayments(database), testPayments(database)];
const processes = opened.map(({ module }) => ({ ...module, termsOf }));
afterAll(async () => {
  for (const { close } of opened) await close();
  await database[Symbol.asyncDispose]();
});

/** `USD payable 100/0/20`: posted, pending, reserved. Accounts that never had anything are left out. */
const balancesOf = ({ accounts }: Books): string[] =>
  [...accounts]
    .filter(([, { entries, pending, reserved }]) => entries > 0n || pending > 0n || reserved > 0n)
    .map(([name, { posted, pending, reserved }]) => `${name} ${posted}/${pending}/${reserved}`)
    .sort();

const storedBalancesOf = async (tenantId: number): Promise<string[]> => {
  const { rows } = await sql<{ line: string }>`
    select currency || ' ' || code || ' ' || posted || '/' || pending || '/' || reserved as line
    from ledger.accounts where tenant_id = ${tenantId} and (version > 0 or pending > 0 or reserved > 0)
  `.execute(database.db);
  return rows.map(({ line }) => line).sort();
};

test('whatever tenants ask for at once, each is answered as in some order of it, and the books are the model’s', async () => {
  const calls: KnownCall[] = [];
  await fc.assert(
    fc.asyncProperty(tenantPlans, async (plans) => {
      const driven = await Promise.all(
        plans.map(async (plan) => {
          const tenantId = newTenant();
          terms.set(tenantId, plan.terms);
          return { tenantId, ...(await drive(processes, contextFor(tenantId), plan)) };
        }),
      );
      for (const { tenantId, states, calls: own } of driven) {
        calls.push(...own);
        expect(states.map(({ books }) => balancesOf(books))).toContainEqual(await storedBalancesOf(tenantId));
      }
    }),
    propertyOptions(40),
  );
  expect(calls.length).toBeGreaterThan(0);
  expect(await differences(database.db, calls, terms)).toEqual([]);
}, 120_000);
