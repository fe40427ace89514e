import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Db } from '../lib/database.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { idOf, listOf } from '../lib/http/schemas.ts';
import { AuditLine, ListAuditQuery } from './schema.ts';
import { listAudit } from './store.ts';

/** Who did what: `/audit`. */
export const auditRoutes =
  ({ db }: { db: Db }): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/audit',
      {
        config: { requires: 'admin' },
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
        const { cursor, limit, ...filter } = request.query;
        const before = decodeCursor(cursor, Type.Tuple([idOf('journal_entry')]))?.[0];
        const rows = await listAudit(db, request.caller.tenantId, filter, { before, limit: limit + 1 });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: (line) => line });
      },
    );
  };
