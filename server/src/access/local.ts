import { sql } from 'kysely';
import { appendRefusal } from '../journal/journal.ts';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { isId, toUuid } from '../lib/ids.ts';
import * as credentials from '../vendors/credentials.ts';
import type { Directory, SecurityEvent } from './directory.ts';

/** Tokens live less than this, so that an edge that starts needs no older revocations of them. */
const tokenLifeMaxMs = 24 * 3_600_000;

/** The directory where the database is. */
export const localDirectory = ({ db, clock }: { db: Db; clock: Clock }): Directory => ({
  resolveApiKey: (digest) => credentials.findApiKey(db, Buffer.from(digest, 'hex')),
  findClient: (clientId) => credentials.findClient(db, clientId),
  findVendor: (idOrSlug) =>
    credentials.findVendorRecord(
      db,
      isId('vendor', idOrSlug) ? { id: toUuid(idOrSlug) } : { slug: idOrSlug },
    ),
  revocationsSince: (last) =>
    last === undefined
      ? credentials.beginRevocations(db, new Date(clock.now().getTime() - tokenLifeMaxMs))
      : credentials.listRevocations(db, last),
  recordUsage: (usage) => credentials.recordUsage(db, usage),
  recordSecurityEvent: (event) => appendSecurityEvent(db, event),
  health: async () => {
    await sql`select 1`.execute(db);
  },
});

const appendSecurityEvent = async (db: Db, event: SecurityEvent): Promise<void> => {
  const { kind, actor, tenantId, origin, requestId, at, reason, method, route } = event;
  const context = { actor, tenantId, origin, requestId, now: new Date(at) };
  await appendRefusal(db, context, { kind, snapshot: { reason, method, route } });
};
