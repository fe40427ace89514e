import type { Db } from '../../src/lib/database.ts';
import { differencesIn } from '../setup/api.ts';
import { answerFaults, type KnownCall } from './answers.ts';
import type { Terms } from './books.ts';
import { replay } from './replay.ts';
import { readStored } from './stored.ts';

/**
 * Everything that is wrong in a database, by name, however it came about; empty when the books are right:
 *
 * - the model, given the changes in the database's own order, comes to the same payments, refunds and balances
 * - whatever a client was told is stored, once: nothing acknowledged is missing, nothing is doubled
 * - one key has one effect and one answer, written in one transaction
 * - what `florin ledger verify` checks
 *
 * @param terms of tenants that are in no table of vendors, as tests of a module have them
 */
export const differences = async (
  db: Db,
  calls: readonly KnownCall[],
  terms?: ReadonlyMap<number, Terms>,
): Promise<string[]> => {
  const stored = await readStored(db, terms);
  const findings = await differencesIn(db);
  return [
    ...findings.map(({ check, difference }) => `${check}: ${difference}`),
    ...replay(stored).faults,
    ...answerFaults(stored, calls),
  ];
};
