import { isDeepStrictEqual } from 'node:util';
import { happen, type Answer, type Command, type Running, type Tenant } from './commands.ts';

/** A command that was run, and what it was really answered. */
export type Answered = { command: Command; answer: Answer };

/**
 * How a tenant may be after commands that ran at the same time: one state for every order of their steps in which the
 * model gives each the answer that it really got. None means that the answers fit no order at all.
 */
export const statesAfter = (tenants: readonly Tenant[], answered: readonly Answered[]): Tenant[] => {
  const found = new Map<string, Tenant>();
  const explore = (tenant: Tenant, running: readonly Running[]): void => {
    if (running.every(({ answer }) => answer !== undefined)) {
      found.set(fingerprint(tenant), tenant);
      return;
    }
    for (const [index, one] of running.entries()) {
      if (one.answer) continue;
      const next = structuredClone(tenant);
      const after = happen(next, one);
      if (after.answer && !isDeepStrictEqual(after.answer, answered[index]?.answer)) continue;
      explore(next, running.with(index, after));
    }
  };
  for (const tenant of tenants)
    explore(
      tenant,
      answered.map(({ command }) => ({ command })),
    );
  return [...found.values()];
};

const fingerprint = ({ books, keys }: Tenant): string =>
  JSON.stringify(
    [books.mayOverdraw, ...[books.accounts, books.payments, books.refunds, keys].map(sorted)],
    (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value),
  );

const sorted = (map: ReadonlyMap<string, unknown>): unknown[] =>
  [...map].sort(([a], [b]) => (a < b ? -1 : 1));
