import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { platformTenantId, type Caller } from '../lib/caller.ts';
import type { Db } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { idOf, listOf } from '../lib/http/schemas.ts';
import { AuditLine, ListAuditQuery } from './schema.ts';
import { listAudit } from './store.ts';

/** Whose log is read. @throws AppError `insufficient_permissions` for a vendor that asks for the platform's */
const tenantOf = ({ kind, tenantId }: Caller, scope: 'vendor' | 'platform' | undefined): number => {
  if (scope !== 'platform') return tenantId;
  if (kind !== 'platform') throw new AppError('insufficient_permissions', 'Insufficient permissions');
  return platformTenantId;
};

/** Who did what: `/audit`. */
export const auditRoutes =
  ({ db }: { db: Db }): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/audit',
      {
        config: { requires: 'admin', withoutVendor: true },
        schema: {
          operationId: 'listAudit',
          tags: ['Audit'],
          summary: 'List the audit log, the newest first',
          description:
            'Every change, and every refusal of access or money: who, what, when, from where, with which result. ' +
            'It can be read, never changed.',
          querystring: ListAuditQuery,
          response: { 200: listOf(AuditLine) },
        },
      },
      async (request) => {
        const { cursor, limit, scope, ...filter } = request.query;
        const before = decodeCursor(cursor, Type.Tuple([idOf('journal_entry')]))?.[0];
        const rows = await listAudit(db, tenantOf(request.caller, scope), filter, {
          before,
          limit: limit + 1,
        });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: (line) => line });
      },
    );
  };
