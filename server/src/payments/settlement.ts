import type { ConnectorResult } from './connectors/connector.ts';
import type { Settlement } from './schema.ts';

/** What a backend said as it travels between services: JSON has no `bigint`. */
export const settlementOf = (result: ConnectorResult): Settlement['result'] => {
  if (result.outcome === 'unknown') return { outcome: 'unknown' };
  if (result.outcome === 'declined') return { outcome: 'declined', failureCode: result.failureCode };
  const { backendReference, moved } = result;
  return {
    outcome: 'approved',
    ...(backendReference !== undefined && { backendReference }),
    ...(moved && { moved: { ...moved, amountMinor: moved.amountMinor.toString() } }),
  };
};

/** The reverse of `settlementOf`. */
export const resultOfSettlement = (settled: Settlement['result']): ConnectorResult => {
  if (settled.outcome !== 'approved') return settled;
  const { moved, ...rest } = settled;
  return moved ? { ...rest, moved: { ...moved, amountMinor: BigInt(moved.amountMinor) } } : rest;
};
