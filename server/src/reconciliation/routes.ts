import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { GivenAnswer } from '../journal/idempotency.ts';
import type { Accounts } from '../ledger/ledger.ts';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { decodeCursor, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import { parseTime } from '../lib/time.ts';
import { breakSnapshot, runSnapshot } from './answers.ts';
import {
  acceptStatements,
  statementBody,
  statementBytesMax,
  statementOf,
  statementTooLarge,
} from './body.ts';
import { compareStatement, withStatement, type Wanted } from './compare.ts';
import { correct } from './correct.ts';
import {
  breakParams,
  CorrectBody,
  ListBreaksQuery,
  ListReconciliationsQuery,
  ReconcileQuery,
  Reconciliation,
  ReconciliationBreak,
} from './schema.ts';
import { getBreak, getRun, listBreaks, listRuns } from './store.ts';

type Dependencies = { db: Db; clock: Clock; payments: { accounts: Accounts } };

const tags = ['Reconciliation'];
// Named, so that no cursor of another list is one of this.
const BreakCursor = Type.Tuple([Type.Literal('break'), Type.Integer({ minimum: 1, maximum: 2_147_483_647 })]);
const keyErrors = ['idempotency_key_required', 'idempotency_key_reused', 'request_in_flight'] as const;

/** So many comparisons run at once in one process: each holds a statement in memory and a connection now and then. */
const runningMax = 4;

/** Comparing what a payment backend says with the books: `/reconciliations`. */
export const reconciliationRoutes =
  (parts: Dependencies): FastifyPluginAsyncTypebox =>
  async (app) => {
    await app.register(comparing(parts));

    app.get(
      '/reconciliations',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'listReconciliations',
          tags,
          summary: 'List reconciliations, the newest first',
          description: 'Those that are `open` have breaks that nobody has corrected.',
          querystring: ListReconciliationsQuery,
          response: { 200: listOf(Reconciliation) },
        },
      },
      async (request) => {
        const { cursor, limit, ...filter } = request.query;
        const after = decodeCursor(cursor, Type.Tuple([idOf('reconciliation')]))?.[0];
        const rows = await listRuns(parts.db, request.caller.tenantId, filter, { after, limit: limit + 1 });
        return pageOf(rows, { limit, positionOf: ({ id }) => [id], render: runSnapshot });
      },
    );

    app.get(
      '/reconciliations/:id',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'getReconciliation',
          tags,
          summary: 'Get a reconciliation',
          description: 'The numbers; its breaks are a list of their own.',
          params: idParams('reconciliation'),
          response: { 200: Reconciliation },
        },
      },
      async (request) => runSnapshot(await getRun(parts.db, request.caller.tenantId, request.params.id)),
    );

    app.get(
      '/reconciliations/:id/breaks',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'listReconciliationBreaks',
          tags,
          summary: 'List the breaks of a reconciliation, in the order of the statement',
          description: 'What is missing there comes last. Corrected ones too, with their correction.',
          params: idParams('reconciliation'),
          querystring: ListBreaksQuery,
          response: { 200: listOf(ReconciliationBreak) },
        },
      },
      async (request) => {
        const { cursor, limit, ...filter } = request.query;
        const { tenantId } = request.caller;
        const run = await getRun(parts.db, tenantId, request.params.id);
        const after = decodeCursor(cursor, BreakCursor)?.[1] ?? 0;
        const key = { tenantId, runId: run.id };
        const rows = await listBreaks(parts.db, key, filter, { after, limit: limit + 1 });
        return pageOf(rows, {
          limit,
          positionOf: ({ number }) => ['break', number],
          render: (row) => breakSnapshot(row, run),
        });
      },
    );

    app.get(
      '/reconciliations/:id/breaks/:number',
      {
        config: { requires: 'finance' },
        schema: {
          operationId: 'getReconciliationBreak',
          tags,
          summary: 'Get a break',
          description: 'With what a correction would post, or its correction.',
          params: breakParams,
          response: { 200: ReconciliationBreak },
        },
      },
      async (request) => {
        const { tenantId } = request.caller;
        const { id } = request.params;
        const number = Number(request.params.number);
        const run = await getRun(parts.db, tenantId, id);
        return breakSnapshot(await getBreak(parts.db, { tenantId, runId: id, number }), run);
      },
    );

    app.post(
      '/reconciliations/:id/breaks/:number/correct',
      {
        config: {
          requires: 'admin',
          dryRun: 'preview',
          errors: [...keyErrors, 'invalid_state', 'already_exists', 'insufficient_funds', 'balance_overflow'],
        },
        schema: {
          operationId: 'correctReconciliationBreak',
          tags,
          summary: 'Correct a break',
          description:
            'Posts `proposal`, once, as a transfer of kind `correction` with your reason. The payment and its refunds stay ' +
            'as they are; the next reconciliation knows of it.',
          headers: writeHeaders,
          params: breakParams,
          body: CorrectBody,
          response: { 201: ReconciliationBreak },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, parts.clock), key: idempotencyKeyOf(request) };
        const where = { db: parts.db, accounts: parts.payments.accounts };
        const which = { id: request.params.id, number: Number(request.params.number) };
        const answer = await correct(where, write, which, request.body);
        return sendAnswer(reply, answer, snapshotIn(answer));
      },
    );
  };

/** The route that takes a statement, with parsers of its own. */
const comparing =
  ({ db, clock }: Dependencies): FastifyPluginAsyncTypebox =>
  async (app) => {
    acceptStatements(app);
    let running = 0;

    app.post(
      '/reconciliations',
      {
        config: {
          requires: 'finance',
          dryRun: 'preview',
          bodyLimitBytes: statementBytesMax,
          bodyTooLarge: statementTooLarge,
          errors: [...keyErrors, 'overloaded'],
        },
        schema: {
          operationId: 'createReconciliation',
          tags,
          summary: 'Compare the statement of a payment backend with the books',
          description:
            'The body is the statement, as `text/csv` with a header or as JSON lines, 16 MiB at most; `florin reconcile` takes ' +
            'longer ones. Columns: `reference` (our operation or payment, or a refund), `backend_reference` (optional), `kind` ' +
            '(`charge` or `refund`), `amount`, `currency`, `status` (`succeeded`, `failed` or `pending`), `date`, `fee` ' +
            '(optional). A line that can’t be read is named, and nothing is stored.',
          headers: writeHeaders,
          querystring: ReconcileQuery,
          body: statementBody,
          response: { 201: Reconciliation },
        },
      },
      async (request, reply) => {
        const statement = statementOf(request);
        const wanted = wantedBy(request.query);
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        if (running >= runningMax)
          throw new AppError('overloaded', 'Other statements are being compared. Try again.', {
            retryAfterS: 5,
          });
        running += 1;
        try {
          const answer = await withStatement(db, write.context.now, statement, (staged) =>
            compareStatement(db, write, staged, wanted),
          );
          return sendAnswer(reply, answer, snapshotIn(answer));
        } finally {
          running -= 1;
        }
      },
    );
  };

const wantedBy = ({ connector, from, until }: ReconcileQuery): Wanted => ({
  connector,
  from: from === undefined ? undefined : parseTime(from, 'from'),
  until: until === undefined ? undefined : parseTime(until, 'until'),
});

/** The body of an answer is the snapshot of its journal entry. */
const snapshotIn = ({ entry }: GivenAnswer) => entry.snapshot;
