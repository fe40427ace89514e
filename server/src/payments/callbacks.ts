import type { IncomingHttpHeaders } from 'node:http';
import { appendRefusal } from '../journal/journal.ts';
import { platformTenantId } from '../lib/caller.ts';
import { AppError } from '../lib/errors.ts';
import { insertCallback, isKnownCallback, type CallbackRecord } from './callback-store.ts';
import type { Callback, Connector } from './connectors/connector.ts';
import type { PaymentsModule } from './module.ts';
import { findOperation } from './operation-store.ts';
import { settleLater } from './operations.ts';

/**
 * What came of a message that a backend sent by itself. `ignored`: it concerns no operation of ours; `refused`: it is not
 * proven to be the backend's, or can't be read.
 */
export const callbackResults = [
  'settled',
  'repeated',
  'pending',
  'mismatch',
  'unknown_operation',
  'ignored',
  'refused',
] as const;
export type CallbackResult = (typeof callbackResults)[number];

type Arrived = {
  headers: IncomingHttpHeaders;
  body: Buffer;
  origin: string | undefined;
  requestId: string | undefined;
};

/**
 * Takes a message of a backend: proves it, and settles what it tells with the same transaction as every answer. Repeated
 * and late ones change nothing; one that contradicts our books raises `reconciliation.mismatch`.
 * @throws AppError `invalid_credentials`, `invalid_request`, `not_found` for a backend that sends none
 */
export const receive = async (
  module: PaymentsModule,
  connector: Connector,
  arrived: Arrived,
): Promise<CallbackResult> => {
  const callback = await read(module, connector, arrived);
  const result = callback ? await take(module, connector, callback, arrived) : 'ignored';
  module.countCallback(connector.name, result);
  return result;
};

/** What was refused is in the audit log, so many times a minute at most. */
const read = async (
  module: PaymentsModule,
  connector: Connector,
  { headers, body, origin, requestId }: Arrived,
): Promise<Callback | undefined> => {
  try {
    return await connector.readCallback?.({ headers, body });
  } catch (error) {
    module.countCallback(connector.name, 'refused');
    if (!(error instanceof AppError)) throw error;
    const context = {
      tenantId: platformTenantId,
      actor: 'unknown',
      origin,
      requestId,
      now: module.clock.now(),
    };
    const snapshot = { connector: connector.name, code: error.code, detail: error.message };
    await appendRefusal(module.db, context, { kind: 'callback.refused', snapshot });
    throw error;
  }
};

const take = async (
  module: PaymentsModule,
  connector: Connector,
  { id, operationId, result: said }: Callback,
  { requestId }: Arrived,
): Promise<CallbackResult> => {
  const { db, clock } = module;
  const message: CallbackRecord = { connector: connector.name, id, operationId, outcome: said.outcome };
  if (await isKnownCallback(db, message)) return 'repeated';
  const result = await settleCallback(module, message, said, requestId);
  await insertCallback(db, message, { result, now: clock.now() });
  if (result === 'unknown_operation')
    module.log.warn(message, 'A backend speaks of an operation we never began');
  return result;
};

const settleCallback = async (
  module: PaymentsModule,
  { connector, operationId }: CallbackRecord,
  said: Callback['result'],
  requestId: string | undefined,
): Promise<CallbackResult> => {
  const operation = await findOperation(module.db, operationId);
  // No backend has a say in what another one does.
  if (operation?.connector !== connector) return 'unknown_operation';
  // The call may still be under way, so that its end is not known is no news.
  if (said.outcome === 'unknown') return 'pending';
  const by = { actor: `backend:${connector}`, requestId };
  const { isNews, mismatch } = await settleLater(module, by, operation, { result: said });
  if (mismatch) return 'mismatch';
  return isNews ? 'settled' : 'repeated';
};
