import { holdsCardNumber } from '../lib/cards.ts';
import { AppError, invalidField, notFound } from '../lib/errors.ts';
import type { Id } from '../lib/ids.ts';
import type { ConnectorResult } from './connectors/connector.ts';
import type { Settling } from './module.ts';
import { findOperation, getOperation, type OperationState, type Standing } from './operation-store.ts';
import { settleLater } from './operations.ts';

/** Who decides, what, and why. The reason is kept for ever, in the journal. */
export type Decision = {
  actor: string;
  requestId: string | undefined;
  result: Exclude<ConnectorResult, { outcome: 'unknown' }>;
  reason: string;
};

/**
 * Settles an operation that its backend never tells the end of, by what a person found out there. It moves the money, so
 * it is for those which nothing else settles: an end that is known stays, and a call that may still be answered is left to
 * its backend.
 * @throws AppError `not_found`, `invalid_state`, `invalid_request`
 */
export const settleByHand = async (
  module: Settling,
  id: Id<'operation'>,
  { actor, requestId, result, reason }: Decision,
): Promise<OperationState> => {
  if (holdsCardNumber(reason))
    throw invalidField('reason', 'must not hold a card number; Florin stores none');
  const key = await findOperation(module.db, id);
  if (!key) throw notFound('operation');
  const { callUntil } = await getOperation(module.db, key);
  const check = ({ state }: Standing): void => {
    if (state !== 'open' && state !== 'unknown')
      throw new AppError('invalid_state', `This operation is ${state} already, and stays so.`);
    if (callUntil > module.clock.now())
      throw new AppError('invalid_state', 'The call to the backend may still be answered. Wait a minute.');
  };
  const settled = await settleLater(module, { actor, requestId }, key, { result, byHand: { check, reason } });
  return settled.state;
};
