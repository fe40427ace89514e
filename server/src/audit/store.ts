import { sql, type RawBuilder } from 'kysely';
import type { Json } from '../lib/canonical.ts';
import type { Db } from '../lib/database.ts';
import { invalidField } from '../lib/errors.ts';
import { fromUuid, idPrefixes, isId, toUuid, type Id, type IdKind } from '../lib/ids.ts';
import { parseTime } from '../lib/time.ts';
import type { AuditFilter, AuditLine } from './schema.ts';

type AuditRow = {
  timestamp: Date;
  id: string;
  actor: string;
  action: string;
  result: 'success' | 'refused';
  origin: string | null;
  request_id: string | null;
  object_type: IdKind | null;
  object_id: string | null;
  object_version: number | null;
  details: Json;
};

/** Lines of a tenant's audit log, the newest first, before the entry `before`. */
export const listAudit = async (
  db: Db,
  tenantId: number,
  filter: AuditFilter,
  page: { before: Id<'journal_entry'> | undefined; limit: number },
): Promise<AuditLine[]> => {
  const conditions: RawBuilder<unknown>[] = [sql`tenant_id = ${tenantId}`];
  if (page.before) conditions.push(sql`id < ${toUuid(page.before)}`);
  if (filter.action) conditions.push(sql`action = ${filter.action}`);
  if (filter.actor) conditions.push(sql`actor = ${filter.actor}`);
  if (filter.result) conditions.push(sql`result = ${filter.result}`);
  if (filter.object) conditions.push(sql`object_id = ${uuidOf(filter.object)}`);
  if (filter.from) conditions.push(sql`timestamp >= ${parseTime(filter.from, 'from')}`);
  if (filter.before) conditions.push(sql`timestamp < ${parseTime(filter.before, 'before')}`);
  const { rows } = await sql<AuditRow>`
    select * from audit.audit_log where ${sql.join(conditions, sql` and `)} order by id desc limit ${page.limit}
  `.execute(db);
  return rows.map((row) => ({
    id: fromUuid('journal_entry', row.id),
    timestamp: row.timestamp.toISOString(),
    actor: row.actor,
    action: row.action,
    result: row.result,
    origin: row.origin,
    request_id: row.request_id,
    object: row.object_type && row.object_id ? fromUuid(row.object_type, row.object_id) : null,
    object_version: row.object_version,
    details: row.details,
  }));
};

const kinds = Object.keys(idPrefixes) as IdKind[];

const uuidOf = (object: string): string => {
  const kind = kinds.find((each) => isId(each, object));
  if (!kind) {
    throw invalidField('object', 'must be the id of an object, such as pay_01h455vb4pex5vsknk084sn02q');
  }
  return toUuid(object as Id<IdKind>); // checked above
};
