import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { toUuid, type Id } from '../lib/ids.ts';
import type { ConnectorResult } from './connectors/connector.ts';

/** What was said in a message of a backend, and what came of it. */
export type CallbackRecord = {
  connector: string;
  /** The backend's own id of the message. */
  id: string;
  operationId: Id<'operation'>;
  outcome: ConnectorResult['outcome'];
};

/** Whether this very message was dealt with before. One that reuses an id for something else is another message. */
export const isKnownCallback = async (db: Db, message: CallbackRecord): Promise<boolean> => {
  const { rows } = await sql`
    select from payments.callbacks
    where connector = ${message.connector} and id = ${message.id} and operation_id = ${toUuid(message.operationId)}
      and outcome = ${message.outcome}
  `.execute(db);
  return rows.length > 0;
};

/** Notes a message after it was dealt with: whoever dies before this deals with it again, which changes nothing. */
export const insertCallback = async (
  db: Db,
  message: CallbackRecord,
  { result, now }: { result: string; now: Date },
): Promise<void> => {
  await sql`
    insert into payments.callbacks (connector, id, operation_id, outcome, result, received_at)
    values (${message.connector}, ${message.id}, ${toUuid(message.operationId)}, ${message.outcome}, ${result}, ${now})
    on conflict do nothing
  `.execute(db);
};
