import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import type { Id } from '../lib/ids.ts';
import type { Claim } from './queue-store.ts';
import { listEndpointsForSending, type EndpointKeys, type SendingEndpoint } from './secrets.ts';

type EndpointId = Id<'webhook_endpoint'>;

/** A secret that ended signs for no longer than this. */
const keptMs = 10_000;
const keptMax = 2_000;

/**
 * The endpoints of claims, with their secrets opened. A claim says which version of its endpoint it saw, and every change of an
 * endpoint or its secrets makes another one, so what is kept is never older than what was claimed.
 */
export const openSendingEndpoints = (parts: { db: Db; clock: Clock; endpointKeys: EndpointKeys }) => {
  const { db, clock, endpointKeys } = parts;
  const kept = new Map<EndpointId, { sending: SendingEndpoint; readAtMs: number }>();
  return {
    of: async (claims: readonly Claim[]): Promise<ReadonlyMap<EndpointId, SendingEndpoint>> => {
      const versions = new Map(
        claims.map(({ endpointId, endpointVersion }) => [endpointId, endpointVersion]),
      );
      const nowMs = clock.now().getTime();
      const found = new Map<EndpointId, SendingEndpoint>();
      for (const [id, version] of versions) {
        const known = kept.get(id);
        if (known?.sending.endpoint.version === version && Math.abs(nowMs - known.readAtMs) <= keptMs)
          found.set(id, known.sending);
      }
      const ids = [...versions.keys()].filter((id) => !found.has(id));
      if (ids.length === 0) return found;
      if (kept.size > keptMax) kept.clear();
      for (const [id, sending] of await listEndpointsForSending(db, endpointKeys, {
        ids,
        now: clock.now(),
      })) {
        found.set(id, sending);
        kept.set(id, { sending, readAtMs: nowMs });
      }
      return found;
    },
  };
};
