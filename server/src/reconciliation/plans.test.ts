import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { openDatabase } from '../lib/database.ts';
import { fromUuid, type Id } from '../lib/ids.ts';
import { contextFor, newTenant, testNow } from '../payments/testing.ts';
import { testDatabase } from '../../test/setup/database.ts';
import { compareStatement, withStatement } from './compare.ts';
import { leaveOutOthers, listMatches, listOwners, type MatchPlace } from './stage.ts';
import { bytesOf, statementCsv, type Written } from './testing.ts';

/*
 * A comparison works on tables that nobody has analyzed, so PostgreSQL takes them for nearly empty, and a plan for a few
 * rows never ends with a million. What its plans really looked at is read from auto_explain.
 */

const database = await testDatabase();
const observed = openDatabase({
  connection: database.superuserConnection,
  poolMax: 1,
  applicationName: 'test-plans',
});
const plans: string[] = [];
observed.pool.on('connect', (client) => {
  client.on('notice', ({ message = '' }) => {
    const [, plan] = message.split(/ ms {2}plan:\n/);
    if (plan !== undefined) plans.push(plan);
  });
});
const { db } = observed;
afterAll(async () => {
  await observed.close();
  await database[Symbol.asyncDispose]();
});

type Node = Record<string, unknown> & { Plans?: Node[] };

/** The nodes of a plan and of all below it. */
const nodesOf = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

const observedNodes = (): Node[] =>
  plans.flatMap((plan) => {
    const { Plan } = JSON.parse(plan) as { Plan: Node }; // as auto_explain writes it
    return nodesOf(Plan);
  });

/** How many rows a node has seen: those that it gave, and those that it threw away. */
const seenBy = (node: Node): number => {
  const perLoop = ['Actual Rows', 'Rows Removed by Filter', 'Rows Removed by Join Filter'].map((name) =>
    Number(node[name] ?? 0),
  );
  return Number(node['Actual Loops'] ?? 0) * perLoop.reduce((total, rows) => total + rows, 0);
};

const observePlans = async (): Promise<void> => {
  await sql`load 'auto_explain'`.execute(db);
  const settings = {
    log_min_duration: '0',
    log_nested_statements: 'on',
    log_analyze: 'on',
    log_timing: 'off',
    log_format: 'json',
    log_level: 'notice',
  };
  for (const [name, value] of Object.entries(settings))
    await sql`select set_config(${`auto_explain.${name}`}, ${value}, false)`.execute(db);
};

/** So many payments of each kind: settled by our books, called for at a backend, and called for and refunded there. */
const each = 700;

/** Makes payments of a tenant. Gives the lines of a faultless backend. */
const makeBooks = async (tenantId: number): Promise<Written[]> => {
  type Row = { payment: string; operation: string | null; refund: string | null };
  const { rows } = await sql<Row>`
    with made as materialized (
      select gen_random_uuid() as payment, case when i > ${each} then gen_random_uuid() end as operation,
             case when i > 2 * ${each} then gen_random_uuid() end as refund
      from generate_series(1, 3 * ${each}) i
    ), payments as (
      insert into payments.payments (tenant_id, id, version, state, mode, amount, currency, captured, connector, payment_method,
                                     metadata, created_at, updated_at)
      select ${tenantId}, payment, 1, 'succeeded', 'test', 1000, 'USD', 1000, 'sandbox', 'sandbox:approve', '{}',
             ${testNow}::timestamptz, ${testNow}::timestamptz from made
    ), refunds as (
      insert into payments.refunds (tenant_id, payment_id, id, version, state, amount, fee_returned, created_at, updated_at)
      select ${tenantId}, payment, refund, 1, 'succeeded', 1000, 0, ${testNow}::timestamptz, ${testNow}::timestamptz
      from made where refund is not null
    ), operations as (
      insert into payments.operations (tenant_id, id, payment_id, kind, amount, fee, capture, state, connector, request,
                                       call_until, created_at, settled_at)
      select ${tenantId}, operation, payment, 'authorise', 1000, 0, true, 'approved', 'sandbox', 'x', ${testNow}::timestamptz,
             ${testNow}::timestamptz, ${testNow}::timestamptz from made where operation is not null
    )
    select * from made
  `.execute(database.superuser);
  return rows.flatMap(({ payment, operation, refund }) => [
    {
      reference: operation === null ? fromUuid('payment', payment) : fromUuid('operation', operation),
      amount: '10.00',
    },
    ...(refund === null ? [] : [{ reference: fromUuid('refund', refund), kind: 'refund', amount: '10.00' }]),
  ]);
};

/** The lines that match, read in pages that are shorter than the statement. */
const matchingLines = async (run: Id<'reconciliation'>, tenantId: number): Promise<number[]> => {
  const found: number[] = [];
  for (let after: MatchPlace | undefined = { line: 0, break: 0 }; after;) {
    const page = await listMatches(db, run, tenantId, { after, limit: 60 });
    found.push(...page.matches.map(({ line }) => line));
    after = page.next;
  }
  return found;
};

test('no step looks at every movement for every line, and matches are found page by page', async () => {
  const [tenantId, other] = [newTenant(), newTenant()];
  const own = await makeBooks(tenantId);
  const others = await makeBooks(other);
  const broken = own.map((line, index) => (index % 100 === 50 ? { ...line, amount: '11.00' } : line));
  await observePlans();
  plans.length = 0;

  const context = contextFor(tenantId);
  const text = statementCsv([...broken, ...others]);
  const told: string[] = [];
  const matching = await withStatement(
    db,
    context.now,
    { bytes: bytesOf(text, 64_000), format: 'csv' },
    async (staged) => {
      await listOwners(db, staged.id, undefined);
      expect(await leaveOutOthers(db, staged.id, tenantId)).toBe(others.length);
      await compareStatement(
        db,
        { context, key: undefined },
        { ...staged, lines: own.length },
        {},
        (...step) => told.push(step.join('/')),
      );
      return matchingLines(staged.id, tenantId);
    },
  );

  // The header is line 1.
  const isBroken = (line: number): boolean => (line - 2) % 100 === 50;
  const lines = own.map((_, index) => index + 2);
  expect(matching).toEqual(lines.filter((line) => !isBroken(line)));
  expect(told).toEqual(['1/7', '2/7', '3/7', '4/7', '5/7', '6/7', '7/7']);

  const nodes = observedNodes();
  expect(nodes.length).toBeGreaterThan(100);
  const bound = 4 * (own.length + others.length);
  const greedy = nodes.filter(
    (node) => seenBy(node) > bound || Number(node['Actual Loops']) > own.length / 10,
  );
  expect(greedy.map((node) => ({ ...node, Plans: undefined }))).toEqual([]);
});
