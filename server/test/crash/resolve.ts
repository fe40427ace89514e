import { sql } from 'kysely';
import { pino } from 'pino';
import { serviceTokens } from '../../src/access/service-token.ts';
import { manualClock, systemClock } from '../../src/lib/clock.ts';
import { openDatabase, type ConnectionOptions } from '../../src/lib/database.ts';
import type { Secret } from '../../src/lib/secret.ts';
import { resolveDue } from '../../src/payments/resolver.ts';
import { byName, ownConnectors } from '../../src/services/payments.ts';
import { remoteSettle } from '../../src/services/worker.ts';
import { connectorTimeoutMs } from './world.ts';

/** Where sapi is, and how to be believed by it. */
export type ResolverParts = { sapiUrl: string; serviceSecret: Secret };

/** How often is asked, and the time that passes between: what a killed worker holds is free again after each. */
const roundsMax = 10;
const roundMs = 15 * 60_000;

/**
 * Does what a worker would do in the hours after a run, at once, by a clock of its own: asks the backends what became of
 * every call that is open. Says which stay so.
 */
export const resolveAll = async (
  connection: ConnectionOptions,
  { sapiUrl, serviceSecret }: ResolverParts,
): Promise<string[]> => {
  await using database = openDatabase({ connection, poolMax: 2, applicationName: 'crash-resolver' });
  const clock = manualClock(new Date());
  const settle = remoteSettle({ sapiUrl, serviceTokens: serviceTokens(serviceSecret, systemClock) });
  const resolver = {
    db: database.db,
    clock,
    log: pino({ enabled: false }),
    connectors: byName(ownConnectors),
    connectorTimeoutMs,
    settle,
    onAsked: () => undefined,
    onMeasured: () => undefined,
  };
  for (let round = 0; round < roundsMax; round += 1) {
    clock.advance(roundMs);
    while ((await resolveDue(resolver)) > 0);
  }
  const { rows } = await sql<{ id: string; state: string }>`
    select id, state from payments.operations where state in ('open', 'unknown')
  `.execute(database.db);
  return rows.map(({ id, state }) => `operation ${id} stays ${state}`);
};
