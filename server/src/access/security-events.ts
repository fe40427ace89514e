import type { FastifyRequest } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import type { AppError } from '../lib/errors.ts';
import { unmatchedRoute } from '../lib/metrics.ts';
import type { Directory, SecurityEvent } from './directory.ts';

/** Tells the audit log about refused callers without making anybody wait for it. */
export type SecurityEvents = {
  record(
    request: FastifyRequest,
    kind: SecurityEvent['kind'],
    error: AppError,
    who: { actor: string; tenantId: number },
  ): void;
  /** Resolves when everything recorded so far was written or given up. */
  settled(): Promise<void>;
};

/** In a flood of refusals more than so many at once are dropped, and the log says so. */
const underWayMax = 100;

type Parts = {
  directory: Pick<Directory, 'recordSecurityEvent'>;
  clock: Clock;
  onFailure: (error: unknown, what: string) => void;
};

export const securityEvents = ({ directory, clock, onFailure }: Parts): SecurityEvents => {
  const underWay = new Set<Promise<void>>();
  return {
    record: (request, kind, error, { actor, tenantId }) => {
      if (underWay.size >= underWayMax)
        return onFailure(undefined, 'a security event was dropped: too many at once');
      const event: SecurityEvent = {
        kind,
        actor,
        tenantId,
        origin: request.ip,
        requestId: request.id,
        at: clock.now().toISOString(),
        reason: error.code,
        method: request.method,
        route: request.routeOptions.url ?? unmatchedRoute,
      };
      const writing = directory
        .recordSecurityEvent(event)
        .catch((cause: unknown) => onFailure(cause, 'a security event could not be recorded'))
        .finally(() => underWay.delete(writing));
      underWay.add(writing);
    },
    settled: async () => {
      await Promise.all(underWay);
    },
  };
};
