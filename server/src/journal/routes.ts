import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Db } from '../lib/database.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { idParams } from '../lib/http/schemas.ts';
import type { ReadTransfers } from './entry.ts';
import { listHeads, listKeys } from './heads.ts';
import { headJson, keyJson, proveConsistency, proveEntry } from './proofs.ts';
import { ConsistencyJson, ConsistencyQuery, HeadList, ListHeadsQuery, ProofJson } from './schema.ts';

const tags = ['Journal'];

/** Where a list of heads goes on. */
const HeadPosition = Type.Tuple([Type.Literal('head'), Type.String({ pattern: '^[1-9][0-9]{0,17}$' })]);

/** What the log can prove: `/journal`. Nothing is written here. */
export const journalRoutes =
  (parts: { db: Db; readTransfers: ReadTransfers }): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db } = parts;
    app.get(
      '/journal/heads',
      {
        config: { requires: 'viewer', withoutVendor: true },
        schema: {
          operationId: 'listJournalHeads',
          tags,
          summary: 'List the signed heads of the journal, the newest first',
          description:
            'There is one journal for everybody. A head signs it as it was at a time: keep one, and nothing before it can be ' +
            'changed without your noticing. `keys` are the public keys to check the signatures with.',
          querystring: ListHeadsQuery,
          response: { 200: HeadList },
        },
      },
      async (request) => {
        const { cursor, limit } = request.query;
        const position = decodeCursor(cursor, HeadPosition)?.[1];
        const before = position === undefined ? undefined : BigInt(position);
        const rows = await listHeads(db, { before, limit: limit + 1 });
        const positionOf = ({ number }: { number: bigint }) => ['head', number.toString()];
        return {
          ...pageOf(rows, { limit, positionOf, render: headJson }),
          keys: (await listKeys(db)).map(keyJson),
        };
      },
    );

    app.get(
      '/journal/consistency',
      {
        config: { requires: 'viewer', withoutVendor: true, errors: ['not_found'] },
        schema: {
          operationId: 'getJournalConsistency',
          tags,
          summary: 'Prove that a later head continues an earlier one',
          description:
            'Whoever kept the earlier head sees that nothing of what it was over has changed since. The sizes are those of two ' +
            'heads; without any it is about the newest two.',
          querystring: ConsistencyQuery,
          response: { 200: ConsistencyJson },
        },
      },
      async ({ query }) => proveConsistency(db, { first: sizeOf(query.first), second: sizeOf(query.second) }),
    );

    app.get(
      '/journal/proofs/:id',
      {
        config: { requires: 'admin', withoutVendor: true, errors: ['not_sealed'] },
        schema: {
          operationId: 'getJournalProof',
          tags,
          summary: 'Prove that an entry is in the journal',
          description:
            'The whole entry with its transfer, its place, the newest head and the steps between: `florin journal check` needs ' +
            'nothing else. Ids of entries are in the audit log. An entry of the last seconds may be under no head yet.',
          params: idParams('journal_entry'),
          response: { 200: ProofJson },
        },
      },
      async ({ caller, params }) => proveEntry(parts, { tenantId: caller.tenantId, id: params.id }),
    );
  };

const sizeOf = (text: string | undefined): bigint | undefined =>
  text === undefined ? undefined : BigInt(text);
