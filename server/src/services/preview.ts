import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify';
import { listEntries } from '../journal/journal.ts';
import { sided } from '../ledger/routes.ts';
import { listHolds, listTransfers } from '../ledger/store.ts';
import { allows, type Role } from '../lib/caller.ts';
import type { Db } from '../lib/database.ts';
import { rehearse, type DryRun } from '../lib/dry-run.ts';
import type { Preview } from '../lib/http/dry-run.ts';
import { formatAmount } from '../lib/money.ts';
import { plain, type PlainSchema } from '../lib/openapi/example.ts';

/** Lets every route registered from now on that has a dry run answer `Dry-Run: true` with what it would do. */
export const previewWrites = (app: FastifyInstance, db: Db): void => {
  app.addHook('onRoute', (route) => {
    if (route.config?.dryRun === 'preview') route.handler = previewing(db, route.handler);
  });
};

const previewing = (db: Db, handler: RouteHandlerMethod): RouteHandlerMethod =>
  function (request, reply) {
    if (!request.isDryRun) return handler.call(this, request, reply);
    const { role } = request.caller;
    const preview = rehearse(async (dryRun) => {
      await handler.call(this, request, reply);
      const { answer } = dryRun;
      if (!answer) throw new Error(`${request.routeOptions.url} answered without sendAnswer`);
      return { ...(await previewOf(db, dryRun, role)), result: shownBody(request, reply, answer) };
    });
    // Not by the schema of the route: that is of what it answers when it is meant.
    return preview.then((body) =>
      reply.code(200).type('application/json; charset=utf-8').send(JSON.stringify(body)),
    );
  };

type Answered = NonNullable<DryRun['answer']>;

/** The body as the route would send it, by the schema of its status, less its secrets. */
const shownBody = (
  request: FastifyRequest,
  reply: FastifyReply,
  { status, body }: Answered,
): Record<string, unknown> => {
  const serialize = reply.getSerializationFunction(String(status)) ?? JSON.stringify;
  const { properties } = plain(plain(plain(request.routeOptions.schema)['response'])[status]);
  return withoutSecrets(plain(JSON.parse(serialize(plain(body)))), plain(properties));
};

const withoutSecrets = (body: Record<string, unknown>, properties: PlainSchema): Record<string, unknown> =>
  Object.fromEntries(Object.entries(body).filter(([name]) => plain(properties[name])['x-secret'] !== true));

/**
 * What a dry run has done so far, as its answer tells it. Call it inside the dry run: afterwards nothing is left to read.
 * @param role of whoever is shown it: balances are for those who may read the ledger
 */
export const previewOf = async (db: Db, dryRun: DryRun, role: Role): Promise<Omit<Preview, 'result'>> => {
  const { answer, assumes } = dryRun;
  const events = await eventsOf(db, dryRun);
  const postings = await postingsOf(db, events, role);
  return {
    dry_run: true,
    status: answer?.status ?? 200,
    replayed: answer?.replayed ?? false,
    assumes: assumes ? { ...assumes, outcome: 'approved' } : null,
    postings,
    fees: postings
      .filter(({ code }) => code === 'fees')
      .map(({ direction, amount, amount_minor, currency, if_approved }) => ({
        kind: direction === 'credit' ? 'charged' : 'returned',
        amount,
        amount_minor,
        currency,
        if_approved,
      })),
    holds: await holdsOf(db, dryRun),
    events: events.map(({ entry, if_approved }) => ({
      type: entry.kind,
      object: entry.object?.type ?? null,
      object_id: entry.object?.id ?? null,
      version: entry.object?.version ?? null,
      data: plain(entry.snapshot),
      if_approved,
    })),
  };
};

const eventsOf = async (db: Db, { written }: DryRun) => {
  const noted = written.filter((row) => row.what === 'entry');
  const assumed = new Set(noted.filter((row) => row.assumed).map(({ id }) => id));
  const entries = await listEntries(db, noted);
  return entries.map((entry) => ({ entry, if_approved: assumed.has(entry.id) }));
};

const postingsOf = async (db: Db, events: Awaited<ReturnType<typeof eventsOf>>, role: Role) => {
  const ids = events.flatMap(({ entry }) => entry.transferId ?? []);
  const transfers = await listTransfers(db, ids);
  const showsBalances = allows(role, 'finance');
  return events.flatMap(({ entry, if_approved }) => {
    const transfer = entry.transferId && transfers.get(entry.transferId);
    return (transfer?.entries ?? []).map(({ accountId, code, currency, amountMinor, balanceMinor }) => ({
      account_id: accountId,
      code,
      kind: transfer?.kind ?? '',
      ...sided(amountMinor, currency),
      currency,
      balance_after: showsBalances ? formatAmount(balanceMinor, currency) : null,
      balance_after_minor: showsBalances ? balanceMinor.toString() : null,
      if_approved,
    }));
  });
};

const holdsOf = async (db: Db, { written }: DryRun) => {
  const noted = written.filter((row) => row.what === 'hold');
  const holds = await listHolds(
    db,
    noted.map(({ id }) => id),
  );
  return noted.flatMap(({ id, ended, assumed }) => {
    const hold = holds.get(id);
    if (!hold) return [];
    const { amountMinor, currency, debit, credit } = hold;
    return {
      action: ended ? ('ended' as const) : ('placed' as const),
      amount: formatAmount(amountMinor, currency),
      amount_minor: amountMinor.toString(),
      currency,
      from: { account_id: debit.accountId, code: debit.code },
      to: { account_id: credit.accountId, code: credit.code },
      if_approved: assumed,
    };
  });
};
